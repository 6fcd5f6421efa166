"""How long until something happens: importing, `--help`, one photo, a served model, a training.

    python benchmarks/startup.py [--data-root DIR] [--photo FILE] [--parts import predict ...]

Everything is a process of its own, started in turns with what it is compared to, with warm files.
`--data-root` holds `lspet/` and `lsp_train/`; without it the training is left out. Results go to
`benchmarks/results/startup.json`; parts that are not measured anew are kept.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common

PARTS = ("import", "predict", "saved_model", "train")
PRESET = "hourglass_small_lsp"
COMMAND = str(pathlib.Path(sys.executable).parent / "keras-hourglass")
# Loads the exported model and answers once, from the bytes of a picture to joints.
SERVE = """
import pathlib, sys, tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
{name: value.numpy() for name, value in served(tf.constant([pathlib.Path(sys.argv[2]).read_bytes()])).items()}
"""  # noqa: E501
# Ends with the first step of a training; the command's own settings come from the command.
FIRST_STEP = """
import os, sys
import keras_hourglass.cli.train as command
import keras_hourglass.cli as cli
def run(args):
    import keras
    from keras_hourglass.training import run as running
    class First(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            os._exit(0)
    whole = running.train
    running.train = lambda *given, **named: whole(*given, callbacks=[First()], **named)
    return command_run(args)
command_run, command.run = command.run, run
sys.exit(cli.main(sys.argv[1:]) or 1)
"""


def python(code, *arguments):
    """A call that runs code in a new Python and waits for its end."""
    return process([sys.executable, "-c", code, *map(str, arguments)])


def process(command):
    """A call that runs a command and waits for its end; its errors are shown."""

    def call():
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command[:3]} ended with {done.returncode}:\n{done.stderr}")

    return call


def importing(args, folder):
    """The package against Python alone, and the help."""
    taken = common.interleaved(
        {
            "python": python("pass"),
            "import keras_hourglass": python("import keras_hourglass"),
            "keras-hourglass --help": process([COMMAND, "--help"]),
            "keras-hourglass predict --help": process([COMMAND, "predict", "--help"]),
        },
        args.repetitions,
    )
    beyond = difference(taken["import keras_hourglass"], taken["python"])
    helping = common.spread(taken["keras-hourglass --help"])
    goals = [
        goal("`import keras_hourglass` beyond Python's start", beyond, 0.05, 1000, "ms"),
        goal("`keras-hourglass --help`", helping, 0.3, 1, "s"),
    ]
    return taken, goals


def predicting(args, folder):
    """One photo by the small preset against importing TensorFlow."""
    options = ["--model", PRESET, "--out", f"{folder}/poses", "--overwrite"]
    taken = common.interleaved(
        {
            "import tensorflow": python("import tensorflow"),
            "predict": process([COMMAND, "predict", photo(args, folder), *options]),
            "predict, JSON only": process(
                [COMMAND, "predict", photo(args, folder), *options, "--save", "json"]
            ),
        },
        args.slow_repetitions,
        warmup=1,
    )
    ratio = common.ratios(taken["predict"], taken["import tensorflow"])
    text = f"`predict` of one photo by `{PRESET}` against importing TensorFlow"
    return taken, [goal(text, ratio, 1.2, 1, "×")]


def serving(args, folder):
    """The first answer of an exported model beyond importing TensorFlow."""
    from serving import random_model

    from keras_hourglass.errors import UserError
    from keras_hourglass.export import export_model
    from keras_hourglass.zoo.store import load_model

    models = {name: load_model(name) for name in (PRESET, "hourglass_tiny_lsp")}
    models["hourglass_2s"] = random_model(256, 256)
    calls, goals = {"import tensorflow": python("import tensorflow")}, []
    for name, model in list(models.items()):
        try:
            saved = export_model(model, folder, name=name)
        except UserError as error:  # a model that is not exported has no cold start
            print(f"{name}: {error}", file=sys.stderr)
            del models[name]
            continue
        calls[f"SavedModel of {name}"] = python(SERVE, saved, photo(args, folder))
    taken = common.interleaved(calls, args.slow_repetitions, warmup=1)
    for name in models:
        beyond = difference(taken[f"SavedModel of {name}"], taken["import tensorflow"])
        text = f"cold start of the SavedModel of `{name}`, first answer, beyond the import"
        goals.append(goal(text, beyond, 2, 1, "s"))
    return taken, goals


def training(args, folder):
    """From the command to the end of the first step."""
    numbers = iter(range(10**6))

    def first_step():
        options = ["lsp_small", "--data-root", args.data_root, "--out", f"{folder}/{next(numbers)}"]
        python(FIRST_STEP, "train", *options)()

    taken = common.interleaved({"first step": first_step}, args.train_repetitions, warmup=0)
    text = "`keras-hourglass train lsp_small` to the end of the first step"
    return taken, [goal(text, common.spread(taken["first step"]), 20, 1, "s")]


def difference(seconds, base):
    """The `Spread` of how much longer one takes than the other, turn by turn."""
    return common.spread(one - other for one, other in zip(seconds, base, strict=True))


def goal(text, found, limit, factor, unit):
    """A goal of starting, from a `Spread`; `factor` turns both numbers into the unit."""
    low, high, least = (f"{factor * one:.3g}" for one in (found.low, found.high, found.least))
    note = f"{low} to {high}, least {least}, {found.count} times"
    return common.Goal(5, text, factor * found.median, factor * limit, unit, note=note)


def photo(args, folder):
    """The photo to predict: the given one, or a picture of noise."""
    if args.photo:
        return args.photo
    from keras_hourglass.export.bundle import random_picture

    path = pathlib.Path(folder) / "photo.jpg"
    path.write_bytes(random_picture(0, ".jpg"))
    return str(path)


MEASURES = dict(zip(PARTS, (importing, predicting, serving, training), strict=True))


def parse():
    parser = common.parser(__doc__, "startup")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data-root", help="folder with lspet/ and lsp_train/")
    parser.add_argument("--photo", help="picture to predict; noise by default")
    parser.add_argument("--repetitions", type=int, default=30, help="of short starts (30)")
    parser.add_argument("--slow-repetitions", type=int, default=7, help="of others (7)")
    parser.add_argument("--train-repetitions", type=int, default=3, help="of trainings (3)")
    return parser.parse_args()


def main():
    args, load = parse(), os.getloadavg()[0]
    result = common.read(args.out).get("parts", {})
    for part in args.parts:
        if part == "train" and not args.data_root:
            print("train: left out, it needs --data-root", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            begun = time.time()
            taken, goals = MEASURES[part](args, folder)
        seconds = {name: common.spread(values).to_dict() for name, values in taken.items()}
        result[part] = {
            "seconds": seconds,
            "load_average": [load, os.getloadavg()[0]],
            "took_s": round(time.time() - begun, 1),
            "goals": [one.to_dict() for one in goals],
        }
        print(json.dumps({part: seconds}, indent=1))
    goals = [common.goal_from(one) for part in result.values() for one in part["goals"]]
    common.write(args.out, {"parts": result}, goals, load=load)


if __name__ == "__main__":
    main()

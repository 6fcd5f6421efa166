"""Training on an accelerator: steps against PyTorch, fitting from photographs, the input's speed.

    python benchmarks/accelerator.py [--batch 64] [--data KIND:DIR --data-root DIR] [--out FILE]
    python benchmarks/accelerator.py --parts input photographs --workers 1 4 8 16
    python benchmarks/accelerator.py --batch 2 --size 64 --features 8 --people 32 --steps 3
    python benchmarks/accelerator.py --program [--batch 64] [--out FILE]

For a machine with JAX and PyTorch; TensorFlow is not needed. Three parts, each in processes of its
own: `steps` fits the network with Keras on JAX from batches in memory, in turns with the compiled
PyTorch twin of `torch_twin.py` (same layers, loss and optimizer, both in bfloat16 on a GPU);
`photographs` fits it from pictures that are read, augmented and cropped meanwhile, by threads and
by as many worker processes as each of `--workers`, in turns with the same fit from memory; `input`
prepares batches alone, by as many threads and processes, also per second of processor time, which
means something on a busy machine, too. The pictures are generated figures unless `--data` names
others. It was not yet run on an accelerator; the third line above tries all of it on any processor.
The last one runs nothing: it compiles the step for an H100, which need not be there (see
`program.py`), and writes how many bytes pass through memory.
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import common
import numpy as np
import train_step

PARTS = ("steps", "photographs", "input")
WORKERS = (1, 4, 8, 16)
GOALS = {"images": 2000, "twin": 1.8, "photographs": 0.95}


def parse():
    parser = common.parser(__doc__, "accelerator")
    parser.set_defaults(out=None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=256, help="input pixels (256)")
    parser.add_argument("--stacks", type=int, default=2)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--stem", type=int, nargs=3, default=[64, 128, 128], help="its widths")
    parser.add_argument("--steps", type=int, default=50, help="of a turn (50)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--people", type=int, default=2000, help="generated figures (2000)")
    parser.add_argument("--program", action="store_true", help="read the step, run nothing")
    parser.add_argument("--optimizer", default="torch_rmsprop", help="of --program")
    parser.add_argument("--averages", action="store_true", help="with --program: use_ema")
    parser.add_argument("--data", help="photographs, KIND:DIR as for `keras-hourglass train`")
    parser.add_argument("--data-root", help="folder that --data starts from")
    cores = common.machine()["cores"]
    fitting = [count for count in WORKERS if count <= cores] + [cores] * (cores < WORKERS[-1])
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({*fitting}))
    parser.add_argument("--input-batch", type=int, default=16, help="of the input alone (16)")
    parser.add_argument("--child", choices=("keras", "torch"), help=argparse.SUPPRESS)
    return parser.parse_args()


def network(args, joints, optimizer):
    """The compiled Keras model."""
    from keras_hourglass.losses import HeatmapMSE

    model = train_step.network(args, joints)
    loss = HeatmapMSE((args.size // 4, args.size // 4), train_step.SIGMA)
    model.compile(optimizer=optimizer, loss=dict.fromkeys(model.output_names, loss))
    return model


def read_program(args):
    """What the compiled step reads and writes; a dict, JSON-ready."""
    import keras
    import program

    from keras_hourglass.training.optimizers import make_optimizer
    from keras_hourglass.training.recipe import load_recipe

    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    options = {"use_ema": True, "ema_momentum": 0.9995} if args.averages else {}
    chosen = {"name": args.optimizer, "learning_rate": train_step.RATE, "options": options}
    model = network(
        args, train_step.JOINTS, make_optimizer(load_recipe({"optimizer": chosen}), 1, 1)
    )
    crops = np.zeros((1, args.size, args.size, 3), np.uint8)
    answers = dict.fromkeys(model.output_names, np.zeros((1, train_step.JOINTS, 4), np.float32))
    target, name = program.device()
    lowered, compiled = program.compiled_step(model, crops, answers, args.batch, target)
    return {"device": name, **program.read(lowered, compiled, args.batch)}


def keras_child(args):
    """Answers `memory` and `photographs` with the seconds of a fit of so many steps."""
    import keras

    from keras_hourglass.codec import HeatmapCodec
    from keras_hourglass.data.augment import AUGMENTATIONS
    from keras_hourglass.hardware import accelerators
    from keras_hourglass.training.batches import JointBatches
    from keras_hourglass.training.optimizers import TorchRMSprop

    if accelerators():
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    records = load(args)
    codec = HeatmapCodec((args.size, args.size), sigma=train_step.SIGMA)
    model = network(args, records.joints.shape[1], TorchRMSprop(train_step.RATE))
    # As in `train`: its epochs are as long as wanted, whatever the number of people.
    dataset = JointBatches(
        records,
        codec,
        args.steps,
        batch_size=args.batch,
        augmentation=AUGMENTATIONS["newell"],
        seed=1,
        outputs=model.output_names,
    )
    crops, targets = dataset.batch(0)
    fixed = (crops, dataset.answers(targets))

    class Memory(keras.utils.PyDataset):
        def __len__(self):
            return args.steps

        def __getitem__(self, step):
            return fixed

    class Clock(keras.callbacks.Callback):
        """Seconds of each epoch; the first fills what is prepared ahead."""

        def on_epoch_begin(self, epoch, logs=None):
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.begun

    def seconds(name):
        if name not in sources:
            kind, count = name.split()
            by = {"workers": int(count), "processes": kind == "processes", "in_order": True}
            sources[name] = dataset.as_py_dataset(**by)
        clock = Clock()
        model.fit(sources[name], epochs=2, verbose=0, shuffle=False, callbacks=[clock])
        return clock.seconds

    sources = {"memory": Memory()}
    begun = time.perf_counter()
    seconds("memory")
    facts = {
        "parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        "gflops": model.gflops,
        "accelerators": [str(one) for one in accelerators()],
        "policy": keras.mixed_precision.dtype_policy().name,
        "first_fit_seconds": round(time.perf_counter() - begun, 1),
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(json.dumps(seconds(line.strip())), flush=True)


def torch_child(args):
    """Answers every line with the seconds of as many steps of the compiled twin."""
    args.joints = load(args).joints.shape[1]
    train_step.JOINTS = args.joints
    step, parameters, _, gpu = train_step.torch_step(args, "torch-compile")
    for _ in range(3):
        step()
    print(json.dumps({"parameters": parameters, "gpu": gpu}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(args.steps):
            step()
        print(json.dumps(time.perf_counter() - start), flush=True)


def load(args):
    """The people of `--data`."""
    from keras_hourglass.data.load import load_records

    return load_records(args.data, args.data_root)


def input_rates(args):
    """Samples per second of batches alone, by threads and processes; the first epoch warms up."""
    from input_pipeline import in_threads

    from keras_hourglass.codec import HeatmapCodec
    from keras_hourglass.data.augment import AUGMENTATIONS
    from keras_hourglass.data.pipeline import PoseDataset
    from keras_hourglass.data.workers import WorkerProcesses

    codec, size = HeatmapCodec((args.size, args.size)), args.input_batch
    dataset = PoseDataset(load(args), codec, size, augmentation=AUGMENTATIONS["newell"], seed=1)
    rows: dict = {}
    with contextlib.ExitStack() as stack:
        ways = {("threads", count): (dataset.batch, count, []) for count in args.workers}
        for count in args.workers:
            pool = stack.enter_context(WorkerProcesses([dataset], count))
            make = functools.partial(pool.batch, dataset)
            ways["processes", count] = (make, pool.threads, pool.processes)
        for turn in range(args.turns + 1):
            for way in list(ways)[:: 1 if turn % 2 == 0 else -1]:
                make, threads, processes = ways[way]
                busy, start = processor_seconds(processes), time.perf_counter()
                in_threads(
                    lambda step, turn=turn, make=make: make(step, turn), len(dataset), threads
                )
                seconds = time.perf_counter() - start
                busy = processor_seconds(processes) - busy
                if turn:
                    rows.setdefault(way, []).append((seconds, busy))
    return {
        kind: {str(count): rates(rows, kind, count, args, dataset) for count in args.workers}
        for kind in ("threads", "processes")
    }


def rates(rows, kind, count, args, dataset):
    """What was measured of so many threads or processes."""
    samples, least = len(dataset) * dataset.batch_size, args.workers[0]
    clock, busy = zip(*rows[kind, count], strict=True)
    one, _ = zip(*rows[kind, least], strict=True)
    return {
        "samples_per_second": common.spread(samples / seconds for seconds in clock).to_dict(1),
        "samples_per_processor_second": common.spread(samples / one for one in busy).to_dict(1),
        "of_linear": round(common.ratios(one, clock).median * least / count, 3),
    }


def processor_seconds(processes):
    """Processor time of this process and of others so far (Linux)."""
    total = time.process_time()
    for number in processes:
        fields = pathlib.Path(f"/proc/{number}/stat").read_text(encoding="ascii")
        user, system = fields.rpartition(")")[2].split()[11:13]
        total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def child(kind, args):
    """A process for one of the networks."""
    command = [sys.executable, __file__, "--child", kind, "--data", args.data]
    if args.data_root:
        command += ["--data-root", args.data_root]
    for option in ("batch", "size", "stacks", "features", "steps"):
        command += [f"--{option}", getattr(args, option)]
    command += ["--stem", *args.stem]
    # Both networks are on the card at once.
    settings = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return common.Child(command, settings)


def measure(calls, args):
    """Images per second by name, a list of turns each; children say their own seconds."""
    rates = {name: [] for name in calls}
    for turn in range(args.turns + 1):
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            seconds = calls[name]()
            if turn:  # the first warms up
                rates[name].append(args.batch * args.steps / seconds)
    return rates


def run(args, result):
    """Measure the wanted parts; returns the goals."""
    goals = []
    if "input" in args.parts:
        result["input"] = input_rates(args)
    if not {"steps", "photographs"} & set(args.parts):
        return goals
    ours = child("keras", args)
    result["network"] = ours.facts
    if "steps" in args.parts:
        twin = child("torch", args)
        if twin.facts["parameters"] != ours.facts["parameters"]:
            raise SystemExit(f"The networks are not the same: {ours.facts}, {twin.facts}.")
        rates = measure({"keras": lambda: ours("memory"), "torch": lambda: twin("go")}, args)
        twin.close()
        result["steps"] = {name: common.spread(one).to_dict() for name, one in rates.items()}
        ratio = common.ratios(rates["keras"], rates["torch"])
        median = statistics.median(rates["keras"])
        # Backward costs twice as much as forward.
        tflops = round(3 * ours.facts["gflops"] * median / 1000, 2)
        result["steps"]["keras_tflops_per_s"] = tflops
        result["steps"]["keras_over_torch"] = ratio.to_dict()
        what = "fit from memory, JAX"
        goals.append(
            common.Goal(17, f"{what}, images per second", median, GOALS["images"], "", True)
        )
        goals.append(
            common.Goal(
                17, f"{what}, against compiled PyTorch", ratio.median, GOALS["twin"], "×", True
            )
        )
    if "photographs" in args.parts:
        most = max(args.workers)
        ways = [f"processes {count}" for count in args.workers]
        ways = ["memory", f"threads {most}", *ways]
        rates = measure({way: (lambda way=way: ours(way)) for way in ways}, args)
        result["photographs"] = {name: common.spread(one).to_dict() for name, one in rates.items()}
        ratio = {way: common.ratios(rates[way], rates["memory"]) for way in ways[1:]}
        result["photographs"]["over_memory"] = {way: one.to_dict() for way, one in ratio.items()}
        goals.append(
            common.Goal(
                17,
                "fit from photographs against fit from memory",
                ratio[ways[-1]].median,
                GOALS["photographs"],
                "×",
                True,
                f"{most} processes; wanted where cores × 250 samples/s suffice",
            )
        )
    ours.close()
    return goals


def card():
    """What the driver says of the card; nothing where there is none."""
    try:
        command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    args = parse()
    args.out = args.out or common.RESULTS / f"{'program' if args.program else 'accelerator'}.json"
    if args.program:
        if card() is None:
            # Or JAX complains of the card that its plugin does not find.
            os.environ.setdefault("JAX_PLATFORMS", "cpu")
        settings = {name: getattr(args, name) for name in ("batch", "size", "stacks", "features")}
        found = {"settings": settings, "program": read_program(args)}
        common.write(args.out, found, [], packages=("jax",), load=os.getloadavg()[0])
        print(json.dumps(found["program"], indent=1))
        return
    if args.child:
        {"keras": keras_child, "torch": torch_child}[args.child](args)
        return
    load_before, begun = os.getloadavg()[0], time.perf_counter()
    network = ("batch", "size", "stacks", "features", "stem", "steps", "turns", "workers")
    result = {"card": card(), "settings": {name: getattr(args, name) for name in network}}
    with tempfile.TemporaryDirectory() as folder:
        if args.data is None:
            from keras_hourglass.data.figures import write_dataset

            write_dataset(pathlib.Path(folder, "figures"), args.people, 1, size=256)
            args.data = f"synthetic:{pathlib.Path(folder, 'figures')}"
        goals = run(args, result)
    result["minutes"] = round((time.perf_counter() - begun) / 60, 2)
    common.write(args.out, result, goals, packages=("jax", "torch"), load=load_before)


if __name__ == "__main__":
    main()

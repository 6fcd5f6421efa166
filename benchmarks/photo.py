"""One photo from its file to the joints, mirror-averaged, against one pass of the bare network.

    python benchmarks/photo.py [--photo FILE] [--engine NAME]

The mirror image doubles the network's work; reading, cropping and decoding come on top. Networks:
the trained small and tiny presets and `hourglass_2s` with random weights. Measured in turns, in
one process, warmed up. Results go to `benchmarks/results/photo.json`.
"""

import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np

NETWORKS = ("hourglass_small_lsp", "hourglass_tiny_lsp", "hourglass_2s")
LIMIT = 1.9


def network(name):
    """A preset with its weights, or with random ones where it has none."""
    from serving import random_model

    from keras_hourglass.zoo.store import load_model

    return random_model(256, 256) if name == "hourglass_2s" else load_model(name)


def measure(name, photo, engine, repetitions):
    """Milliseconds of the steps of one network, and its goal."""
    from keras_hourglass import Predictor
    from keras_hourglass.io.images import read_image

    predictor = Predictor(network(name), engine=engine or "fastest", whole=True)
    crop = np.random.default_rng(0).integers(0, 256, (1, *predictor.input_size, 3), np.uint8)
    taken = common.interleaved(
        {
            "one network pass": lambda: predictor.predict_crops(crop, flip=False),
            "two crops at once, merged": lambda: predictor.predict_crops(crop, flip=True),
            "reading the file": lambda: read_image(photo),
            "file to joints": lambda: predictor(photo),
        },
        repetitions,
        warmup=5,
    )
    ratio = common.ratios(taken["file to joints"], taken["one network pass"])
    found = {
        way: common.spread(1000 * one for one in seconds).to_dict(3)
        for way, seconds in taken.items()
    }
    note = (
        f"{found['file to joints']['median']:.1f} against "
        f"{found['one network pass']['median']:.1f} ms; {ratio.low:.3g} to {ratio.high:.3g}, "
        f"{ratio.count} turns"
    )
    text = f"one photo, file to joints with mirror averaging, against one pass of `{name}`"
    return {"milliseconds": found, "ratio": ratio.to_dict(3)}, common.Goal(
        3, text, ratio.median, LIMIT, note=note
    )


def main():
    parser = common.parser(__doc__, "photo")
    parser.add_argument("--photo", help="JPEG file; noise of a common size by default")
    parser.add_argument("--engine", help="of the Predictor; its own default without")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--repetitions", type=int, default=60, help="(60)")
    args, load = parser.parse_args(), os.getloadavg()[0]
    result, goals = {"engine": args.engine or "default", "networks": {}}, []
    with tempfile.TemporaryDirectory() as folder:
        photo = args.photo
        if photo is None:
            from keras_hourglass.export.bundle import random_picture

            photo = os.path.join(folder, "noise.jpg")
            pathlib.Path(photo).write_bytes(random_picture(0, ".jpg"))
        for name in args.networks:
            found, goal = measure(name, photo, args.engine, args.repetitions)
            result["networks"][name] = found
            goals.append(goal)
    common.write(args.out, result, goals, load=load)


if __name__ == "__main__":
    main()

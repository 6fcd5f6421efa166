"""Names, shapes and counts of presets, as they were last agreed on.

    python tests/helpers/pin_presets.py [PRESET ...]

pins the named ones anew, or all; look at the difference before keeping it.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np

PINNED = pathlib.Path(__file__).parents[1] / "zoo" / "presets_pinned.json"


def pin(name):
    """What is pinned of a preset: its counts, and a digest of all names and shapes."""
    from keras_hourglass.zoo.store import load_model
    from keras_hourglass.zoo.weights import named_variables

    model = load_model(name, load_weights=False, input_shape=(128, 64, 3))
    lines = [f"{n} {tuple(v.shape)}" for n, v in named_variables(model).items()]
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    fixed = sum(int(np.prod(v.shape)) for v in model.non_trainable_variables)
    assert (model.graph.trainable, model.graph.fixed) == (trainable, fixed)
    return {
        "trainable": trainable,
        "fixed": fixed,
        "arrays": len(lines),
        "names": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
        "outputs": {key: list(value.shape[1:]) for key, value in model.output.items()},
    }


def write(names):
    """Pin presets anew, in the order of the package's; those that are gone are left out."""
    from keras_hourglass.zoo.presets import PRESETS

    before = json.loads(PINNED.read_text(encoding="utf-8"))
    again = {
        name: pin(name) if not names or name in names or name not in before else before[name]
        for name in PRESETS
    }
    PINNED.write_text(json.dumps(again, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1:])

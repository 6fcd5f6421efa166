"""Running a network on crops: one callable per runtime.

An engine is called with `(N, H, W, 3)` uint8 crops and returns a dict from the names of the wanted
outputs (`"stack_2"`) to `(N, h, w, K)` float32 NumPy arrays.

All but `"keras"`, the model itself, run the network with its batch norms folded away, as `export`
writes it: `"folded"` by TensorFlow, `"onnxruntime"`, `"openvino"` and `"litert"` (whose conversion
takes seconds) by what their names say, and paths of files that were exported before.

`"auto"` takes the fastest that is there and starts at once: on a processor `"onnxruntime"` if it is
installed (`pip install keras_hourglass[onnx]`) and else, on the TensorFlow backend, `"folded"`; on
an accelerator what its backend runs, and the model itself where nothing else can run it.
"""

import contextlib
import functools
import os
import sys
import tempfile

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.hardware import accelerators
from keras_hourglass.inference.runtimes import kind_of, load_network
from keras_hourglass.network.graph import Snapshot

# Engines that run a converted network, and how its file ends.
_CONVERTED = {"litert": ".tflite", "onnxruntime": ".onnx", "openvino": ".xml"}
ENGINES = ("auto", "folded", "keras", *_CONVERTED)
_PACKAGES = {
    "folded": "tensorflow",
    "litert": "ai-edge-litert",
    "onnxruntime": "keras_hourglass[onnx]",
    "openvino": "keras_hourglass[openvino]",
}


def make_engine(engine, model, outputs):
    """The engine of a name or a file.

    Args:
        engine: one of `ENGINES`; the path of a network that was exported (`.tflite`, `.onnx`,
            `.xml`, or the folder of a SavedModel); or an engine of your own, a callable as
            described above.
        model: the Keras model to run, of which a file is an export, or a `Snapshot` where
            `takes_snapshot(engine)`.
        outputs: names of the outputs that are wanted.

    Returns:
        A callable from crops to a dict of heatmaps.

    Raises:
        UserError: if the name is unknown, or the runtime is not installed.
    """
    if callable(engine):
        return engine
    if engine == "auto":
        return auto_engine(model, tuple(outputs))
    if engine == "keras":
        return keras_engine(model, tuple(outputs))
    kind = kind_of(engine)
    if kind == "saved_model":
        return load_network(engine, outputs)
    names = {suffix: name for name, suffix in _CONVERTED.items()}
    name = names.get(kind, engine)
    if name not in _PACKAGES or (kind and not os.path.exists(engine)):
        raise UserError(
            f"No such engine or exported network. Received: engine={os.fspath(engine)!r}. "
            f"Choose one of {', '.join(ENGINES)}, or a file that `export` wrote."
        )
    try:
        if kind:
            return load_network(engine, outputs, _threads(name))
        return FoldedEngine(model, tuple(outputs), name)
    except ImportError as error:
        raise UserError(
            f"The engine {name!r} needs a package that is not installed ({error}). "
            f"Run: pip install '{_PACKAGES[name]}'."
        ) from error


def takes_snapshot(engine):
    """Whether an engine runs a network that Keras has not built, a `Snapshot`."""
    if engine != "auto":
        return engine != "keras"
    keras = sys.modules.get("keras")
    # Whoever has chosen another policy before wants models in it.
    policy = keras and keras.mixed_precision.dtype_policy()
    return (not policy or policy.compute_dtype == "float32") and bool(_automatic())


def auto_engine(model, outputs):
    """The fastest engine that is installed, see above."""
    if isinstance(model, Snapshot) or _in_float32(model):
        for name in _automatic():
            # Other models than this package's cannot be folded.
            with contextlib.suppress(UserError):
                return FoldedEngine(model, outputs, name)
    return keras_engine(model, outputs)


def _in_float32(model):
    from keras_hourglass.compat import IN_KERAS_3
    from keras_hourglass.layers.common import policy_of

    return IN_KERAS_3 and policy_of(model).compute_dtype == "float32"


def _automatic():
    """The engines other than the model itself that `"auto"` may take, best first."""
    with contextlib.suppress(ImportError):
        import onnx  # noqa: F401 - that it is there, and whole
        import onnxruntime  # noqa: F401

        if not accelerators():
            return ["onnxruntime"]
    import keras

    return ["folded"] if keras.backend.backend() == "tensorflow" else []


class FoldedEngine:
    """The network with its batch norms folded away, anew when the model's weights have changed.

    Args:
        model: the `StackedHourglass`, or a `Snapshot`.
        outputs: names of the outputs that are wanted.
        name: what runs it: `"folded"` (TensorFlow), `"litert"`, `"onnxruntime"` or `"openvino"`.

    Raises:
        UserError: if the model is another one, whose graph is not known.
        ImportError: if the runtime is not installed.
    """

    def __init__(self, model, outputs, name="folded"):
        self.model, self.outputs, self.name = model, outputs, name
        variables = () if isinstance(model, Snapshot) else model.variables
        vectors = [variable for variable in variables if len(variable.shape) == 1]
        # A training step changes the statistics of every norm and, but for frozen layers, every
        # bias: a few of both, from the first layer to the last, tell whether there was one, and
        # the heads, where they alone are trained.
        moving = [variable for variable in vectors if "moving" in variable.name]
        heads = [variable for variable in vectors if "heatmaps" in variable.path]
        self.watched = [v for kind in (moving, vectors) for v in kind[:: len(kind) // 2 or 1]]
        self.watched += heads[-1:] + vectors[-1:]
        self._fold()

    def _fold(self):
        from keras_hourglass.inference import fold

        program = fold(*_snapshot(self.model)).only(*self.outputs)
        start = _start_tensorflow if self.name == "folded" else _start_converted
        self.run = start(program, self.outputs, self.name)
        self.seen = self._look()

    def _look(self):
        return [variable.numpy() for variable in self.watched]

    def __call__(self, crops):
        pairs = zip(self._look(), self.seen, strict=True)
        if not all(np.array_equal(now, seen, equal_nan=True) for now, seen in pairs):
            self._fold()
        return self.run(crops)


def _snapshot(model):
    if isinstance(model, Snapshot):
        return model
    from keras_hourglass.network.model import snapshot

    return snapshot(model)


def _start_tensorflow(program, outputs, _):
    import tensorflow as tf

    from keras_hourglass.inference.tensorflow_graph import Network

    network = Network(program)

    @functools.partial(
        tf.function,
        input_signature=[tf.TensorSpec((None, *program.input_shape), tf.uint8)],
        autograph=False,
    )
    def run(crops):
        return network(crops, outputs)

    return lambda crops: {name: maps.numpy() for name, maps in run(crops).items()}


def _start_converted(program, outputs, name):
    from keras_hourglass.inference.conversion import write_program

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.path.join(folder, f"network{_CONVERTED[name]}")
        with _quiet():
            write_program(program, path)
        return load_network(path, outputs, _threads(name))


def _threads(name):
    """How many to ask for: the others take all cores when they are not told, LiteRT takes one."""
    return os.cpu_count() if name == "litert" else None


def keras_engine(model, outputs):
    """The model itself, compiled once for any batch size by its own backend.

    `Model.predict` spends milliseconds of Python on each call, which is more than a small network.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow_engine(model, outputs)
    if backend == "jax":
        return _jax_engine(model, outputs)
    return _torch_engine(model, outputs)


def _tensorflow_engine(model, outputs):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def run(crops):
        heatmaps = model(crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    return lambda crops: {name: maps.numpy() for name, maps in run(crops).items()}


def _jax_engine(model, outputs):
    import jax

    @jax.jit
    def run(trainable, non_trainable, crops):
        heatmaps, _ = model.stateless_call(trainable, non_trainable, crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    def engine(crops):
        # One compilation per batch size would be slow, so sizes are powers of two.
        count = len(crops)
        missing = (1 << (count - 1).bit_length()) - count
        padded = np.concatenate([crops, np.repeat(crops[:1], missing, axis=0)])
        weights = [variable.value for variable in model.trainable_variables]
        states = [variable.value for variable in model.non_trainable_variables]
        heatmaps = run(weights, states, padded)
        return {name: np.asarray(maps)[:count] for name, maps in heatmaps.items()}

    return engine


def _torch_engine(model, outputs):
    import keras
    import torch

    def engine(crops):
        with torch.no_grad():
            heatmaps = model(np.ascontiguousarray(crops), training=False)
        return {name: keras.ops.convert_to_numpy(heatmaps[name]) for name in outputs}

    return engine


@contextlib.contextmanager
def _quiet():
    """Converters print pages to the standard streams."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield

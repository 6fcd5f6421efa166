"""Running a network on crops: one callable per runtime.

An engine is called with `(N, H, W, 3)` uint8 crops and returns a dict from the names of the wanted
outputs (`"stack_2"`) to `(N, h, w, K)` float32 NumPy arrays. `runner.HeatmapRunner` calls it.

`"keras"` is the model itself, with the weights it has at each call. All others run the network with
its batch norms folded away, as `export` writes it, and with the weights of the moment they were
made: `"folded"` by TensorFlow, `"onnxruntime"`, `"openvino"` and `"litert"` (whose conversion takes
seconds) by what their names say, and paths of files that were exported before. To look at every
weight before every call would cost more than it saves (588 variables: as long as the smallest
network runs), so a snapshot is never compared with its model; who wants it anew says so. Only a
`StackedHourglass` is folded, whose graph is known; a functional model of one's own runs as itself.

`"fastest"` takes what is there and starts at once: on a processor `"onnxruntime"` and else, on the
TensorFlow backend, `"folded"`; on an accelerator what its backend runs, and the model itself where
nothing else can run it. `"auto"` is `"fastest"` for a network that was loaded by name and is in
nobody's hands, and `"keras"` for a model, whose weights may change.
"""

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable

import numpy as np

from keras_hourglass.errors import UserError, did_you_mean, optional
from keras_hourglass.hardware import accelerators
from keras_hourglass.inference.processes import stays_in_process
from keras_hourglass.inference.runtimes import RUNTIMES, kind_of, load_network, runtime_of
from keras_hourglass.network.graph import Snapshot

ENGINES = ("auto", "fastest", "folded", "keras", *RUNTIMES)


@dataclasses.dataclass(frozen=True)
class Engine:
    """What runs, and what its runner must know.

    Args:
        name: one of `ENGINES`, or the path of the file.
        run: the callable described above.
        live: whether it follows the weights of a model, rather than those of one moment.
        compiles: whether every new number of crops is compiled anew, which takes seconds.
    """

    name: str
    run: Callable
    live: bool = False
    compiles: bool = False

    def __call__(self, crops):
        return self.run(crops)


def make_engine(engine, model, outputs, spinning=True):
    """The engine of a name or a file.

    Args:
        engine: one of `ENGINES`; the path of a network that was exported (`.tflite`, `.onnx`,
            `.xml`, or the folder of a SavedModel); or an engine of your own, a callable as
            described above.
        model: the Keras model to run, of which a file is an export, or a `Snapshot` where
            `takes_snapshot(engine)`.
        outputs: names of the outputs that are wanted.
        spinning: see `load_network`; a server turns it off.

    Returns:
        An `Engine`, or the callable that was given.

    Raises:
        UserError: if the name is unknown, the model cannot be folded, or the runtime is not
            installed.
    """
    if callable(engine):
        return engine
    outputs, live = tuple(outputs), not isinstance(model, Snapshot)
    if engine == "keras" or (engine == "auto" and live):
        return _keras_engine(model, outputs)
    if engine in ("auto", "fastest"):
        return _fastest(model, outputs, spinning)
    kind = kind_of(engine)
    if kind == "saved_model":
        return Engine(os.fspath(engine), load_network(engine, outputs))
    name = runtime_of(engine) or engine
    if (name != "folded" and name not in RUNTIMES) or (kind and not os.path.exists(engine)):
        raise UserError(
            f"No such engine or exported network. Received: engine={os.fspath(engine)!r}. "
            f"Choose one of {', '.join(ENGINES)}, or a file that `export` wrote."
            f"{did_you_mean(engine, ENGINES)}"
        )
    try:
        if kind:
            network = load_network(engine, outputs, _threads(name), spinning)
            return Engine(os.fspath(engine), network)
        return _folded_engine(model, outputs, name, spinning)
    except ImportError as error:
        raise UserError(
            f"The engine {name!r} needs a package that is not installed ({error}). "
            f"Run: pip install {RUNTIMES[name].packages if name in RUNTIMES else 'tensorflow'}."
        ) from error


def takes_snapshot(engine):
    """Whether an engine runs a network that Keras has not built, a `Snapshot`."""
    if engine not in ("auto", "fastest"):
        return engine != "keras"
    keras = sys.modules.get("keras")
    # Whoever has chosen another policy before wants models in it.
    policy = keras and keras.mixed_precision.dtype_policy()
    return (not policy or policy.compute_dtype == "float32") and bool(_automatic())


def _fastest(model, outputs, spinning):
    """The fastest engine that is installed, see above."""
    if isinstance(model, Snapshot) or _in_float32(model):
        for name in _automatic():
            # Other models than this package's cannot be folded.
            with contextlib.suppress(UserError):
                return _folded_engine(model, outputs, name, spinning)
    return _keras_engine(model, outputs)


def _in_float32(model):
    from keras_hourglass.compat import IN_KERAS_3
    from keras_hourglass.layers.common import policy_of

    return IN_KERAS_3 and policy_of(model).compute_dtype == "float32"


def _automatic():
    """The engines other than the model itself that `"fastest"` may take, best first."""
    with contextlib.suppress(ImportError):
        optional("onnx")
        optional("onnxruntime")

        if not accelerators():
            return ["onnxruntime"]
    import keras

    return ["folded"] if keras.backend.backend() == "tensorflow" else []


def _folded_engine(model, outputs, name, spinning=True):
    """The network as it is now, with its batch norms folded away, run by an engine of that name."""
    from keras_hourglass.inference.program import fold

    if not isinstance(model, Snapshot):
        from keras_hourglass.network.model import snapshot

        _bring_up_to_date(model)
        model = snapshot(model)
    program = fold(*model).only(*outputs)
    start = _start_tensorflow if name == "folded" else _start_converted
    return Engine(name, start(program, outputs, name, spinning))


def _start_tensorflow(program, outputs, *_):
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

    return _as_arrays(run)


def _start_converted(program, outputs, name, spinning):
    from keras_hourglass.inference.conversion import write_program

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = os.path.join(folder, f"network{RUNTIMES[name].suffix}")
        with _quiet():
            write_program(program, path)
        return load_network(path, outputs, _threads(name), spinning, name)


def _threads(name):
    """How many to ask for.

    Who shares a machine out among processes says how many are for each by `OMP_NUM_THREADS` (Ray,
    Dask, joblib, torchrun); these runtimes do not look there. Where nobody says, the others take
    all cores when they are not told, LiteRT takes one.
    """
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if said.isdecimal() and int(said):
        return int(said)
    return os.cpu_count() if name == "litert" else None


def _keras_engine(model, outputs):
    """The model itself, compiled for any batch size by its own backend.

    `Model.predict` spends milliseconds of Python on each call, which is more than a small network.
    """
    import keras

    backend = keras.backend.backend()
    part = model
    if set(outputs) != set(model.output):
        # PyTorch would run what leads to the others, too.
        part = keras.Model(model.input, {name: model.output[name] for name in outputs})
    if backend == "tensorflow":
        return Engine("keras", _run_by_tensorflow(part, outputs), live=True)
    if backend == "jax":
        return Engine("keras", _run_by_jax(model, part, outputs), live=True, compiles=True)
    return Engine("keras", _run_by_torch(part, outputs), live=True)


def _run_by_tensorflow(model, outputs):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def run(crops):
        heatmaps = model(crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    return _as_arrays(run)


def _as_arrays(run):
    import tensorflow as tf

    # Traced here: TensorFlow takes the functions of several predictors for one that is traced
    # again and again, and warns.
    traced = run.get_concrete_function()

    def engine(crops, _keeps_variables_alive=run):
        return {name: maps.numpy() for name, maps in traced(tf.constant(crops)).items()}

    return stays_in_process(engine, "TensorFlow")


def _run_by_jax(model, part, outputs):
    import jax
    import keras

    # In one order for good: which of them are trained may change between two calls.
    variables = list(part.variables)

    @jax.jit
    def run(values, crops):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            heatmaps = part(crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    def engine(crops):
        _bring_up_to_date(model)
        heatmaps = run([variable.value for variable in variables], crops)
        return {name: np.asarray(maps) for name, maps in heatmaps.items()}

    return stays_in_process(engine, "JAX")


def _bring_up_to_date(model):
    """Within an epoch of `fit`, JAX's trainer keeps the weights to itself until it is asked."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def _run_by_torch(model, outputs):
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

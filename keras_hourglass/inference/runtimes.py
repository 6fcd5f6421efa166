"""Exported networks under the runtimes they were written for.

Each is a callable from `(N, H, W, 3)` crops to a dict from output names (`"stack_2"`) to
`(N, h, w, K)` float32 heatmaps. Files of this package's `export` and of Keras's own run alike.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable

import numpy as np

from keras_hourglass.errors import UserError, optional
from keras_hourglass.inference.processes import PerProcess, stays_in_process


def kind_of(path):
    """What a path says about the runtime: a file's suffix, or `"saved_model"` for its folder."""
    path = pathlib.Path(path)
    return "saved_model" if (path / "saved_model.pb").is_file() else path.suffix


def runtime_of(path):
    """The name in `RUNTIMES` of what runs such a file by default; `None` if nothing does.

    Example:

    >>> runtime_of("out/hourglass.onnx"), runtime_of("hourglass.pdf")
    ('onnxruntime', None)
    """
    kind = kind_of(path)
    return next((name for name, row in RUNTIMES.items() if row.suffix == kind), None)


def load_network(path, outputs=None, threads=None, spinning=True, runtime=None):
    """Load an exported network.

    Args:
        path: an `.onnx`, `.xml` or `.tflite` file, which may go away afterwards, or the folder of a
            SavedModel.
        outputs: names of the outputs that are wanted; all by default.
        threads: of the runtime (not for a SavedModel); its own choice by default.
        spinning: whether threads of ONNX Runtime wait busily for their next operation: quickest
            for who has the machine alone, twice the processor time for who shares it.
        runtime: one of `RUNTIMES`; the first for files of this kind by default.

    Returns:
        The callable.

    Raises:
        UserError: if the path is none of these.
        ImportError: if the runtime is not installed.

    Example:

    >>> load_network("out/hourglass.onnx", ["stack_2"])(crops)["stack_2"].shape  # doctest: +SKIP
    (2, 64, 64, 14)
    """
    load = _saved_model if kind_of(path) == "saved_model" else None
    if name := runtime or runtime_of(path):
        load = RUNTIMES[name].load
    if load is None or not os.path.exists(path):
        raise UserError(
            f"An exported model is needed. Received: {path}. "
            "Name an .onnx, .xml or .tflite file, or the folder of a SavedModel's version."
        )
    return load(os.fspath(path), outputs and tuple(outputs), threads, spinning)


def _saved_model(path, outputs, *_):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # its variables live as long as it does

    def engine(crops):
        heatmaps = loaded.signatures["heatmaps"](images=tf.constant(crops, tf.float32))
        return {name: heatmaps[name].numpy() for name in outputs or heatmaps}

    return stays_in_process(engine, "TensorFlow")


def _litert(path, outputs, threads, _):
    """One picture after the other: XNNPACK gains nothing from batches."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        from tensorflow.lite import Interpreter  # goes away in a later TensorFlow
        from tensorflow.lite.experimental import OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    # Read whole, since the file may be gone later.
    settings = {"model_content": pathlib.Path(path).read_bytes(), "num_threads": threads}

    def start():
        with warnings.catch_warnings():
            # TensorFlow announces that its copy will go; then the package above is there.
            warnings.simplefilter("ignore")
            interpreter = Interpreter(**settings)
            try:
                interpreter.allocate_tensors()
            except RuntimeError:
                # XNNPACK refuses some ranges of 8-bit numbers, which the plain kernels take.
                interpreter = Interpreter(**settings, experimental_op_resolver_type=plain)
        return interpreter.get_signature_runner()

    runner = PerProcess(start)
    [(argument, details)] = runner().get_input_details().items()

    def engine(crops):
        run, crops = runner(), np.asarray(crops, details["dtype"])
        results = [run(**{argument: crops[row : row + 1]}) for row in range(len(crops))]
        names = outputs or results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in names}

    return engine


class _KeptFile:
    """A file as it is now, for forked children, also when it is gone or another one by then."""

    def __init__(self, path):
        self._number = os.open(path, os.O_RDONLY) if hasattr(os, "fork") else None

    def read(self):
        size = os.fstat(self._number).st_size
        parts, place = [], 0
        while place < size:
            parts.append(os.pread(self._number, size - place, place))
            place += len(parts[-1])
        return b"".join(parts)

    def __del__(self):
        if getattr(self, "_number", None) is not None:
            os.close(self._number)


def _onnxruntime(path, outputs, threads, spinning):
    onnxruntime = optional("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    folder = os.path.dirname(os.path.abspath(path))  # of tensors outside the file
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    # A plan of memory is made for the second answer, in a block beside those of the first.
    options.enable_mem_pattern = False
    home, kept = os.getpid(), _KeptFile(path)

    def start():
        # By its path, the file is not in memory beside the network.
        source = path if os.getpid() == home else kept.read()
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    session = PerProcess(start)
    [argument] = session().get_inputs()
    dtype = np.uint8 if "uint8" in argument.type else np.float32
    names = outputs or [output.name for output in session().get_outputs()]

    def engine(crops):
        results = session().run(list(names), {argument.name: np.asarray(crops, dtype)})
        return dict(zip(names, results, strict=True))

    return engine


def _openvino(path, outputs, threads, _):
    openvino = optional("openvino")

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    model = openvino.Core().read_model(path)
    compiled = PerProcess(lambda: openvino.Core().compile_model(model, "CPU", settings))
    network = compiled()
    dtype = np.uint8 if "u8" in str(network.inputs[0].element_type) else np.float32
    names = outputs or [port.get_any_name() for port in network.outputs]
    # Keras names outputs by tensor names of its own; their order is that of the sorted names.
    named = {name: port for port in network.outputs for name in port.names}
    if set(names) <= set(named):
        places = [network.outputs.index(named[name]) for name in names]
    else:
        places = np.argsort(np.argsort(names)).tolist()

    def engine(crops):
        results = compiled()(np.ascontiguousarray(crops, dtype))
        return {name: results[at].copy() for name, at in zip(names, places, strict=True)}

    return engine


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What runs files of one kind.

    Args:
        suffix: how the files' names end, as `conversion.write_program` writes them.
        packages: what to tell `pip install` to have it.
        load: callable from a path, the outputs' names or `None`, a number of threads or `None`,
            and whether they wait busily, to the callable of `load_network`.
    """

    suffix: str
    packages: str
    load: Callable


# name of the engine -> runtime. Of several with one suffix, the first runs files by their path.
RUNTIMES = {
    "litert": Runtime(".tflite", "ai-edge-litert", _litert),
    "onnxruntime": Runtime(".onnx", "onnx onnxruntime", _onnxruntime),
    "openvino": Runtime(".xml", "'keras_hourglass[openvino]'", _openvino),
}

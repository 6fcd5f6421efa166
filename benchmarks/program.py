"""The compiled training step, read: bytes that pass through memory, kernel by kernel.

A training step of these networks on an accelerator waits for memory, not for arithmetic, so the
bytes that its kernels read and write say how fast it can be. XLA compiles for a card that is not
there, if its CUDA plugin is installed (`pip install "jax[cuda12]"`); without it, the program for
this processor is read, which XLA joins to other, smaller kernels. `accelerator.py --program` calls
this.
"""

import collections
import math
import re

# What XLA asks of a card, for an H100 with 80 GB.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 9 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
BYTES |= {"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
# Lines that move nothing.
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"}
LARGE = 1e6  # bytes; what is smaller costs its start alone


def device():
    """The device to compile for, and what it is called."""
    import jax
    from jax.experimental import topologies

    if jax.default_backend() != "cpu":
        return jax.devices()[0], jax.devices()[0].device_kind
    try:
        options = {"platform": "cuda", "target_config": H100, "topology": "1x1x1"}
        return topologies.get_topology_desc(**options).devices[0], "H100, which is not here"
    except (NotImplementedError, RuntimeError):
        return jax.devices()[0], "this processor"


def compiled_step(model, crops, answers, batch, target):
    """The step of Keras's `fit`, before and after XLA's optimizations.

    Args:
        model: compiled by Keras on JAX.
        crops, answers: one sample as `fit` gets it, with an axis for the batch.
        batch: pictures of a step.
        target: from `device`.

    Returns:
        What `jax.stages.Lowered` and `jax.stages.Compiled` say.
    """
    import jax

    model._symbolic_build(data_batch=(crops, answers))
    model.optimizer.build(model.trainable_variables)
    names = ("trainable", "non_trainable", "optimizer", "metrics")
    state = model._get_jax_state(**{f"{name}_variables": True for name in names})
    here = jax.sharding.SingleDeviceSharding(target)

    def abstract(value, *first):
        shape = (*first, *value.shape[len(first) :])
        return jax.ShapeDtypeStruct(shape, value.dtype, sharding=here)

    state = jax.tree.map(abstract, state)
    data = jax.tree.map(lambda value: abstract(value, batch), (crops, answers))
    step = jax.jit(model.train_step, donate_argnums=0, in_shardings=here, out_shardings=here)
    lowered = step.lower(state, data)
    return lowered, lowered.compile()


def size(shape):
    """Bytes of a shape as XLA writes it: `bf16[64,128]{1,0}`, or several in brackets."""
    return sum(
        BYTES.get(kind, 0) * math.prod(int(edge) for edge in edges.split(",") if edge)
        for kind, edges in re.findall(r"(\w+)\[([\d,]*)\]", shape)
    )


def kernels(text):
    """The kernels of a compiled program.

    Args:
        text: the program, as `Compiled.as_text` gives it.

    Returns:
        A list of `(kind, bytes, where)`: a fusion's own name or the library's, bytes of all that
        it reads and writes once each, and the layer.
    """
    sizes, found = {}, []
    line = re.compile(r"\s+(?:ROOT )?%([\w.\-]+) = (.*?) ([\w\-]+)\((.*)")
    for match in map(line.match, text[text.index("\nENTRY") :].splitlines()):
        if not match:
            continue
        name, shape, operation, rest = match.groups()
        sizes[name] = size(shape)
        if operation in FREE:
            continue
        # Operands end where their bracket does; no shape with brackets stands between.
        operands = re.findall(r"%([\w.\-]+)", rest[: rest.index(")")])
        library = re.search(r'custom_call_target="([^"]*)"', rest)
        kind = library.group(1) if library else operation
        if operation == "fusion":
            kind = re.sub(r"[\d.]+$", "", name)
        layer = re.search(r'op_name="([^"]*)"', rest)
        total = sizes[name] + sum(sizes.get(operand, 0) for operand in operands)
        found.append((kind, total, layer.group(1) if layer else ""))
    return found


def read(lowered, compiled, batch):
    """What there is to know of a program, JSON-ready; bytes are 10⁶ for each picture."""
    rows, plain = kernels(compiled.as_text()), lowered.as_text()
    kinds = collections.Counter()
    for kind, count, _ in rows:
        kinds["convolutions" if "conv" in kind and "$" in kind else kind] += count
    memory = compiled.memory_analysis()
    return {
        "mb_per_image": round(sum(row[1] for row in rows) / batch / 1e6, 1),
        "by_kind": {kind: round(n / batch / 1e6, 1) for kind, n in kinds.most_common(12)},
        "kernels": len(rows),
        "kernels_of_a_megabyte": sum(row[1] >= LARGE for row in rows),
        "kept_mb_per_image": round(memory.temp_size_in_bytes / batch / 1e6, 1),
        "before_optimization": {
            name: len(re.findall(rf"stablehlo\.{name}\b", plain))
            for name in ("convert", "transpose", "reduce", "select_and_scatter", "convolution")
        },
    }

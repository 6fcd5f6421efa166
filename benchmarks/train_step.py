"""Images per second of a training step, against a PyTorch twin of the same network.

    python benchmarks/train_step.py [--batch 4] [--size 256] [--stacks 2] [--features 256]
    python benchmarks/train_step.py --batch 16 --size 128 --features 64 --stem 16 32 32

Both networks have the same layers, batch, targets, loss (one mean squared error per stack) and
optimizer (RMSprop); the number of parameters is compared first. The variants take turns, so that
whatever else the machine does meets all of them; every step ends with the loss on the host. Each
runs in a process of its own, which also gives its peak memory. Variants: Keras with
TensorFlow's graph as `keras-hourglass train` runs it (oneDNN on), as TensorFlow starts by itself,
with XLA, and as the first but with `training.recompute`; PyTorch eager, channels-last,
`torch.compile`. Where the processor computes in bfloat16, both also run in it (Keras as by
`training.precision: auto`, PyTorch by `autocast`, channels-last).
On a GPU all of them run in bfloat16, and the share of `--peak-tflops` (the chip's
dense bfloat16 rate) is given. Results go to `benchmarks/results/train_step.json`. Measure on an
idle machine: PyTorch's threads wait for each other, and two of them on busy cores may take a
hundred times as long as one.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

VARIANTS = (
    "keras-graph",
    "keras-default",
    "keras-xla",
    "keras-recompute",
    "keras-bfloat16",
    "torch-eager",
    "torch-channels-last",
    "torch-compile",
    "torch-bfloat16",
)
RESULT = pathlib.Path(__file__).parent / "results" / "train_step.json"
JOINTS, SIGMA, RATE = 16, 1.0, 2.5e-4


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="input pixels")
    parser.add_argument("--stacks", type=int, default=2)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--stem", type=int, nargs=3, default=[64, 128, 128], help="its widths")
    parser.add_argument("--steps", type=int, default=8, help="measured steps per turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=default_variants(), choices=VARIANTS)
    parser.add_argument("--peak-tflops", type=float, help="the chip's dense bfloat16 rate")
    parser.add_argument("--out", default=str(RESULT))
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def default_variants():
    """All that make sense on this machine."""
    from keras_hourglass.hardware import BFLOAT16, processor_flags

    narrow = bool(BFLOAT16 & processor_flags())
    return [name for name in VARIANTS if narrow or not name.endswith("bfloat16")]


def example(args):
    """A batch of noise and joints, the same for all."""
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, (args.batch, args.size, args.size, 3), np.uint8)
    positions = rng.uniform(0, args.size / 4 - 1, (args.batch, JOINTS, 2))
    ones = np.ones((args.batch, JOINTS, 2))
    return crops, np.concatenate([positions, ones], axis=-1).astype(np.float32)


def network(args, joints):
    """The Keras model of the arguments, not compiled."""
    from keras_hourglass import StackedHourglass

    first, before, after = args.stem
    return StackedHourglass(
        joints,
        args.stacks,
        args.features,
        input_shape=(args.size, args.size, 3),
        stem=(first, (before,), (after, args.features)),
    )


def keras_step(args, variant):
    """A callable that takes one step and returns the loss, the parameters and the device."""
    import keras
    import tensorflow as tf

    from keras_hourglass.layers.recomputation import recompute
    from keras_hourglass.losses import HeatmapMSE
    from keras_hourglass.training.optimizers import TorchRMSprop

    gpu = bool(tf.config.list_physical_devices("GPU"))
    if gpu or variant == "keras-bfloat16":
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    model = network(args, JOINTS)
    recompute(model, variant == "keras-recompute")
    loss = HeatmapMSE((args.size // 4,) * 2, SIGMA)
    model.compile(
        optimizer=TorchRMSprop(RATE),
        loss=dict.fromkeys(model.output_names, loss),
        jit_compile=variant == "keras-xla",
    )
    crops, targets = example(args)
    answers = dict.fromkeys(model.output_names, targets)

    def step():
        return float(model.train_on_batch(crops, answers, return_dict=True)["loss"])

    return step, sum(int(np.prod(v.shape)) for v in model.trainable_variables), model.gflops, gpu


def torch_step(args, variant):
    """The same for the twin."""
    import torch
    from torch_twin import TwinHourglass, draw

    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    network = TwinHourglass(JOINTS, args.stacks, args.features, args.stem).to(device).train()
    last = variant in ("torch-channels-last", "torch-bfloat16")
    layout = torch.channels_last if last else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=RATE, alpha=0.99, eps=1e-8)
    forward = torch.compile(network) if variant == "torch-compile" else network
    narrow = gpu or variant == "torch-bfloat16"
    crops, targets = example(args)
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2)
    targets = torch.from_numpy(targets)

    def step():
        x = pixels.to(device).contiguous(memory_format=layout).float() / 255 - 0.5
        wanted = draw(targets.to(device), args.size // 4, SIGMA)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            predicted = forward(x)
        loss = sum(((maps.float() - wanted) ** 2).mean() for maps in predicted)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, sum(p.numel() for p in network.parameters() if p.requires_grad), None, gpu


def child(args):
    """Warm up, then measure a turn for every line on the input; JSON lines on the output."""
    begun = time.perf_counter()
    if args.child.startswith("keras"):
        step, parameters, gflops, gpu = keras_step(args, args.child)
    else:
        step, parameters, gflops, gpu = torch_step(args, args.child)
    first = [step() for _ in range(2)]
    facts = {"parameters": parameters, "gflops": gflops, "gpu": gpu, "first_losses": first}
    facts["seconds_to_second_step"] = round(time.perf_counter() - begun, 2)
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        seconds = []
        for _ in range(args.steps):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(json.dumps({"seconds": seconds, "peak_mib": round(peak)}), flush=True)


def measure(args):
    """All variants in turns; a dict variant -> facts and seconds of every step."""
    here = pathlib.Path(__file__)
    results, children = {}, {}
    for name in args.variants:
        command = [sys.executable, str(here), "--child", name]
        for option in ("batch", "size", "stacks", "features", "steps"):
            command += [f"--{option}", str(getattr(args, option))]
        environment = dict(os.environ)
        if name in ("keras-graph", "keras-recompute", "keras-bfloat16"):
            environment["TF_ENABLE_ONEDNN_OPTS"] = "1"
        command += ["--stem", *map(str, args.stem)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=here.parent,
            env=environment,
        )
        line = process.stdout.readline()
        if not line:
            process.wait()
            print(f"{name}: did not start, see above", file=sys.stderr)
            continue
        results[name], children[name] = {**json.loads(line), "seconds": []}, process
        print(f"{name}: ready", file=sys.stderr)
    for turn in range(args.turns):
        # The order turns around, since the machine may grow slower or faster meanwhile.
        for name in list(children)[:: 1 if turn % 2 == 0 else -1]:
            children[name].stdin.write("go\n")
            children[name].stdin.flush()
            answer = json.loads(children[name].stdout.readline())
            results[name]["seconds"] += answer["seconds"]
            results[name]["peak_mib"] = answer["peak_mib"]
    for process in children.values():
        process.stdin.close()
        process.wait()
    return results


def summarise(args, results):
    """Images per second with median and spread, and how Keras compares with the best twin."""
    rows = {}
    gflops = next((r["gflops"] for r in results.values() if r["gflops"]), None)
    for name, result in results.items():
        rate = sorted(args.batch / seconds for seconds in result.pop("seconds"))
        quarter = len(rate) // 4
        median = statistics.median(rate)
        rows[name] = {
            **result,
            "images_per_s": round(median, 3),
            "middle_half": [round(rate[quarter], 3), round(rate[-1 - quarter], 3)],
        }
        if gflops:
            # Backward costs twice as much as forward.
            rows[name]["model_tflops_per_s"] = round(3 * gflops * median / 1000, 4)
            if args.peak_tflops:
                share = rows[name]["model_tflops_per_s"] / args.peak_tflops
                rows[name]["share_of_peak"] = round(share, 4)
    return rows


def main():
    args = parse()
    if args.child:
        child(args)
        return
    rows = summarise(args, measure(args))
    counts = {row["parameters"] for row in rows.values()}
    if len(counts) > 1:
        raise SystemExit(f"The networks are not the same: {counts} parameters.")
    best = {
        kind: max((row["images_per_s"] for name, row in rows.items() if kind in name), default=None)
        for kind in ("keras", "torch")
    }
    ratio = round(best["keras"] / best["torch"], 3) if all(best.values()) else None
    facts = {
        "network": f"{args.stacks} stacks, {args.features} features, {args.size}×{args.size}",
        "stem": args.stem,
        "batch": args.batch,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load_1min": round(os.getloadavg()[0], 2),
        "steps": args.steps * args.turns,
        "variants": rows,
        "best_keras_over_best_torch": ratio,
    }
    path = pathlib.Path(args.out)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, row in rows.items():
        low, high = row["middle_half"]
        print(
            f"{name:20} {row['images_per_s']:9.3f} images/s ({low:.3f}–{high:.3f}) "
            f"{row['peak_mib']:6} MiB"
        )
    print(f"best of Keras over best of PyTorch: {ratio}")


if __name__ == "__main__":
    main()

"""How milliseconds and work grow with stacks, input size and batch, as a table and a figure.

    python benchmarks/scaling.py [--parts stacks inputs ...] [--engine NAME]

Random weights, the `Predictor`'s engine, sizes in turns in one process, pictures of noise. Work is
counted from the network's arguments. Results go to `benchmarks/results/scaling.json` and
`benchmarks/figures/scaling.png`; parts that are not measured anew are kept.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np

FIGURE = pathlib.Path(__file__).resolve().parent / "figures" / "scaling.png"
# part -> (what grows, sizes, arguments of `serving.random_model` for a size, batch)
PARTS = {
    "stacks": ("stacks", (1, 2, 4, 8), lambda n: (256, 256, n), lambda n: 1),
    "inputs": ("input side", (128, 192, 256, 320, 384, 448, 512), lambda n: (256, n), lambda n: 1),
    "batches_small": ("batch", (1, 2, 4, 8, 16, 32), lambda n: (64, 128), lambda n: n),
    "batches_2s": ("batch", (1, 2, 4, 8), lambda n: (256, 256), lambda n: n),
}
TITLES = {
    "stacks": "256 features, 256×256, batch 1",
    "inputs": "2 stacks, 256 features, batch 1",
    "batches_small": "2 stacks, 64 features, 128×128",
    "batches_2s": "2 stacks, 256 features, 256×256",
}
TOLERANCE = 1.05  # how far above linear may lie what the noise of a machine explains


def measure(part, engine, repetitions):
    """Rows of one part: size, work of one call, milliseconds."""
    from serving import random_model

    from keras_hourglass import Predictor

    _, sizes, arguments, batch = PARTS[part]
    rng, models, calls, work = np.random.default_rng(0), {}, {}, {}
    for size in sizes:
        key = arguments(size)
        if key not in models:
            options = {"flip": False, "batch_size": 64, "engine": engine or "fastest"}
            models[key] = Predictor(random_model(*key), **options)
        predictor = models[key]
        crops = rng.integers(0, 256, (batch(size), *predictor.input_size, 3), np.uint8)
        calls[size] = lambda run=predictor.predict_crops, crops=crops: run(crops)
        work[size] = predictor.model.gflops * batch(size)
    taken = common.interleaved(calls, repetitions)
    return [
        {
            "size": size,
            "gflop": round(work[size], 3),
            "milliseconds": common.spread(1000 * one for one in taken[size]).to_dict(3),
        }
        for size in sizes
    ]


def growth(rows):
    """For each row the milliseconds per work, against the cheapest per work of the smaller ones.

    1 is linear, above it the cost grows faster than the work.
    """
    per_work = [row["milliseconds"]["median"] / row["gflop"] for row in rows]
    return [1.0] + [
        round(per_work[index] / min(per_work[:index]), 3) for index in range(1, len(rows))
    ]


def judge(part, rows):
    """The goal of one part: nothing above linear."""
    factors = growth(rows)
    worst = int(np.argmax(factors[1:])) + 1
    note = f"highest at {PARTS[part][0]} {rows[worst]['size']}, " + (
        f"{rows[0]['milliseconds']['count']} turns; 1 is linear, {TOLERANCE - 1:.0%} are noise"
    )
    text = f"milliseconds per FLOP as {PARTS[part][0]} grow ({TITLES[part]})"
    return common.Goal(7, text, factors[worst], TOLERANCE, note=note)


def draw(parts, path):
    """A panel for each part: milliseconds over size, with the spread, and the linear line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3 * len(parts), 3.2), layout="constrained")
    panels = figure.subplots(1, len(parts), squeeze=False)[0]
    for panel, (part, rows) in zip(panels, parts.items(), strict=True):
        sizes = [row["size"] for row in rows]
        times = [row["milliseconds"] for row in rows]
        middle = [one["median"] for one in times]
        panel.fill_between(
            sizes, [one["low"] for one in times], [one["high"] for one in times], alpha=0.25
        )
        panel.plot(sizes, middle, "o-", label="measured")
        linear = [middle[0] * row["gflop"] / rows[0]["gflop"] for row in rows]
        panel.plot(sizes, linear, "k--", linewidth=1, label="linear in FLOPs")
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.set_xticks(sizes, [str(size) for size in sizes], fontsize=8)
        panel.set_xticks([], minor=True)
        # Whole numbers of milliseconds instead of powers of two.
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.set_xlabel(PARTS[part][0])
        panel.set_title(TITLES[part], fontsize=9)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("milliseconds of one call")
    panels[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(parts):
    """Markdown: one row per size."""
    lines = [
        "| network | grows | size | GFLOP | ms, median (10th–90th percentile) | ms per GFLOP |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for part, rows in parts.items():
        for row in rows:
            one = row["milliseconds"]
            lines.append(
                f"| {TITLES[part]} | {PARTS[part][0]} | {row['size']} | {row['gflop']:.2f} | "
                f"{one['median']:.1f} ({one['low']:.1f}–{one['high']:.1f}) | "
                f"{one['median'] / row['gflop']:.2f} |"
            )
    return "\n".join(lines)


def main():
    parser = common.parser(__doc__, "scaling")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--engine", help="of the Predictor; its own default without")
    parser.add_argument("--repetitions", type=int, default=30, help="(30)")
    parser.add_argument("--figure", type=pathlib.Path, default=FIGURE, help="PNG file")
    args, load = parser.parse_args(), os.getloadavg()[0]
    before = common.read(args.out).get("parts", {})
    for part in args.parts:
        before[part] = measure(part, args.engine, args.repetitions)
    parts = {part: before[part] for part in PARTS if part in before}
    draw(parts, args.figure)
    print(table(parts))
    goals = [judge(part, rows) for part, rows in parts.items()]
    common.write(args.out, {"engine": args.engine or "default", "parts": parts}, goals, load=load)


if __name__ == "__main__":
    main()

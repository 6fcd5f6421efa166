"""Run the benchmarks and say which goals of speed are met.

    python benchmarks/run.py --data-root DIR [--only NAME ...] [--mediapipe PYTHON]
        [--movenet FILE] [--blazepose FILE]
    python benchmarks/run.py --table

Each benchmark is a process of its own that writes `results/NAME.json`; leave the machine alone
meanwhile. `--table` only reads those files. The table of goals between the marks of
`benchmarks/README.md` is made anew each time. `--data-root` holds `lspet/`, `lsp_train/` and
`mpii_sample/`, for the frontier also `coco_people/`; what needs it is left out without. The exit
status is 1 if a benchmark failed; missed goals are printed and nothing more, since a goal is no
test.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import common

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE / "README.md"
MARK = "goals"
# name of the result -> script and its arguments; {root} stands for --data-root
JOBS = {
    "serving": ["serving.py"],
    "train_step_2s": [
        "train_step.py", "--stacks", "2", "--features", "256", "--size", "256", "--batch", "4",
    ],
    "train_step_small": [
        "train_step.py", "--stacks", "2", "--features", "64", "--size", "128", "--batch", "16",
        "--stem", "16", "32", "32",
    ],
    "photo": ["photo.py", "--photo", "{root}/lsp_train/images/im0801.jpg"],
    "input_pipeline": ["input_pipeline.py", "--data-root", "{root}"],
    "startup": [
        "startup.py", "--data-root", "{root}", "--photo", "{root}/lsp_train/images/im0801.jpg",
    ],
    "memory": ["memory.py"],
    "scaling": ["scaling.py"],
    "small_networks": ["small_networks.py", "--data-root", "{root}"],
    "frontier": ["frontier.py", "--data", "{root}/coco_people/validation.json"],
}  # fmt: skip
NEEDS_DATA = ("small_networks", "frontier")
RIVALS = ("movenet", "blazepose")
NAMED = {"serving": "one image at a time and eight at once", "train_step_2s": "`hourglass_2s`",
         "train_step_small": "the small preset"}  # fmt: skip


def command(name, root, mediapipe=None, rivals=()):
    """The command of a benchmark, without the options whose folder is not given."""
    script, *words = JOBS[name]
    if root is None:
        # An option goes with its value.
        pairs = zip(words, [*words[1:], ""], strict=True)
        words = [word for word, following in pairs if "{root}" not in word + following]
    words = [word.format(root=root) for word in words]
    if name.startswith("train_step"):
        words += ["--out", str(common.RESULTS / f"{name}.json")]
    if name == "small_networks" and mediapipe:
        words += ["--mediapipe", mediapipe]
    if name == "frontier":
        words += [word for option, path in rivals if path for word in (f"--{option}", path)]
    return [sys.executable, str(HERE / script), *words]


def serving_goals(results):
    """Goals of the exported network, from what `serving.py` wrote: a list, one per network."""
    goals = []
    for result in results:
        for count in (1, 8):
            rows = result.get(f"batch {count}", {})
            times = {name: row["median_ms"] for name, row in rows.items()}
            ways = [times[name] for name in times if name.startswith("SavedModel")]
            served = min(ways, default=None)
            others = {name: times[name] for name in ("onnx", "openvino") if name in times}
            where = f"`{result['model']}`, batch {count}"
            if served and others:
                best = min(others, key=others.get)
                note = f"{served:.2f} against {others[best]:.2f} ms an image ({best})"
                text = f"SavedModel against the faster of ONNX Runtime and OpenVINO ({where})"
                goals.append(common.Goal(1, text, served / others[best], 1.0, note=note))
            if served and "matrix-product floor" in times:
                floor = times["matrix-product floor"]
                note = f"{served:.2f} against {floor:.2f} ms an image"
                text = f"SavedModel against the matrix-product floor ({where})"
                goals.append(common.Goal(1, text, served / floor, 1.05, note=note))
            # Half of 16.3 / 3.5, where the small network began.
            if served and count == 1 and "litert" in times and "64f" in result["model"]:
                note = f"{served:.2f} against {times['litert']:.2f} ms"
                text = f"SavedModel against LiteRT ({where})"
                ratio = served / times["litert"]
                goals.append(common.Goal(7, text, ratio, 2.33, note=note))
    return goals


def train_goals(result, what):
    """Goals of a training step, from what `train_step.py` wrote."""
    rows = result.get("variants", {})
    best = {
        kind: max(
            (name for name in rows if name.startswith(kind)),
            key=lambda name: rows[name]["images_per_s"],
            default=None,
        )
        for kind in ("keras", "torch")
    }
    if None in best.values():
        return []
    ours, theirs = (rows[best[kind]] for kind in ("keras", "torch"))
    speed = (
        f"{best['keras']} {ours['images_per_s']:.3g} against {best['torch']} "
        f"{theirs['images_per_s']:.3g} images/s"
    )
    space = f"{ours['peak_mib']} against {theirs['peak_mib']} MiB, whole processes"
    return [
        common.Goal(
            2, f"training step against the best of PyTorch ({what})",
            ours["images_per_s"] / theirs["images_per_s"], 1.25, at_least=True, note=speed,
        ),
        common.Goal(
            2, f"its memory against the best of PyTorch ({what})",
            ours["peak_mib"] / theirs["peak_mib"], 1.0, note=space,
        ),
    ]  # fmt: skip


def collect(folder):
    """Name -> `Goal`s and the file's content, for each result that is there."""
    found = {}
    for name in JOBS:
        content = common.read(folder / f"{name}.json")
        if not content:
            continue
        if name == "serving":
            goals = serving_goals(content)
        elif name.startswith("train_step"):
            goals = train_goals(content, NAMED[name])
        else:
            goals = [common.goal_from(values) for values in content.get("goals", ())]
        found[name] = goals, content
    return found


def facts(content):
    """The line on hardware, versions and load of one result, whatever its script wrote."""
    first = content[0] if isinstance(content, list) else content
    hardware = first.get("hardware") or {}
    parts = [str(hardware.get("processor") or first.get("processor") or first.get("machine") or "")]
    cores = hardware.get("cores") or first.get("cores")
    parts.append(f"{cores} cores" if cores else "")
    known = first.get("versions") or {}
    parts += [f"{name} {number}" for name, number in known.items()]
    load = first.get("load_average") or first.get("load") or first.get("load_1min")
    if load is not None:
        load = load if isinstance(load, list) else [load]
        parts.append("load " + " to ".join(f"{one:.1f}" for one in load[:2]))
        if max(load[:2]) > 1 + (cores or 1):
            parts.append("**beside other work: the spread counts, not the verdict**")
    return ", ".join(part for part in parts if part)


def table(found):
    """Markdown: a row per goal, then a line per result on where it was measured."""
    lines = [
        "| goal | what | reached | wanted | | measured |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    goals = [(goal, name) for name, (several, _) in found.items() for goal in several]
    for goal, name in sorted(goals, key=lambda pair: pair[0].number):
        unit = goal.unit if goal.unit in ("×", "%") else f" {goal.unit}"
        sign = "≥" if goal.at_least else "≤"
        verdict = "met" if goal.met else "**missed**"
        lines.append(
            f"| {goal.number} | {goal.text} | {goal.reached:.3g}{unit} | "
            f"{sign} {goal.limit:g}{unit} | {verdict} | {goal.note} (`{name}`) |"
        )
    met = sum(goal.met for goal, _ in goals)
    lines += ["", f"{met} of {len(goals)} numbers reach their goal.", ""]
    lines += [f"- `{name}.json`: {facts(content)}" for name, (_, content) in found.items()]
    return "\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(JOBS), default=list(JOBS))
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--data-root", help="folder with lspet/, lsp_train/ and mpii_sample/")
    parser.add_argument("--mediapipe", metavar="PYTHON", help="a Python that has MediaPipe")
    for option in RIVALS:
        parser.add_argument(f"--{option}", metavar="FILE", help="its network, see frontier.py")
    return parser.parse_args()


def main():
    args, failed = parse(), []
    for name in [] if args.table else args.only:
        if name in NEEDS_DATA and args.data_root is None:
            print(f"{name}: left out, it needs --data-root", file=sys.stderr)
            continue
        begin = time.monotonic()
        rivals = [(option, getattr(args, option)) for option in RIVALS]
        done = subprocess.run(command(name, args.data_root, args.mediapipe, rivals))
        if done.returncode:
            failed.append(name)
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    found = collect(common.RESULTS)
    for name, (goals, _) in found.items():
        print(f"\n{name}")
        for goal in goals:
            print(f"  {goal}\n      {goal.note}")
    text = PAGE.read_text(encoding="utf-8")
    common.atomic_write(PAGE, common.replace_between(text, MARK, table(found)))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

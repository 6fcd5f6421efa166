"""Mutation testing: does any test fail when one operator, number or word of a module is changed?

    python benchmarks/mutation.py codec
    python benchmarks/mutation.py metrics/pck --part 1/4
    python benchmarks/mutation.py skeletons tests/test_skeletons.py --sample 100
    python benchmarks/mutation.py codec --again
    python benchmarks/mutation.py --table

Every mutant runs in a process of its own, forked from one that has loaded NumPy and pytest, so a
module of pure NumPy takes a second per mutant at most. Survivors are printed with their line. The
modules of `KNOWN` are run as listed and recorded in `results/mutants.json`, from which `--table`
is made. The exit status is 1 where fewer than `--least` percent were noticed.
"""

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import io
import json
import os
import pathlib
import random
import signal
import sys

import hypothesis
import numpy  # noqa: F401  (loaded once, for all)
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mutants.json"
SECONDS = 30  # of processor time; a mutant that takes more is noticed, too
# Tests of a module (as pytest takes them) that run in this process, and what they need loaded.
# Tests in other processes would read the module from its file, unchanged.
_SCORES = ["tests/metrics/test_metrics.py", "-k"]
_SCORES += ["not training_accuracy and not imports and not box_overlap"]
# Joints' constants and areas of boxes are tested with COCO's average precision.
_COCO = ["tests/metrics/test_coco_eval.py", *_SCORES[:-1], f"{_SCORES[-1]} and not pycocotools"]
_HEATMAP = ["tests/metrics/test_metrics.py", "-k"]
_HEATMAP += ["(training_accuracy or box_overlap) and not backend"]
_HEATMAP += ["-W", "ignore:invalid value:RuntimeWarning"]  # of Keras's NumPy backend
KNOWN = {
    "geometry": (["tests/test_geometry.py"], ()),
    "codec": (["tests/test_codec.py"], ()),
    "metrics/pck": (_SCORES, ()),
    "metrics/oks": (_COCO, ()),
    "metrics/curves": (_SCORES, ()),
    "metrics/heatmap": (_HEATMAP, ("keras",)),
    "zoo/porting": (
        ["tests/zoo/test_porting_names.py", "tests/zoo/test_checkpoints.py"],
        ("torch",),
    ),
}
_SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def changes(node):
    """Functions that each change one thing of a node of a copied tree."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _SWAPS:
        yield lambda copied: setattr(copied, "op", _SWAPS[type(copied.op)]())
    elif isinstance(node, ast.Compare):
        for index, old in enumerate(node.ops):
            new = _SWAPS[type(old)]
            yield lambda copied, i=index, new=new: copied.ops.__setitem__(i, new())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        # Applied twice, which undoes it.
        yield lambda copied: setattr(copied, "operand", ast.UnaryOp(copied.op, copied.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda copied: setattr(copied, "value", not copied.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield lambda copied: setattr(copied, "value", copied.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield lambda copied: setattr(copied, "value", copied.value + "?")
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield lambda copied: setattr(copied, "test", ast.UnaryOp(ast.Not(), copied.test))
    elif isinstance(node, ast.comprehension) and node.ifs:
        yield lambda copied: copied.ifs.__setitem__(0, ast.UnaryOp(ast.Not(), copied.ifs[0]))
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield lambda copied: setattr(copied, "id", _NAMES[copied.id])
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield lambda copied: setattr(copied, "attr", _NAMES[copied.attr])
    if isinstance(node, ast.AugAssign):
        # As if the line were not there.
        yield lambda copied: copied.__dict__.update(op=ast.Mult(), value=ast.Constant(1))


def _left_alone(tree):
    """Nodes of error messages, docstrings and type hints."""
    for node in ast.walk(tree):
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if hint is not None:
                yield from ast.walk(hint)
        if isinstance(node, ast.Raise):
            yield from ast.walk(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def mutants(source):
    """Line, changed line and tree of every mutant."""
    tree = ast.parse(source)
    silent = {id(node) for node in _left_alone(tree)}
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in silent:
            continue
        for change in changes(node):
            mutant = copy.deepcopy(tree)
            changed = list(ast.walk(mutant))[index]
            before = _shown(changed)
            change(changed)
            line = getattr(node, "lineno", None) or node.target.lineno
            yield line, f"{before}  ->  {_shown(changed)}", mutant


def _shown(node):
    """A changed node in one line: of an `if`, its condition."""
    text = ast.unparse(getattr(node, "test", node) if isinstance(node, ast.If) else node)
    return " ".join(text.split())


class _Mutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a changed tree to whoever imports the module."""

    def __init__(self, name, tree):
        self.name = name
        self.code = compile(ast.fix_missing_locations(tree), name, "exec")

    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module):
        exec(self.code, module.__dict__)


def noticed(name, tree, tests):
    """Whether the tests fail with this tree in place of the module."""
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            with contextlib.suppress(BaseException):
                sys.meta_path.insert(0, _Mutant(name, tree))
                words = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests]
                os._exit(pytest.main(words) != 0)
            os._exit(1)
    return os.waitpid(child, 0)[1] != 0


def run(module, tests, part=(1, 1), sample=None):
    """Try the mutants of a module, or one part of them: how many there were, and survivors."""
    path = ROOT / "keras_hourglass" / f"{module}.py"
    name = f"keras_hourglass.{module.replace('/', '.')}"
    source = path.read_text(encoding="utf-8")
    if noticed(name, ast.parse(source), tests):
        sys.exit(f"the tests fail without any change: {' '.join(tests)}")
    tried = sorted(mutants(source), key=lambda mutant: mutant[0])
    if sample and sample < len(tried):
        tried = random.Random(0).sample(tried, sample)
    tried = tried[part[0] - 1 :: part[1]]
    survivors = []
    for line, text, tree in sorted(tried, key=lambda mutant: mutant[0]):
        if not noticed(name, tree, tests):
            survivors.append([line, text])
            print(f"survived: {path.name}:{line}: {text}", flush=True)
    share = 100 * (1 - len(survivors) / len(tried))
    print(f"{name}: {len(tried)} mutants, {len(survivors)} survived, {share:.1f} % noticed")
    return {"mutants": len(tried), "survivors": survivors}


def again(module, tests):
    """Try the recorded survivors once more, e.g. after tests were added."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    path = ROOT / "keras_hourglass" / f"{module}.py"
    name = f"keras_hourglass.{module.replace('/', '.')}"
    for part in results[module].values():
        alive = [tuple(pair) for pair in part["survivors"]]
        for line, text, tree in mutants(path.read_text(encoding="utf-8")):
            if (line, text) in alive and noticed(name, tree, tests):
                alive.remove((line, text))
                print(f"noticed now: {path.name}:{line}: {text}", flush=True)
        part["survivors"] = alive
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def record(module, part, found):
    """Keep a part's result; parts of another division are forgotten."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    parts = results.get(module, {})
    kept = {key: value for key, value in parts.items() if key.endswith(f"/{part[1]}")}
    results[module] = {**kept, f"{part[0]}/{part[1]}": found}
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def table():
    """The recorded results as a table in Markdown, and the survivors as a list."""
    rows = ["| module | mutants tried | noticed | survived |", "| --- | --- | --- | --- |"]
    survivors = []
    for module, parts in json.loads(RESULTS.read_text(encoding="utf-8")).items():
        number = next(iter(parts)).partition("/")[2]
        count = sum(part["mutants"] for part in parts.values())
        tried = f"{count}" + (f" ({len(parts)}/{number})" if len(parts) < int(number) else "")
        alive = sorted(pair for part in parts.values() for pair in part["survivors"])
        share = 100 * (1 - len(alive) / count)
        rows.append(f"| `{module}` | {tried} | {share:.1f} % | {len(alive)} |")
        survivors += [f"{module}:{line}: {text}" for line, text in alive]
    return "\n".join([*rows, "", *survivors])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", nargs="?", help="below keras_hourglass, e.g. metrics/pck")
    parser.add_argument("tests", nargs="*", help="arguments of pytest; those of KNOWN by default")
    parser.add_argument("--part", default="1/1", help="such as 2/4: every fourth, from the second")
    parser.add_argument("--sample", type=int, help="try so many mutants, drawn by chance")
    parser.add_argument("--least", type=float, default=90.0, help="percent to notice (90)")
    parser.add_argument("--again", action="store_true", help="try recorded survivors only")
    parser.add_argument("--table", action="store_true", help="print what was recorded")
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    os.chdir(ROOT)
    # Keras without threads, which processes that branch off would lose.
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    hypothesis.settings.register_profile("mutation", max_examples=25, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")
    tests, needed = KNOWN.get(args.module, ([f"tests/test_{args.module}.py"], ()))
    for package in needed:
        importlib.import_module(package)
    if args.again:
        again(args.module, args.tests or tests)
        return
    part = tuple(int(number) for number in args.part.split("/"))
    found = run(args.module, args.tests or tests, part, args.sample)
    if args.module in KNOWN and not args.tests and not args.sample:
        record(args.module, part, found)
    sys.exit(len(found["survivors"]) * 100 > (100 - args.least) * found["mutants"])


if __name__ == "__main__":
    main()

"""Mutation testing: does any test fail when one operator or number of a module is changed?

    python benchmarks/mutation.py codec
    python benchmarks/mutation.py metrics/pck tests/test_metrics.py --sample 100

Every mutant runs in a process of its own, forked from one that has loaded NumPy and pytest, so a
module of pure NumPy takes a second per mutant at most. Survivors are printed with their line. The
exit status is 1 where fewer than `--least` percent were noticed.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import io
import os
import pathlib
import random
import signal
import sys
import types

import hypothesis
import numpy  # noqa: F401  (loaded once, for all)
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECONDS = 60  # a mutant that takes longer is noticed, too
_SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


def changes(node):
    """Functions that each change one thing of a node of a copied tree."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _SWAPS:
        yield lambda copied: setattr(copied, "op", _SWAPS[type(copied.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        yield lambda copied: copied.ops.__setitem__(0, _SWAPS[type(copied.ops[0])]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        # Applied twice, which undoes it.
        yield lambda copied: setattr(copied, "operand", ast.UnaryOp(copied.op, copied.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda copied: setattr(copied, "value", not copied.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield lambda copied: setattr(copied, "value", copied.value + 1)


def mutants(source):
    """Line, changed line and tree of every mutant; messages of errors are left alone."""
    tree = ast.parse(source)
    silent = {id(n) for top in ast.walk(tree) if isinstance(top, ast.Raise) for n in ast.walk(top)}
    for index, node in enumerate(ast.walk(tree)):
        if id(node) in silent:
            continue
        for change in changes(node):
            mutant = copy.deepcopy(tree)
            changed = list(ast.walk(mutant))[index]
            before = ast.unparse(changed)
            change(changed)
            yield node.lineno, f"{before}  ->  {ast.unparse(changed)}", mutant


def noticed(name, tree, tests):
    """Whether the tests fail with this tree in place of the module."""
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            with contextlib.suppress(BaseException):
                module = types.ModuleType(name)
                sys.modules[name] = module
                package, _, short = name.rpartition(".")
                setattr(importlib.import_module(package), short, module)
                exec(compile(ast.fix_missing_locations(tree), name, "exec"), module.__dict__)
                words = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests]
                os._exit(pytest.main(words) != 0)
            os._exit(1)
    return os.waitpid(child, 0)[1] != 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", help="below keras_hourglass, e.g. codec or metrics/pck")
    parser.add_argument("tests", nargs="*", help="tests/test_MODULE.py by default")
    parser.add_argument("--sample", type=int, help="try so many mutants, drawn by chance")
    parser.add_argument("--least", type=float, default=90.0, help="percent to notice (90)")
    args = parser.parse_args()
    hypothesis.settings.register_profile("mutation", max_examples=25, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")
    path = ROOT / "keras_hourglass" / f"{args.module}.py"
    tests = args.tests or [str(ROOT / "tests" / f"test_{path.stem}.py")]
    name = f"keras_hourglass.{args.module.replace('/', '.')}"
    source = path.read_text(encoding="utf-8")
    if noticed(name, ast.parse(source), tests):
        sys.exit(f"the tests fail without any change: {' '.join(tests)}")
    tried = list(mutants(source))
    if args.sample and args.sample < len(tried):
        tried = random.Random(0).sample(tried, args.sample)
    survivors = []
    for line, text, tree in sorted(tried, key=lambda mutant: mutant[0]):
        if not noticed(name, tree, tests):
            survivors.append(line)
            print(f"survived: {path.name}:{line}: {text}", flush=True)
    share = 100 * (1 - len(survivors) / len(tried))
    print(f"{name}: {len(tried)} mutants, {len(survivors)} survived, {share:.1f} % noticed")
    sys.exit(share < args.least)


if __name__ == "__main__":
    main()

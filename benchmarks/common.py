"""What the benchmarks share: timing in turns, goals, and the facts about the machine.

Whatever is compared is measured in one process, call after call in turns, so that a busy spell of
the machine meets all of it. Numbers are medians with the 10th and 90th percentile.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from keras_hourglass.io.files import atomic_write

RESULTS = pathlib.Path(__file__).resolve().parent / "results"
PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless")
# Seconds before every timed call: the threads of some runtimes spin for a while after their last
# one, and would take the processors from whoever comes next.
PAUSE = 0.02


@dataclasses.dataclass(frozen=True)
class Spread:
    """The middle and the spread of repeated measurements, all in one unit.

    Args:
        median: the middle value.
        low, high: 10th and 90th percentile.
        least: the lowest value, what a machine without other work would come near to.
        count: how many values.
    """

    median: float
    low: float
    high: float
    least: float
    count: int

    def __str__(self):
        return f"{self.median:.3g} ({self.low:.3g}–{self.high:.3g})"

    def to_dict(self, digits=4):
        """JSON-ready, rounded to so many digits after the point."""
        return {
            name: round(value, digits) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(self).items()
        }


def spread(values):
    """The `Spread` of one or more numbers; percentiles are interpolated, ends included."""
    ordered = sorted(float(value) for value in values)
    if not ordered:
        raise ValueError("A spread needs at least one number. Received: none.")
    return Spread(
        statistics.median(ordered),
        percentile(ordered, 10),
        percentile(ordered, 90),
        ordered[0],
        len(ordered),
    )


def percentile(ordered, percent):
    """The percentile of sorted numbers, linear between neighbours."""
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def interleaved(calls, repetitions, warmup=2):
    """Measure calls in turns.

    Args:
        calls: name -> function without arguments.
        repetitions: turns.
        warmup: turns before them that are not counted.

    Returns:
        Name -> list of seconds, one per turn; entries of the same place in two lists belong to
        the same turn.
    """
    taken = {name: [] for name in calls}
    for turn in range(-warmup, repetitions):
        # The order turns around, since the machine may grow slower or faster meanwhile.
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            time.sleep(PAUSE)
            begin = time.perf_counter()
            calls[name]()
            if turn >= 0:
                taken[name].append(time.perf_counter() - begin)
    return taken


class Child:
    """A process that answers every line on its input with a line of JSON.

    What is compared runs in processes of its own: in a common one, the threads of one runtime keep
    those of the next waiting.

    Args:
        command: of the process, which first says a line of JSON about itself.
        environment: further variables.

    Attributes:
        facts: what it said first.
    """

    def __init__(self, command, environment=()):
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **dict(environment)},
        )
        self.facts = self._answer()

    def __call__(self, line):
        """The answer to a line."""
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"{' '.join(self._process.args)} ended by itself.")
        return json.loads(line)

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def ratios(seconds, base):
    """The `Spread` of two lists' ratios turn by turn; a slow spell meets both sides of each."""
    return spread(one / other for one, other in zip(seconds, base, strict=True))


@dataclasses.dataclass(frozen=True)
class Goal:
    """A number that a benchmark should reach.

    Args:
        number: of the goal in `benchmarks/README.md`.
        text: what is measured.
        reached: the measured number.
        limit: what it should be.
        unit: of both, e.g. `"×"` or `"ms"`.
        at_least: larger is better; by default smaller is.
        note: where `reached` comes from: spread, count, what it is compared with.
    """

    number: int
    text: str
    reached: float
    limit: float
    unit: str = "×"
    at_least: bool = False
    note: str = ""

    @property
    def met(self):
        """Whether the number is on the right side of the limit, or on it."""
        return self.reached >= self.limit if self.at_least else self.reached <= self.limit

    def to_dict(self):
        """JSON-ready, the verdict included."""
        return {**dataclasses.asdict(self), "met": self.met}

    def __str__(self):
        bound = "at least" if self.at_least else "at most"
        unit = self.unit if self.unit in ("×", "%") else f" {self.unit}"
        return (
            f"{self.number}. {self.text}: {self.reached:.3g}{unit}, wanted {bound} "
            f"{self.limit:g}{unit}: {'met' if self.met else 'MISSED'}"
        )


def goal_from(values):
    """The `Goal` that `to_dict` made."""
    names = [field.name for field in dataclasses.fields(Goal)]
    return Goal(**{name: values[name] for name in names if name in values})


def machine():
    """Processor, cores and memory."""
    found = {"processor": _processor(), "cores": len(os.sched_getaffinity(0))}
    try:
        found["memory_gib"] = round(
            os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1
        )
    except (ValueError, OSError):
        pass
    return found


def _processor():
    """The processor's name and the widest vector unit that it has."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return platform.processor() or platform.machine()
    rows = dict(
        (part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line
    )
    flags = rows.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    name = rows.get("model name", platform.machine())
    return f"{name}, {widest.upper()}" if widest else name


def versions(*packages):
    """Python's version and those of installed packages; others are left out."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *packages):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def resident(field="VmRSS"):
    """This process's memory in MiB (Linux): `"VmRSS"` now, `"VmHWM"` the most so far."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise ValueError(f"No such field in /proc/self/status. Received: {field!r}.")


def parser(description, name):
    """An argument parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", default=str(RESULTS / f"{name}.json"), help="JSON file")
    return parser


def read(path):
    """The content of a JSON file; an empty dict where there is none."""
    path = pathlib.Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def replace_between(text, mark, content):
    """The page with everything between `<!-- MARK -->` and `<!-- /MARK -->` replaced."""
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"The page needs the marks {start} and {end}, once each.")
    before, _, rest = text.partition(start)
    return f"{before}{start}\n{content}\n{end}{rest.partition(end)[2]}"


def write(path, result, goals=(), packages=(), load=None):
    """Write a result with the facts about the machine, and print the verdicts.

    Args:
        path: the JSON file; its folder is made.
        result: dict of what was measured.
        goals: `Goal`s.
        packages: distributions whose versions matter besides the usual ones.
        load: load average before the measurement.
    """
    whole = {
        "hardware": machine(),
        "versions": versions(*packages),
        "load_average": [round(one, 2) for one in (load, os.getloadavg()[0]) if one is not None],
        **result,
        "goals": [goal.to_dict() for goal in goals],
    }
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    for goal in goals:
        print(goal)
    print(f"written: {path}", file=sys.stderr)

"""Mutated files for every reader: each must end in a result or in one sentence.

    python tests/helpers/fuzz_readers.py --seconds 3600 --table benchmarks/fuzz.md

Seeds are made here; mutations know the structure (values of JSON and YAML, members of archives,
words of binary files). Inputs run in child processes with limits on memory and processor time, so
that one that takes the process down is a failure like any other. The number of an input makes it
again: `--only READER --first NUMBER --count 1`.
"""

import argparse
import collections
import contextlib
import copy
import faulthandler
import functools
import gc
import io
import json
import math
import os
import pathlib
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib

import numpy as np
from fuzz_seeds import READERS

from keras_hourglass.errors import UserError

BATCH, SECONDS, MEMORY, LONGEST = 60, 2.0, 2 * 2**30, 300
WORDS = (0, 1, 2, 5, 6, 9, 14, 15, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
ODD = (
    None, True, -1, 0, 1, 10**18, 10**30, -(10**300), math.nan, math.inf, 0.5, "", "x",
    "x" * 500, "1e5", "../../etc/passwd", "\0", "\ud800", [], {}, [[]], {"a": 1}, [1, "a"],
)  # fmt: skip
TEXTS = ("", "-1", "0", "nan", "inf", "1e999", "1e5", "9" * 400, "x" * 500, "0x10", '"', "\0",
         "../../etc/passwd", "é", "x", "scorer", "&a", "*a", "!!int x",
         "[[[", "{", "- ")  # fmt: skip


def mutate_value(value, draw):
    """Another value in one or a few places of a JSON value."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places, waiting = [], [value]
        while waiting:
            part = waiting.pop()
            for key in list(part) if isinstance(part, dict) else range(len(part)):
                places.append((part, key))
                if isinstance(part[key], (dict, list)):
                    waiting.append(part[key])
        if not places:
            return draw.choice(ODD)
        part, key = draw.choice(places)
        kind = draw.random()
        if kind < 0.6:
            part[key] = copy.deepcopy(draw.choice(ODD))
        elif kind < 0.7:
            del part[key]
        elif kind < 0.8:
            for _ in range(draw.choice((1, 3, 60, 2000))):
                part[key] = [part[key]] if draw.random() < 0.5 else {"a": part[key]}
                if sys.getrecursionlimit() < 10_000:
                    sys.setrecursionlimit(10_000)
        elif kind < 0.9:
            other, at = draw.choice(places)
            part[key] = copy.deepcopy(other[at]) if at in other or isinstance(at, int) else 0
        else:
            part[key] = str(part[key])[:1000]
    return value


def mutate_bytes(data, draw):
    """Bytes, words and blocks of a file changed, left out, repeated or cut."""
    if data[:2] == b"PK" and draw.random() < 0.6:
        return mutate_archive(data, draw)
    if data[:4] == b"\x89PNG" and draw.random() < 0.7:
        return mutate_png(data, draw)
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        if not data:
            break
        place, kind = draw.randrange(len(data)), draw.random()
        if draw.random() < 0.5:  # headers are where numbers matter
            place = draw.randrange(min(len(data), 200))
        if kind < 0.35:
            data[place] = draw.choice((0, 1, 255, draw.randrange(256)))
        elif kind < 0.65:
            order, width = draw.choice("<>"), draw.choice("HIQ")
            word = struct.pack(
                order + width, draw.choice(WORDS) % 2 ** (8 * struct.calcsize(width))
            )
            data[place : place + len(word)] = word
        elif kind < 0.8:
            del data[place : place + draw.choice((1, 2, 4, 8, 64))]
        elif kind < 0.95:
            data[place:place] = data[max(0, place - draw.choice((2, 8, 64))) : place]
        else:
            del data[place:]
    return bytes(data)


def mutate_text(text, draw):
    """Words, fields and lines of a text changed, left out or repeated."""
    parts = re.split(r"([\s,:]+)", text)
    for _ in range(draw.choice((1, 1, 2, 4, 30))):
        place = draw.randrange(len(parts))
        kind = draw.random()
        if kind < 0.6:
            parts[place] = draw.choice(TEXTS)
        elif kind < 0.75:
            parts[place] = ""
        elif kind < 0.9:
            parts[place] = parts[place] * draw.choice((2, 3, 400))
        else:
            parts[place] = draw.choice(parts)
    return "".join(parts)


def as_json(value, draw):
    try:
        text = json.dumps(mutate_value(value, draw))
    except RecursionError:
        text = "[" * 5000
    return text.encode("utf-8", errors="surrogatepass")


def mutate_archive(data, draw):
    """One or a few members of an archive changed or left out; its checksums fit."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as target:
        names = source.namelist()
        touched = set(draw.choices(names, k=draw.choice((1, 1, 2, 4))))
        for name in names:
            kind, content = draw.random(), source.read(name)
            if name in touched and kind < 0.15:
                continue
            if name in touched and name.endswith(".json") and kind < 0.8:
                content = as_json(json.loads(content), draw)
            elif name in touched and content[:6] == b"\x93NUMPY" and kind < 0.6:
                content = mutate_array(content, draw)
            elif name in touched:
                content = mutate_bytes(content, draw)
            target.writestr(name, content)
    return made.getvalue()


def mutate_array(data, draw):
    """Values, type or shape of a NumPy file changed."""
    array, made = np.load(io.BytesIO(data)), io.BytesIO()
    kind = draw.random()
    if kind < 0.6 and array.size:
        array = array.reshape(-1).copy()
        value = draw.choice((0, -1, 2, 255, 2**31, 10**12, math.nan, math.inf, "x"))
        with contextlib.suppress(ValueError, OverflowError, TypeError):
            array[draw.randrange(array.size)] = value
        array = array.reshape(np.load(io.BytesIO(data)).shape)
    elif kind < 0.75:
        with contextlib.suppress(ValueError, TypeError):
            array = array.astype(draw.choice(("f2", "f8", "i1", "U3", "c8", "?", "S1", ">i4")))
    elif kind < 0.9:
        flat = array.reshape(-1)
        array = draw.choice((flat[:0], flat[:1], array[None], flat))
    else:
        array = np.concatenate([np.atleast_1d(array)] * 2)
    np.save(made, array)
    return made.getvalue()


def mutate_png(data, draw):
    """Chunks changed, left out or repeated; their checksums fit, which decoders look at first."""
    chunks, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += length + 12
    for _ in range(draw.choice((1, 1, 2))):
        place, kind = draw.randrange(len(chunks)), draw.random()
        name, content = chunks[place]
        if kind < 0.7:
            chunks[place] = name, mutate_bytes(content, draw)
        elif kind < 0.8:
            chunks[place] = draw.choice((b"acTL", b"tRNS", b"PLTE", b"eXIf", b"IDAT")), content
        elif kind < 0.9:
            chunks.insert(draw.randrange(len(chunks) + 1), chunks[place])
        elif len(chunks) > 1:
            del chunks[place]
    made = [data[:8]]
    for name, content in chunks:
        made += [len(content).to_bytes(4, "big"), name, content]
        made.append(zlib.crc32(name + content).to_bytes(4, "big"))
    return b"".join(made)


def make(name, number):
    """Input so-and-so of a reader, as bytes."""
    _, seeds, _ = READERS[name]
    draw = random.Random(f"{name} {number}")
    seed = draw.choice(seeds)
    if isinstance(seed, bytes):
        return mutate_bytes(seed, draw)
    if isinstance(seed, str):
        data = mutate_text(seed, draw).encode("utf-8")
    else:
        data = as_json(seed, draw)
    return mutate_bytes(data, draw) if draw.random() < 0.3 else data


def outcome(name, number, folder):
    """`"read"`, `"refused"`, or what is wrong."""
    suffix, _, reader = READERS[name]
    path = folder / f"x{suffix}"
    limit = sys.getrecursionlimit()
    path.write_bytes(make(name, number))
    sys.setrecursionlimit(limit)  # deep values need more to be made, and users have no more
    started = time.process_time()
    try:
        reader(path, folder)
        found = "read"
    except UserError as error:
        text = str(error)
        length = len(text) - text.count(str(folder)) * len(str(folder))
        found = "refused" if "\n" not in text and length <= LONGEST else f"message of {length}"
    except Exception as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    seconds = time.process_time() - started
    return f"{seconds:.1f} s" if seconds > SECONDS else found


def batch(name, first, count):
    """Outcomes of inputs in a child process; a dead child costs the one input it died of.

    The process that calls this should have loaded nothing but the readers: a child inherits the
    locks and the garbage of its parent, but not its threads, and may die of those.
    """
    reading, writing = os.pipe()
    gc.collect()
    gc.freeze()
    trace = tempfile.TemporaryFile("w+")  # of a crash, by `faulthandler`
    child = os.fork()
    if child == 0:
        os.close(reading)
        faulthandler.enable(trace)
        now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        warnings.simplefilter("ignore")  # pytest makes errors of them
        with tempfile.TemporaryDirectory() as folder:
            for number in range(first, first + count):
                signal.alarm(60)
                line = outcome(name, number, pathlib.Path(folder))
                os.write(writing, f"{line}\n".encode(errors="replace"))
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as lines:
        found = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    if status and len(found) < count:
        trace.seek(0)
        places = re.findall(r'File ".*/([^"/]+)", line ([0-9]+)', trace.read())
        at = " < ".join(f"{file}:{line}" for file, line in places[:6])
        found.append(f"died of signal {status & 127}" + (f" at {at}" if at else ""))
    trace.close()
    return found


def fuzz(seconds, names=tuple(READERS), first=0, count=None, tell=None):
    """Inputs to every reader in turn for so many seconds, and once to each of them in any case.

    Returns:
        `(counts, failures)`: reader -> Counter of inputs, read and refused, with seconds; and the
        list of `(reader, number, what)`.
    """
    counts = {name: collections.Counter() for name in names}
    failures, started, position = [], time.monotonic(), dict.fromkeys(names, first)
    once = True
    while (once or time.monotonic() - started < seconds) and (
        count is None or min(position.values()) < first + count
    ):
        for name in names:
            begun = time.monotonic()
            most = BATCH if once else 3 * BATCH
            left = most if count is None else first + count - position[name]
            found = batch(name, position[name], min(most, left))
            for number, line in enumerate(found, start=position[name]):
                counts[name][line if line in ("read", "refused") else "failed"] += 1
                if line not in ("read", "refused"):
                    failures.append((name, number, line))
                    if tell is not None:
                        tell(name, number, line)
            position[name] += len(found)
            counts[name]["seconds"] += time.monotonic() - begun
            if not once and time.monotonic() - started > seconds:
                break
        once = False
    return counts, failures


def table(counts):
    """The rows of `benchmarks/fuzz.md`."""
    yield "| Reader | Inputs | Read | Refused in one line | Otherwise | Seconds |"
    yield "|---|---:|---:|---:|---:|---:|"
    total: collections.Counter = collections.Counter()
    for name, row in [*counts.items(), ("all", total)]:
        inputs = row["read"] + row["refused"] + row["failed"]
        yield (
            f"| {name} | {inputs:,} | {row['read']:,} | {row['refused']:,} | {row['failed']:,} "
            f"| {row['seconds']:.0f} |"
        )
        if name != "all":
            total.update(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=READERS, action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--table", help="Markdown file to write")
    parser.add_argument("--counts", help="JSON file to write: reader -> inputs, read, refused")
    args = parser.parse_args()
    names = tuple(args.only or READERS)
    tell = functools.partial(print, flush=True)
    counts, failures = fuzz(args.seconds, names, args.first, args.count, tell)
    lines = list(table(counts))
    print("\n".join(lines))
    if args.table:
        head = "# Mutated files\n\n`make fuzz`: each input ends in a result or in one sentence.\n\n"
        pathlib.Path(args.table).write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    if args.counts:
        pathlib.Path(args.counts).write_text(json.dumps(counts), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

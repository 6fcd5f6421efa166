"""`keras-hourglass serve` under load, beside the engine that it runs.

    python benchmarks/server_load.py [--photos DIR] [--models NAME …] [--requests 10000] [--page]

Everything runs on this machine: a server in a process of its own, the bare engine (the same
backend, file bytes to joints in full batches, pictures prepared in threads, nothing of HTTP) in
another, and the requests from a third. Server and bare engine take turns, so that a busy spell
meets both; what is judged is the ratio within a turn. Beside the clock stands the processor time
per picture of each process, which means something on a busy machine, too.

Then, with the first model: memory over many requests, requests beyond the limit, and broken,
hostile and slow ones among the others. Results go to `benchmarks/results/server_load.json`, and
with `--page` into the tables of `benchmarks/serving.md`.
"""

import asyncio
import base64
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import common
import numpy as np

MODELS = ("hourglass_tiny_lsp", "hourglass_small_lsp", "hourglass_2s_lsp")
CONCURRENCY = (1, 2, 4, 8, 16, 32)
BATCH = 8
PAGE = pathlib.Path(__file__).parent / "serving.md"
LEAST = 0.85  # of the engine's own throughput, at saturation


def pictures(folder):
    """Bytes of up to 64 photographs, or of drawn pictures of the same size as many."""
    found = sorted(pathlib.Path(folder).glob("*.jpg"))[:64] if folder else []
    if found:
        return [path.read_bytes() for path in found]
    from keras_hourglass.export.bundle import random_picture  # which loads TensorFlow

    return [random_picture(seed, ".jpg") for seed in range(6)]


# The bare engine, in a process of its own


def bare(model, folder):
    """Answer every line, seconds, with pictures and processor seconds of so much work."""
    from keras_hourglass.serving.backends import NetworkBackend

    backend, given = NetworkBackend(model, "bare", max_batch=BATCH), pictures(folder)
    pool = concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count()))

    def prepared(start):
        places = range(start, start + BATCH)
        return [pool.submit(backend.prepare, given[p % len(given)], None) for p in places]

    backend.run([future.result() for future in prepared(0)])
    print(json.dumps({"engine": backend.engine}), flush=True)
    for line in sys.stdin:
        start, busy, count = time.perf_counter(), time.process_time(), 0
        waiting = prepared(0)
        while time.perf_counter() - start < float(line):
            now, waiting = waiting, prepared(count + BATCH)
            backend.run([future.result() for future in now])
            count += BATCH
        taken = time.perf_counter() - start
        for future in waiting:
            future.cancel()
        row = {"pictures": count, "seconds": taken, "processor": time.process_time() - busy}
        print(json.dumps(row), flush=True)


# The server, in a process of its own


class Running:
    """The command in a process, asked over one address."""

    def __init__(self, model, *options):
        command = [sys.executable, "-m", "keras_hourglass", "serve", model, "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)", self.process.stdout.readline())[1])
        self.name = model

    def processor(self):
        """Seconds of processor time so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """MiB in use."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    def close(self):
        """Stop it as an operator does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.read()
        return self.process.wait(60)


def request(path, body, headers=""):
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def predictions(name, given):
    """A request for each picture."""
    bodies = [{"instances": [{"b64": base64.b64encode(data).decode()}]} for data in given]
    path = f"/v1/models/{name}:predict"
    return [request(path, json.dumps(body).encode()) for body in bodies]


async def exchange(reader, writer, content):
    """Send a request; its answer's status, headers and body."""
    writer.write(content)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    return int(head[9:12]), head, await reader.readexactly(length)


class Tally:
    """What came of many requests."""

    def __init__(self):
        self.statuses, self.times, self.failed = collections.Counter(), [], []

    def row(self, seconds):
        """Requests per second, and percentiles of the answers in milliseconds."""
        ordered = sorted(1e3 * value for value in self.times)
        row = {"requests per second": round(len(ordered) / seconds, 2)}
        for percent in (50, 95, 99):
            row[f"p{percent} ms"] = round(common.percentile(ordered, percent), 1)
        return {**row, "requests": len(ordered), "failed": len(self.failed)}


async def ask(port, contents, count, tally, until=None, number=None, check=None):
    """`count` clients that ask again and again, for so many seconds or requests in all."""
    start, left = time.perf_counter(), [number]

    async def client(place):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while (until is None or time.perf_counter() - start < until) and left[0] != 0:
                if left[0] is not None:
                    left[0] -= 1
                place += 1
                before = time.perf_counter()
                try:
                    status, head, body = await exchange(
                        reader, writer, contents[place % len(contents)]
                    )
                except (OSError, asyncio.IncompleteReadError) as error:
                    tally.failed.append(repr(error))
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    continue
                tally.statuses[status] += 1
                if status == 200:
                    tally.times.append(time.perf_counter() - before)
                elif status != 429 or b"retry-after" not in head.lower():
                    tally.failed.append(f"{status}: {body[:100]}")
                if status == 200 and check is not None and not check(place % len(contents), body):
                    tally.failed.append(f"another answer to picture {place % len(contents)}")
        finally:
            writer.close()

    await asyncio.gather(*(client(97 * place) for place in range(count)))
    return time.perf_counter() - start


def throughput(model, folder, seconds, turns):
    """One model: the server at each concurrency, and at saturation in turns with the engine."""
    contents = predictions(model, pictures(folder))
    command = [sys.executable, __file__, "--bare", model, "--photos", folder or ""]
    with contextlib.ExitStack() as stack:
        engine = common.Child(command)
        stack.callback(engine.close)
        # Time limits are not what is measured: a slow network makes 32 clients wait long.
        server = Running(model, "--timeout", "300")
        stack.callback(server.close)
        first = engine(seconds)
        # Some batches at least.
        seconds = min(max(seconds, 40 * first["seconds"] / first["pictures"]), 4 * seconds)
        asyncio.run(ask(server.port, contents, 8, Tally(), until=seconds))
        rows, pairs = {}, []
        for count in CONCURRENCY:
            tally = Tally()
            rows[count] = tally.row(asyncio.run(ask(server.port, contents, count, tally, seconds)))
            rows[count]["failures"] = tally.failed[:3]
        for _ in range(turns):
            alone, tally, busy = engine(seconds), Tally(), server.processor()
            taken = asyncio.run(ask(server.port, contents, CONCURRENCY[-1], tally, until=seconds))
            busy, again = server.processor() - busy, engine(seconds)
            count = len(tally.times)
            bare_rate = (alone["pictures"] + again["pictures"]) / (
                alone["seconds"] + again["seconds"]
            )
            bare_busy = (alone["processor"] + again["processor"]) / (
                alone["pictures"] + again["pictures"]
            )
            pair = {
                "engine per second": bare_rate, "server per second": count / taken,
                "ratio": count / taken / bare_rate, "engine ms": 1e3 * bare_busy,
                "server ms": 1e3 * busy / count, "processor ratio": bare_busy * count / busy,
                "failed": len(tally.failed),
            }  # fmt: skip
            pairs.append({key: round(value, 3) for key, value in pair.items()})
            print(model, pairs[-1], flush=True)
    ratio = common.spread(pair["ratio"] for pair in pairs)
    work = common.spread(pair["processor ratio"] for pair in pairs)
    return {
        "engine": engine.facts["engine"], "concurrency": rows, "turns": pairs,
        "ratio": ratio.to_dict(), "processor ratio": work.to_dict(),
    }  # fmt: skip


def endurance(model, folder, number):
    """Memory of the server over many requests, in MiB at each tenth."""
    contents = predictions(model, pictures(folder))
    server = Running(model)
    try:
        asyncio.run(ask(server.port, contents, 8, Tally(), number=number // 10))
        memory, tally = [server.memory()], Tally()
        for _ in range(10):
            asyncio.run(ask(server.port, contents, 8, tally, number=number // 10))
            memory.append(server.memory())
    finally:
        status = server.close()
    return {
        "requests": sum(tally.statuses.values()), "failed": len(tally.failed),
        "MiB": [round(value, 1) for value in memory], "exit status": status,
    }  # fmt: skip


def beyond(model, folder, seconds):
    """More clients than the queue holds: what is not answered is refused cleanly."""
    contents = predictions(model, pictures(folder))
    server = Running(model, "--max-queue", "16")
    try:
        tally = Tally()
        asyncio.run(ask(server.port, contents, 64, tally, until=seconds))
        after = Tally()
        asyncio.run(ask(server.port, contents, 4, after, number=50))
    finally:
        status = server.close()
    return {
        "statuses": dict(tally.statuses), "failed": tally.failed[:3],
        "afterwards": dict(after.statuses), "exit status": status,
    }  # fmt: skip


def hostile(name, given):
    """Requests that nobody should send, each with the statuses that may answer it."""
    path, whole = f"/v1/models/{name}:predict", given[0]
    picture = {"b64": base64.b64encode(whole).decode()}
    bomb = bytearray(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2

    def row(value):
        return request(path, json.dumps({"instances": [value]}).encode())

    def packed(data):
        return row({"b64": base64.b64encode(data).decode()})

    return [
        (packed(whole[: len(whole) // 2]), {200}),
        (packed(bytes(bomb)), {200}),
        (packed(b"\x80\x04\x95not a picture"), {200}),
        (row("/etc/passwd"), {400}),
        (row("http://169.254.169.254/"), {400}),
        (row({"b64": "*"}), {400}),
        (request(path, b"[" * 100_000), {400}),
        (request(path, b'{"instances": [' + b"0," * 2_000_000 + b"0]}"), {413}),
        (request(path, json.dumps({"instances": [picture] * 200}).encode()), {413}),
        (request(path, b"{}", "Content-Encoding: gzip\r\n"), {415}),
        (request("/v1/models/../../etc/passwd", b""), {404, 405}),
        (b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 200_000, set()),
        (request(path, b"x" * 50)[:-40], set()),  # slow: the rest does not come
        (b"GET /v2 HTTP/1.1\r\nHo", set()),
    ]


async def send_hostile(port, kinds, number, found):
    """One after the other on connections of their own; a slow one waits a second, then goes."""

    async def one(content, allowed):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(content)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1 if not allowed else 60)
            status = int(head[9:12])
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            status = None
        finally:
            writer.close()
        fine = status in allowed or (status is None and not allowed) or status == 429
        found.append(fine if fine else (content[:60], status))

    for start in range(0, number, 8):
        chosen = [kinds[(start + place) % len(kinds)] for place in range(min(8, number - start))]
        await asyncio.gather(*(one(*kind) for kind in chosen))


def among_others(model, folder, number=200):
    """Good requests alone and among hostile ones: answers, failures and waiting times."""
    given = pictures(folder)
    contents, kinds = predictions(model, given), hostile(model, given)
    random.Random(0).shuffle(kinds)
    server = Running(model)
    try:
        expected: dict = {}

        async def learn():
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for place, content in enumerate(contents):
                _, _, body = await exchange(reader, writer, content)
                expected[place] = np.array(json.loads(body)["predictions"][0]["keypoints"])
            writer.close()

        def same(place, body):
            found = np.array(json.loads(body)["predictions"][0]["keypoints"])
            return np.abs(found - expected[place]).max() <= 0.5

        asyncio.run(learn())
        alone, among, found = Tally(), Tally(), []
        seconds = asyncio.run(ask(server.port, contents, 4, alone, number=300, check=same))

        async def both():
            harm = asyncio.create_task(send_hostile(server.port, kinds, number, found))
            start = time.perf_counter()
            while not harm.done():
                await ask(server.port, contents, 4, among, number=50, check=same)
            await harm
            return time.perf_counter() - start

        taken = asyncio.run(both())
        again = Tally()
        afterwards = asyncio.run(ask(server.port, contents, 4, again, number=300, check=same))
    finally:
        status = server.close()
    return {
        "hostile": len(found), "answered otherwise": [str(f) for f in found if f is not True],
        "alone": alone.row(seconds), "among": among.row(taken), "afterwards": again.row(afterwards),
        "failures": (alone.failed + among.failed + again.failed)[:3], "exit status": status,
    }  # fmt: skip


def _by_status(counts):
    return " and ".join(f"{count} of status {status}" for status, count in counts.items())


def tables(result):
    """The page's tables."""
    lines = [
        "| model | clients | requests/s | p50 ms | p95 ms | p99 ms |",
        "| --- |" + " ---: |" * 5,
    ]
    for name, found in result["models"].items():
        for count, row in found["concurrency"].items():
            cells = [f"{row['requests per second']:.1f}", *(row[f"p{p} ms"] for p in (50, 95, 99))]
            lines.append(f"| `{name}` | {count} | " + " | ".join(map(str, cells)) + " |")
    lines += ["", "| model | engine/s | server/s | ratio | the same by processor time |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for name, found in result["models"].items():
        middle = {
            key: common.spread(turn[key] for turn in found["turns"]).median
            for key in ("engine per second", "server per second")
        }
        cells = [f"{middle[key]:.1f}" for key in middle]
        for key in ("ratio", "processor ratio"):
            spread = found[key]
            cells.append(f"{spread['median']:.2f} ({spread['low']:.2f}–{spread['high']:.2f})")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    memory, beyond_, among = (result[key] for key in ("endurance", "beyond", "among others"))
    lines += [
        "",
        f"- Memory over {memory['requests']:,} requests, at each tenth: "
        f"{', '.join(f'{value:.0f}' for value in memory['MiB'])} MiB; {memory['failed']} failed.",
        f"- 64 clients where 16 people may wait: {_by_status(beyond_['statuses'])}, "
        f"{len(beyond_['failed'])} failed otherwise; then {_by_status(beyond_['afterwards'])}.",
        f"- {among['hostile']} broken, hostile and slow requests, eight at a time, among others: "
        f"{len(among['failures'])} of {among['among']['requests']} good ones failed or were "
        "answered otherwise; p50 and p99 {p50 ms:.0f} and {p99 ms:.0f} ms, ".format(
            **among["among"]
        )
        + "alone before {p50 ms:.0f} and {p99 ms:.0f}, ".format(**among["alone"])
        + "after {p50 ms:.0f} and {p99 ms:.0f}. ".format(**among["afterwards"])
        + f"{len(among['answered otherwise'])} of them got another answer than they should.",
        f"- {result['machine']}",
    ]
    return "\n".join(lines)


def main():
    parser = common.parser(__doc__, "server_load")
    parser.add_argument("--photos", default="", help="folder of .jpg files to send")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--requests", type=int, default=10_000, help="for the memory")
    parser.add_argument("--only", choices=("throughput",), help="leave the rest as it is")
    parser.add_argument("--page", action="store_true", help="write the tables of serving.md")
    parser.add_argument("--bare", help="the engine of this model: a child's work")
    arguments = parser.parse_args()
    if arguments.bare:
        bare(arguments.bare, arguments.photos)
        return
    before, first = os.getloadavg(), arguments.models[0]
    known = common.read(arguments.out)
    result = {"models": known.get("models", {})}
    for model in arguments.models:
        found = throughput(model, arguments.photos, arguments.seconds, arguments.turns)
        result["models"][model] = found
    if arguments.only:
        result |= {key: known[key] for key in ("endurance", "beyond", "among others")}
    else:
        result["endurance"] = endurance(first, arguments.photos, arguments.requests)
        result["beyond"] = beyond(first, arguments.photos, arguments.seconds)
        result["among others"] = among_others(first, arguments.photos)
    facts = {**common.machine(), **common.versions("onnxruntime", "uvicorn", "starlette")}
    load = f"load {before[0]:.1f} to {os.getloadavg()[0]:.1f}"
    result["machine"] = f"{', '.join(f'{key} {value}' for key, value in facts.items())}, {load}"
    goals = [
        common.Goal(
            9, f"`{name}` served against its bare engine, at saturation", found["ratio"]["median"],
            LEAST, at_least=True, note="{low:.2f} to {high:.2f}".format(**found["ratio"]),
        )
        for name, found in result["models"].items()
    ]  # fmt: skip
    common.write(arguments.out, result, goals, load=before[0])
    text = tables(result)
    print(text)
    if arguments.page:
        from keras_hourglass.io.files import atomic_write

        page = PAGE.read_text(encoding="utf-8")
        atomic_write(PAGE, common.replace_between(page, "load", text))


if __name__ == "__main__":
    main()

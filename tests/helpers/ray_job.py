"""A job of Ray Data on this machine, one of whose workers is killed in the middle.

    python ray_job.py PICTURES LOG OUT MODEL

Its two workers write their process and the rows of each batch to LOG; when a quarter of the
pictures is done, the one that wrote last is killed. The process that was killed is printed.
"""

import os
import pathlib
import signal
import sys
import threading
import time

import ray

from keras_hourglass import PoseMapper

BATCH = 32


class Watched(PoseMapper):
    """A mapper that says what it has done."""

    def __call__(self, batch):
        table = super().__call__(batch)
        with open(os.environ["MAPPER_LOG"], "a", encoding="ascii") as file:
            file.write(f"{os.getpid()} {len(table)}\n")
        return table


def kill_one(log, rows, killed):
    """Kill the worker that wrote last, as soon as so many rows are done by two of them."""
    while True:
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        both = len({process for process, _ in lines}) == 2
        if both and sum(int(count) for _, count in lines) >= rows:
            break
        time.sleep(0.05)
    killed.append(int(lines[-1][0]))
    os.kill(killed[0], signal.SIGKILL)


def main(pictures, log, out, model):
    count = sum(1 for _ in pathlib.Path(pictures).iterdir())
    # One more than workers, for those that read and write.
    environment = {"MAPPER_LOG": log, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    ray.init(num_cpus=3, include_dashboard=False, runtime_env={"env_vars": environment})
    killed = []
    watch = threading.Thread(
        target=kill_one, args=(pathlib.Path(log), count // 4, killed), daemon=True
    )
    watch.start()
    dataset = ray.data.read_binary_files(pictures, include_paths=True)
    poses = dataset.map_batches(
        Watched, fn_constructor_kwargs={"model": model, "whole": True}, batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=2),
    )  # fmt: skip
    poses.write_parquet(out)
    print(f"killed {killed}")


if __name__ == "__main__":
    main(*sys.argv[1:])

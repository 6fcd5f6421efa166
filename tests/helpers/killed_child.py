"""Jobs killed at chosen moments, for `test_kill.py`.

python killed_child.py FOLDER NUMBER COMMAND...

The command, of the command line or `download ADDRESS`, is run in a process of its own, and once
more for each of so many moments, where the process ends itself as `kill -9` would. A moment is when
Python is about to write, rename or remove something in FOLDER; they are spread from the first to
the last. FOLDER is put back before each run. What a killed run leaves is found in FOLDER-1,
FOLDER-2, …, what the whole one makes in FOLDER-whole.
"""

import importlib
import os
import pathlib
import shutil
import signal
import sys

FOLDER, NUMBER, COMMAND = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]


def writes(event, arguments):
    """Whether an event of the interpreter is about to change something in the folder."""
    if event == "open":
        path, _, flags = arguments
        if not flags & (os.O_WRONLY | os.O_RDWR):
            return False
    elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        path = arguments[0]
    else:
        return False
    return isinstance(path, (str, os.PathLike)) and str(path).startswith(str(FOLDER))


def job():
    """Run the command."""
    if COMMAND[0] == "download":
        from keras_hourglass.io.download import download

        download(COMMAND[1], folder=FOLDER)
        return 0
    from keras_hourglass.cli import main

    return main(COMMAND)


def run(moment=None):
    """Run it in a branch of this process, which is killed at a moment; returns the moments seen."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        seen = 0

        def hook(event, arguments):
            nonlocal seen
            if writes(event, arguments):
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        status = job()
        os.write(writing, str(seen).encode())
        sys.stderr.flush()
        os._exit(status)
    os.close(writing)
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed if moment else status == 0, f"ended with {status}"
    with open(reading) as file:
        return int(file.read() or 0)


def main():
    if COMMAND[0] != "download":
        # Loaded once, before the processes branch off; nothing in it may be run before.
        for name in ("tensorflow", "keras_hourglass.network.model", "keras_hourglass.zoo.store"):
            importlib.import_module(name)
    before = FOLDER.with_name(f"{FOLDER.name}-before")
    shutil.copytree(FOLDER, before)
    count = run()
    shutil.copytree(FOLDER, FOLDER.with_name(f"{FOLDER.name}-whole"))
    print(f"{count} moments")
    for number in range(1, NUMBER + 1):
        shutil.rmtree(FOLDER)
        shutil.copytree(before, FOLDER)
        run(1 + (count - 1) * (number - 1) // (NUMBER - 1))
        shutil.copytree(FOLDER, FOLDER.with_name(f"{FOLDER.name}-{number}"))


if __name__ == "__main__":
    main()

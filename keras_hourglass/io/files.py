"""Writing files so that nothing is ever half-written or overwritten by accident."""

import contextlib
import os
import pathlib
import re
import secrets
import shutil

from keras_hourglass.errors import UserError

# What is being written: `.NAME.PROCESS+RANDOM.SUFFIX`, `.writing-PROCESS+RANDOM`.
_HIDDEN = re.compile(r"\.(?:writing-|.+\.)([0-9a-f]{8})[0-9a-f]{4}(?:\.\w+)*", re.DOTALL)


def hidden_mark():
    """Hexadecimal digits in names of what is being written: of this process, and by chance."""
    return f"{os.getpid() % 2**32:08x}{secrets.token_hex(2)}"


def clear_leftovers(folder):
    """Remove what a process that was killed has left half-written in a folder.

    Args:
        folder: the folder; nothing happens where there is none. What another process that still
            runs is writing stays.
    """
    folder = pathlib.Path(folder)
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        found = _HIDDEN.fullmatch(path.name)
        if found is None or _writes_still(int(found[1], 16)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _writes_still(process):
    """Whether another process of this number runs."""
    if process == os.getpid():
        return False  # its own files are gone, these are of an earlier one with its number
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # of another user
    return True


@contextlib.contextmanager
def atomic_path(path):
    """A temporary path beside `path` that takes its place when the block succeeds.

    Args:
        path: the file to write; its folder is made if missing.

    Yields:
        A `pathlib.Path` with the same suffix. It is flushed to disk and renamed at the end, and
        removed if the block fails, so readers see the old file or the new one, never a part.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Leading dot: a watching process does not take it for the real thing.
    temporary = path.with_name(f".{path.stem[:80]}.{hidden_mark()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path, content):
    """Write a whole file at once.

    Args:
        path: the file to write.
        content: `bytes`, or `str` written as UTF-8. Bytes of file names that are no text become
            backslash escapes, which JSON reads back.

    Example:

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(os.path.join(folder, "new", "a.txt"), "whole")
    ...     os.listdir(os.path.join(folder, "new"))
    ['a.txt']
    """
    path = pathlib.Path(path)
    atomic_writes(path.parent, {path.name: content})


def atomic_writes(folder, contents):
    """Write files that belong together: none takes its name before all are on the disk.

    Args:
        folder: the folder to write in.
        contents: dict file name -> content, as for `atomic_write`. The first one takes its name
            last.

    Example:

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_writes(folder, {"a.json": "{}", "b.bin": bytes(3)})
    ...     sorted(os.listdir(folder))
    ['a.json', 'b.bin']
    """
    with contextlib.ExitStack() as files:
        for name, content in contents.items():
            temporary = files.enter_context(atomic_path(pathlib.Path(folder) / name))
            if isinstance(content, str):
                content = content.encode(errors="backslashreplace")
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


def refuse_link(path):
    """Refuse to write into a file that lies elsewhere, as one that is written bit by bit would be.

    A file that is written as a whole takes the place of the link instead.

    Args:
        path: the file, which need not be there.

    Raises:
        UserError: if the path is a link.
    """
    if os.path.islink(path):
        raise UserError(
            "A file that is written bit by bit lies in its folder. Received: "
            f"{path}, a link to another place. Remove the link, or name another folder."
        )


@contextlib.contextmanager
def only_one(path, what):
    """Keep a second process out of a folder while the block runs.

    The lock is the operating system's and ends with the process, however that ends.

    Args:
        path: the file that is locked; made, and removed at the end.
        what: the work, for the message, e.g. `"training"`.

    Raises:
        UserError: if another process has the lock.
    """
    import filelock

    path = pathlib.Path(path)
    refuse_link(path)  # the file that is locked is emptied
    lock = filelock.FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(
                f"Another {what} is writing to this folder. Received: {path.parent}. "
                "Wait until it ends, or name another folder."
            ) from None
        except (OSError, NotImplementedError):
            pass  # a file system without locks
        yield
    finally:
        with contextlib.suppress(OSError):
            if lock.is_locked:
                path.unlink()
        lock.release()


def new_folder(path, overwrite=False, remedy="Name a new folder, or allow it with --overwrite"):
    """Make an output folder, refusing one that already holds something.

    What a killed process has left half-written there is removed and counts as nothing.

    Args:
        path: the folder.
        overwrite: accept a folder with content; files are then replaced one by one.
        remedy: what to do where it holds something, a sentence without its full stop.

    Returns:
        The folder as `pathlib.Path`.

    Raises:
        UserError: if the path is a file, or a folder with content and `overwrite` is false.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"An output folder is needed. Received: the file {path}. Name another.")
    clear_leftovers(path)
    if path.is_dir() and not overwrite and any(path.iterdir()):
        raise UserError(
            f"The output folder already holds files, which would be lost. Received: {path}. "
            f"{remedy}."
        )
    _new_folders.extend(_make(path))
    return path


_new_folders: list = []  # that `new_folder` made in this process, the innermost first


def remove_empty_folders() -> None:
    """Remove what `new_folder` made and nothing was written into, as after a refusal."""
    _remove_empty(_new_folders)
    _new_folders.clear()


@contextlib.contextmanager
def folder_for(path):
    """Make a folder for what the block writes; where the block fails, no empty one is left behind.

    Args:
        path: the folder, a `pathlib.Path`; those above it are made, too.
    """
    made = _make(path)
    try:
        yield
    except BaseException:
        _remove_empty(made)
        raise


def _make(path):
    """Make a folder and those above; the new ones, the innermost first."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders):
    for folder in folders:
        with contextlib.suppress(OSError):  # it holds something, or is gone
            folder.rmdir()

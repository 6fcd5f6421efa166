"""Writing files so that nothing is ever half-written or overwritten by accident."""

import contextlib
import os
import pathlib
import secrets

from keras_hourglass.errors import UserError


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
    temporary = path.with_name(f".{path.stem[:80]}.{secrets.token_hex(4)}{path.suffix}")
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


def new_folder(path, overwrite=False):
    """Make an output folder, refusing one that already holds something.

    Args:
        path: the folder.
        overwrite: accept a folder with content; files are then replaced one by one.

    Returns:
        The folder as `pathlib.Path`.

    Raises:
        UserError: if the path is a file, or a folder with content and `overwrite` is false.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"An output folder is needed. Received: the file {path}. Name another.")
    if path.is_dir() and not overwrite and any(path.iterdir()):
        raise UserError(
            f"The output folder already holds files, which would be lost. Received: {path}. "
            "Name a new folder, or allow it with --overwrite."
        )
    path.mkdir(parents=True, exist_ok=True)
    return path

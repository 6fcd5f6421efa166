"""Threads and handles that belong to one process, made anew in a forked child.

A fork copies memory but no threads: whoever waits for those of the parent waits for ever.
"""

import ctypes
import functools
import os
import weakref
from collections.abc import Callable
from typing import Any

from keras_hourglass.errors import UserError

_LIVE: weakref.WeakSet = weakref.WeakSet()


class PerProcess:
    """What a factory makes, made again when it is first wanted in a forked child.

    Args:
        make: the factory, a callable without arguments; it runs at once, too.

    Example:

    >>> import os
    >>> whose = PerProcess(os.getpid)
    >>> whose() == os.getpid()
    True
    """

    def __init__(self, make: Callable[[], Any]):
        self._make, self._made = make, (make(),)
        _LIVE.add(self)

    def __call__(self) -> Any:
        """The value of this process."""
        if not self._made:
            self._made = (self._make(),)
        return self._made[0]

    def leave(self) -> None:
        """Give up the value, which another process has."""
        # Never freed: to take a pool of threads apart is to wait for them.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._made))
        self._made = ()


def stays_in_process(run: Callable, library: str) -> Callable:
    """A callable that refuses in a forked child, where its library would hang.

    Args:
        run: computes by threads of this process that cannot be made anew.
        library: whose they are.

    Raises:
        UserError: by the callable, in another process than this one.
    """
    home = os.getpid()

    @functools.wraps(run)
    def guarded(*arguments):
        if os.getpid() != home:
            raise UserError(
                f"{library} cannot compute in a fork of a process in which it was started. "
                f"Received: a call in process {os.getpid()} of what process {home} made. "
                'Use `Predictor(name)` or engine="onnxruntime", which can, or start processes by '
                '`multiprocessing.get_context("spawn")`.'
            )
        return run(*arguments)

    return guarded


def _leave_all():
    for one in list(_LIVE):
        one.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)

"""What all programs of a run share in ``threading`` and ``concurrent.futures``, and must not: numbers, and a lock.

Threads are numbered for each life of a host from 1, or names would tell what ran
before in the same interpreter. The lock that every executor of the interpreter takes while it starts a thread guards
nothing inside a run, where the interpreter does not end; a thread that gives the baton back there would block all others.
"""

from __future__ import annotations

import _thread
import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final, final

from pytest_convergence._engine.sim.locks import is_inside_program
from pytest_convergence._engine.sim.strands import present_life

__all__ = ["cover_threads"]

_EXECUTORS: Final = "concurrent.futures.thread"
_get_ident: Final = _thread.get_ident


@final
class _Numbers:
    """Numbers for names: those of the life whose code asks, or of the interpreter."""

    def __init__(self, kind: str, first: int, original: Any) -> None:
        self._kind, self._first, self._original = kind, first, original

    def __call__(self) -> int:
        life = present_life()
        if life is None or not life.node.is_host:
            number: int = self._original()
            return number
        if life.thread_numbers is None:
            life.thread_numbers = {}
        numbers: Iterator[int] = life.thread_numbers.setdefault(self._kind, itertools.count(self._first))
        return next(numbers)


@final
class _ShutdownLock:
    """The lock of all executors of the interpreter."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._holder = 0

    def acquire(self, *args: Any, **options: Any) -> bool:
        """Take it; inside a program there is nothing to take."""
        if is_inside_program():
            return True
        taken: bool = self._real.acquire(*args, **options)
        if taken:
            self._holder = _get_ident()
        return taken

    def release(self) -> None:
        """Free it, if the calling thread has taken it."""
        if self._holder == _get_ident():
            self._holder = 0
            self._real.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def cover_threads() -> None:
    """Put all that in place. It stays; elsewhere it does what was there before."""
    covered: Any = threading
    if not isinstance(covered._counter, _Numbers):
        covered._counter = _Numbers("thread", 1, covered._counter)
    executors: Any = sys.modules.get(_EXECUTORS)
    if executors is None or isinstance(executors._global_shutdown_lock, _ShutdownLock):
        return
    executors._global_shutdown_lock = _ShutdownLock(executors._global_shutdown_lock)
    pool = executors.ThreadPoolExecutor
    pool._counter = staticmethod(_Numbers("executor", 0, pool._counter))

"""Locks of programs with threads of their own: who finds one taken gives the baton back until it is free.

A real lock would block its thread together with the baton, and nobody could ever free it. Everything else that the standard
library has for threads (conditions, events, semaphores, barriers, queues, futures) is built on locks, so it works unchanged.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from typing import Any, Final, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.escapes import escape
from pytest_convergence._engine.sim.owner import OWNER
from pytest_convergence._engine.sim.strands import Strand, StrandEnded, current_strand

__all__ = ["StrandLock", "cover_locks", "is_inside_program"]

_RealLock: Final = threading._allocate_lock  # type: ignore[attr-defined]
_RealRLock: Final = threading.RLock
_RealSimpleQueue = queue.SimpleQueue
_PyRLock: Final = threading._PyRLock  # type: ignore[attr-defined]
_PySimpleQueue: Final = queue._PySimpleQueue  # type: ignore[attr-defined]
_FOR_EVER: Final = -1


@final
class StrandLock:
    """What ``threading.Lock()`` is inside such a program."""

    __slots__ = ("__weakref__", "_is_locked", "_waiting")

    def __init__(self) -> None:
        self._is_locked = False
        self._waiting: deque[Strand] = deque()

    def acquire(self, blocking: bool = True, timeout: float = _FOR_EVER) -> bool:
        """Take the lock, waiting for it as long as ``timeout`` seconds say; return whether it was taken."""
        if not blocking and timeout != _FOR_EVER:
            raise ValueError("can't specify a timeout for a non-blocking call")
        if timeout < 0 and timeout != _FOR_EVER:
            raise ValueError("timeout value must be a non-negative number")
        if not self._is_locked:
            self._is_locked = True
            return True
        return blocking and self._wait(None if timeout == _FOR_EVER else timeout)

    def _wait(self, timeout: float | None) -> bool:
        strand = current_strand()
        if strand is None:
            raise escape(
                "a lock that a thread of the program holds was waited for by code that shares its thread with other hosts, "
                "and must not block. Await the result of the thread instead, or give the program a process of its own: "
                "session.host(…, process=True)."
            )
        world = strand.loop.world
        until_ns = None if timeout is None else world.now_ns + round(timeout * NS_PER_SECOND)
        while self._is_locked:
            self._waiting.append(strand)
            left_ns = None if until_ns is None else max(0, until_ns - world.now_ns)
            try:
                woken = strand.wait(left_ns)
            except BaseException:  # a signal; what has woken it up may be meant for the next one
                if not self._is_locked and self._waiting and strand not in self._waiting:
                    self._waiting.popleft().wake_soon()
                raise
            finally:
                if strand in self._waiting:
                    self._waiting.remove(strand)
            if not woken and self._is_locked:
                return False
        self._is_locked = True
        return True

    def release(self) -> None:
        """Free the lock; whoever has waited longest is woken."""
        if not self._is_locked:
            raise RuntimeError("release unlocked lock")
        self._is_locked = False
        if self._waiting:
            self._waiting.popleft().wake_soon()

    def locked(self) -> bool:
        """Return whether it is taken."""
        return self._is_locked

    def _at_fork_reinit(self) -> None:
        self._is_locked = False
        self._waiting.clear()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<StrandLock {'locked' if self._is_locked else 'unlocked'}>"


def is_inside_program() -> bool:
    """Whether the caller is the program of a host, whose threads take turns."""
    if current_strand() is not None:
        return True
    life = OWNER.get()
    return life is not None and life.node.is_host and not life.node.fabric.closed


def _lock() -> Any:
    return StrandLock() if is_inside_program() else _RealLock()


def _rlock(*args: Any, **options: Any) -> Any:
    return _PyRLock() if is_inside_program() else _RealRLock(*args, **options)


class _KindOfLock(type):
    """From Python 3.13 ``threading.Lock`` is a class, which programs name in annotations and ask about instances."""

    def __call__(cls) -> Any:
        return _lock()

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, StrandLock | type(_RealLock()))


class _Lock(metaclass=_KindOfLock):
    __doc__ = threading.Lock.__doc__


class _SimpleQueue(_RealSimpleQueue):  # type: ignore[type-arg]
    __doc__ = _RealSimpleQueue.__doc__

    def __new__(cls, *args: Any, **options: Any) -> Any:
        if cls is _SimpleQueue and is_inside_program():
            return _PySimpleQueue()
        return super().__new__(cls, *args, **options)


def cover_locks() -> None:
    """Let the factories of locks make such locks inside such programs. Stays in place; elsewhere they do what they did."""
    covered: Any = threading
    if covered._allocate_lock is not _lock:
        covered._allocate_lock = _lock
        covered.Lock = _Lock if isinstance(covered.Lock, type) else _lock
        covered.RLock = _rlock
        covered = queue
        covered.SimpleQueue = _SimpleQueue
        logging.getLogger("concurrent.futures").addFilter(_is_no_end)


def _is_no_end(record: logging.LogRecord) -> bool:
    """That the threads of an executor are unwound when a run is over is no error, and needs no record."""
    return not (record.exc_info and record.exc_info[0] is StrandEnded)

"""``select.poll`` on simulated sockets: libraries ask it whether the other end has closed an idle connection."""

from __future__ import annotations

import errno
import select
import sys
from typing import Any, Final, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.net.descriptors import READ, WRITE, descriptors_of
from pytest_convergence._engine.sim.net.endpoint import oserror
from pytest_convergence._engine.sim.process_loop import wait_for_files
from pytest_convergence._engine.sim.shims.refusals import BLOCKING, DESCRIPTORS, refuse
from pytest_convergence._engine.sim.strands import current_strand

__all__ = ["Poll", "number_of"]

_IN: Final[int] = getattr(select, "POLLIN", 0x1)
_URGENT: Final[int] = getattr(select, "POLLPRI", 0x2)
_OUT: Final[int] = getattr(select, "POLLOUT", 0x4)
_ERROR: Final[int] = getattr(select, "POLLERR", 0x8)
_INVALID: Final[int] = getattr(select, "POLLNVAL", 0x20)
_NS_PER_MILLISECOND: Final = NS_PER_SECOND // 1_000


@final
class Poll:
    """What ``select.poll()`` makes inside a run."""

    __slots__ = ("_files", "_wanted", "_world")

    def __init__(self, world: Any) -> None:
        self._world = world
        self._files = descriptors_of(world).files
        self._wanted: dict[int, int] = {}

    def register(self, fd: Any, eventmask: int = _IN | _URGENT | _OUT) -> None:
        """Look at a socket.

        Raises:
            SimulationEscapeError: it is a real one.
        """
        number = number_of(fd)
        if number not in self._files:
            refuse(DESCRIPTORS, "select.poll", sys._getframe(1))
        self._wanted[number] = eventmask

    def modify(self, fd: Any, eventmask: int) -> None:
        """Look at it for something else.

        Raises:
            OSError: it is not looked at.
        """
        number = number_of(fd)
        if number not in self._wanted:
            raise oserror(errno.ENOENT)
        self._wanted[number] = eventmask

    def unregister(self, fd: Any) -> None:
        """Do not look at it any more.

        Raises:
            KeyError: it is not looked at.
        """
        del self._wanted[number_of(fd)]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Return what is ready now; of nothing, after ``timeout`` milliseconds.

        Raises:
            SimulationEscapeError: it would have to wait for a socket.
        """
        ready = self._look()
        if ready or timeout == 0:
            return ready
        forever = timeout is None or timeout < 0
        strand = current_strand()
        if strand is not None:
            wanted = {number: _mask(events) for number, events in self._wanted.items()}
            wait_for_files(strand, descriptors_of(self._world), wanted, None if forever else timeout / 1_000)  # type: ignore[operator]
            return self._look()
        if forever or self._wanted:
            refuse(BLOCKING, "select.poll.poll", sys._getframe(1))
        self._world.sleep_blocking(round(timeout * _NS_PER_MILLISECOND))  # type: ignore[operator]
        return ready

    def _look(self) -> list[tuple[int, int]]:
        found = [(number, self._events(number, wanted)) for number, wanted in self._wanted.items()]
        return [(number, events) for number, events in found if events]

    def _events(self, number: int, wanted: int) -> int:
        file = self._files.get(number)
        if file is None:
            return _INVALID
        ready = file.readiness()
        events = (_IN if ready & READ else 0) | (_OUT if ready & WRITE else 0)
        return events & wanted | (_ERROR if file.error else 0)


def _mask(events: int) -> int:
    return (READ if events & _IN else 0) | (WRITE if events & _OUT else 0)


def number_of(file: Any) -> int:
    """Return the number of a descriptor, or of what has one."""
    return file if isinstance(file, int) else int(file.fileno())

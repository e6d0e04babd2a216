"""Sockets and names: inside a run they are those of the simulated network."""

from __future__ import annotations

import _socket
import errno
import os
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.net.descriptors import FIRST_DESCRIPTOR, READ, WRITE, descriptors_of
from pytest_convergence._engine.sim.net.facade import SimulatedSocket, new_socket, pair
from pytest_convergence._engine.sim.net.stack import asking_stack
from pytest_convergence._engine.sim.net.stream import StreamSocket
from pytest_convergence._engine.sim.process_loop import ProcessLoop, StrandSelector, wait_for_files
from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.shims.polling import Poll, number_of
from pytest_convergence._engine.sim.shims.refusals import (
    COPIES,
    DESCRIPTORS,
    LOOPS,
    SOCKETS,
    UVLOOP,
    is_for_tool,
    refuse,
)
from pytest_convergence._engine.sim.strands import current_strand

__all__ = ["cover_sockets", "rows"]

_UNIX: Final = getattr(socket, "AF_UNIX", socket.AF_INET)
_SOURCE: Final = "sockets"


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""

    def row(target: str, closed: str, answer: Callable[..., Any]) -> Row:
        return Row(target, closed, delegate(answer, RUNS, asked_world), _SOURCE)

    names = "answered by the simulated network"
    yield row("socket:getaddrinfo", names, _getaddrinfo)
    yield row("socket:gethostbyname", names, _gethostbyname)
    yield row("socket:gethostbyname_ex", names, _gethostbyname_ex)
    yield row("socket:gethostbyaddr", names, _gethostbyaddr)
    yield row("socket:getnameinfo", names, _getnameinfo)
    yield row("socket:socketpair", "two simulated sockets", _socketpair)
    yield row(
        "asyncio.events:new_event_loop",
        "in a process of its own: a simulated one; else refused",
        _new_event_loop,
    )
    yield row("asyncio.events:set_event_loop_policy", "uvloop's is refused", _set_event_loop_policy)
    looks = "simulated sockets are looked at; without any, virtual time passes"
    yield row("select:select", looks, _select)
    yield row("select:poll", looks, _poll)
    yield Row("socket:fromfd", "refused", delegate(_fromfd, RUNS, asked_world), SOCKETS.name)
    yield row("os:sendfile", "to a simulated socket: the bytes of the file are sent", _sendfile)


def cover_sockets() -> None:
    """Let ``socket.socket(…)`` make a simulated socket inside a run. Stays in place; elsewhere it does what it did."""
    if "__new__" not in vars(socket.socket):
        socket.socket.__new__ = staticmethod(_new)  # type: ignore[method-assign]
    base: Any = selectors._BaseSelectorImpl
    if "__new__" not in vars(base):
        base.__new__ = staticmethod(_new_selector)


def _new(cls: Any, *_: Any, **__: Any) -> Any:
    if RUNS and cls is socket.socket and asked_world() is not None:
        return new_socket()
    return _socket.socket.__new__(cls)


def _new_selector(cls: Any, *_: Any, **__: Any) -> Any:
    """In a process of its own a selector waits by giving the baton back; elsewhere it is what it was."""
    return object.__new__(cls) if current_strand() is None else StrandSelector()


def _new_event_loop(world: Any, original: Any, /) -> Any:
    strand = current_strand()
    if strand is None:
        refuse(LOOPS, "asyncio.events.new_event_loop", sys._getframe(1))
    if strand.process is not None and strand.process.has_own_policy:
        return original()
    return ProcessLoop(world)


# -- names -------------------------------------------------------------------------------------------------------------


def _getaddrinfo(
    _world: Any,
    _original: Any,
    /,
    host: Any,
    port: Any,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> Any:
    stack = asking_stack()
    return stack.directory.getaddrinfo(stack.node, host, port, family, type, proto, flags)


def _first(name: str) -> str:
    stack = asking_stack()
    return stack.directory.resolve(name, socket.AF_INET, stack.node)[0]


def _gethostbyname(_world: Any, _original: Any, /, name: str) -> str:
    return _first(name)


def _gethostbyname_ex(_world: Any, _original: Any, /, name: str) -> tuple[str, list[str], list[str]]:
    return name, [], [_first(name)]


def _gethostbyaddr(_world: Any, _original: Any, /, name: str) -> tuple[str, list[str], list[str]]:
    stack = asking_stack()
    ip = stack.directory.resolve(name, socket.AF_UNSPEC, stack.node)[0]
    found = stack.directory.name_of(ip, stack.node)
    if found is None:
        raise socket.herror(1, "Unknown host")
    return found, [], [ip]


def _getnameinfo(_world: Any, _original: Any, /, sockaddr: Any, flags: int) -> tuple[str, str]:
    stack = asking_stack()
    ip, port = sockaddr[:2]
    name = None if flags & socket.NI_NUMERICHOST else stack.directory.name_of(ip, stack.node)
    if name is None:
        if flags & socket.NI_NAMEREQD:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        name = ip
    if flags & socket.NI_NUMERICSERV:
        return name, str(port)
    try:
        return name, socket.getservbyport(port, "udp" if flags & socket.NI_DGRAM else "tcp")
    except OSError:
        return name, str(port)


# -- sockets -----------------------------------------------------------------------------------------------------------


def _socketpair(
    _world: Any, _original: Any, /, family: int | None = None, type: int = socket.SOCK_STREAM, proto: int = 0
) -> tuple[SimulatedSocket, SimulatedSocket]:
    return pair(asking_stack(), _UNIX if family is None else family, type)


def _set_event_loop_policy(_world: Any, original: Any, /, policy: Any) -> None:
    if type(policy).__module__.partition(".")[0] == "uvloop":
        refuse(UVLOOP, "uvloop.EventLoopPolicy", sys._getframe(1))
    original(policy)


def _select(world: Any, original: Any, /, *args: Any) -> Any:
    frame = sys._getframe(1)
    if is_for_tool(frame) or len(args) < 3:
        return original(*args)
    lists = [list(each) for each in args[:3]]
    timeout = args[3] if len(args) > 3 else None
    files = descriptors_of(world).files
    waited = [[(each, number_of(each)) for each in some] for some in lists]
    if any(number not in files for some in waited for _, number in some):
        refuse(DESCRIPTORS, "select.select", frame)
    ready = [
        [each for each, number in some if files[number].readiness() & mask]
        for some, mask in zip(waited, (READ, WRITE, 0), strict=True)
    ]
    strand = current_strand()
    if not any(ready) and strand is not None and timeout != 0:
        wanted: dict[int, int] = {}
        for some, mask in zip(waited, (READ, WRITE, 0), strict=True):
            for _, number in some:
                wanted[number] = wanted.get(number, 0) | mask
        wait_for_files(strand, descriptors_of(world), wanted, timeout)
        return _select(world, original, *args[:3], 0)
    if not any(ready):
        if timeout is None or (timeout and any(lists)):
            refuse(DESCRIPTORS, "select.select", frame)
        world.sleep_blocking(round(max(timeout, 0) * NS_PER_SECOND))
    return tuple(ready)


def _poll(world: Any, original: Any, /) -> Any:
    return original() if is_for_tool(sys._getframe(1)) else Poll(world)


def _fromfd(_world: Any, original: Any, /, fd: Any, *args: Any, **options: Any) -> Any:
    frame = sys._getframe(1)
    if is_for_tool(frame):
        return original(fd, *args, **options)
    is_simulated = isinstance(fd, int) and fd >= FIRST_DESCRIPTOR
    return refuse(COPIES if is_simulated else SOCKETS, "socket.fromfd", frame)


def _sendfile(
    world: Any, original: Any, /, out_fd: int, in_fd: int, offset: int | None, count: int, *args: Any
) -> Any:
    made = descriptors_of(world).files.get(out_fd)
    if not isinstance(made, StreamSocket):
        return original(out_fd, in_fd, offset, count, *args)
    if not made.readiness() & WRITE:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    size = min(count, max(made.room, 1))  # no more than there is room for, or the rest would be read again
    data = os.read(in_fd, size) if offset is None else os.pread(in_fd, size, offset)
    return made.send(data) if data else 0

"""Descriptors by number: pipes of hosts, and what ``os`` and ``fcntl`` do with simulated sockets."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from pytest_convergence._engine.sim.net.datagram import DatagramSocket
from pytest_convergence._engine.sim.net.descriptors import FIRST_DESCRIPTOR, READ, WRITE, descriptors_of
from pytest_convergence._engine.sim.net.endpoint import KernelSocket, oserror
from pytest_convergence._engine.sim.net.facade import wait_until_ready
from pytest_convergence._engine.sim.net.pipe import PipeEnd, make_pipe
from pytest_convergence._engine.sim.net.stack import asking_stack
from pytest_convergence._engine.sim.net.stream import StreamSocket
from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.shims.polling import number_of
from pytest_convergence._engine.sim.shims.refusals import COPIES, DESCRIPTORS, FILES, is_for_tool, refuse
from pytest_convergence._engine.sim.stdio import STDERR, STDOUT, write_bytes
from pytest_convergence._engine.sim.strands import present_life

try:
    import fcntl
except ImportError:  # pragma: no cover - not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["rows"]

_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
_STANDARD: Final = {1: STDOUT, 2: STDERR}


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""

    def row(target: str, closed: str, answer: Callable[..., Any]) -> Row:
        return Row(target, closed, delegate(answer, RUNS, asked_world), DESCRIPTORS.name)

    pipes = "of hosts: the two ends of a simulated pipe; else refused"
    for name in ("pipe", "pipe2"):
        if hasattr(os, name):
            yield row(f"os:{name}", pipes, partial(_pipe, f"os.{name}"))
    numbers = "of simulated descriptors: done there; of real ones as ever"
    yield row("os:read", numbers, _read)
    yield row("os:write", f"{numbers}, but for the standard streams of a process of its own", _write)
    yield row("os:close", numbers, _close)
    yield row("os:fdopen", "of simulated descriptors: refused; of real ones as ever", _fdopen)
    for name in ("dup", "dup2"):
        yield row(
            f"os:{name}",
            "of simulated descriptors: refused; of real ones as ever",
            partial(_dup, f"os.{name}"),
        )
    yield row("os:set_blocking", numbers, _set_blocking)
    yield row("os:get_blocking", numbers, _get_blocking)
    if fcntl is not None:
        yield row("fcntl:fcntl", numbers, _fcntl)


def _fdopen(_world: Any, original: Any, /, fd: Any, *args: Any, **options: Any) -> Any:
    if isinstance(fd, int) and fd >= FIRST_DESCRIPTOR:
        refuse(FILES, "os.fdopen", sys._getframe(2))
    return original(fd, *args, **options)


def _dup(call: str, _world: Any, original: Any, /, fd: Any, *args: Any, **options: Any) -> int:
    if isinstance(fd, int) and fd >= FIRST_DESCRIPTOR:
        refuse(COPIES, call, sys._getframe(1))
    made: int = original(fd, *args, **options)
    return made


def _pipe(call: str, _world: Any, original: Any, /, *flags: int) -> tuple[int, int]:
    frame = sys._getframe(1)
    if is_for_tool(frame):
        made: tuple[int, int] = original(*flags)
        return made
    life = present_life()
    if life is None or not life.node.is_host:
        refuse(DESCRIPTORS, call, frame)
    ends = make_pipe(asking_stack())
    for end in ends:
        end.is_nonblocking = bool(flags and flags[0] & _NONBLOCK)
    return ends[0].number, ends[1].number


def _file(world: Any, number: Any) -> KernelSocket | None:
    """Return what a number stands for; ``None`` if it is a real one, or none."""
    if not isinstance(number, int) or number < FIRST_DESCRIPTOR:
        return None
    file = descriptors_of(world).files.get(number)
    if file is None:
        raise oserror(errno.EBADF)
    return file


def _stream(file: KernelSocket) -> PipeEnd | StreamSocket:
    if isinstance(file, DatagramSocket):
        raise oserror(errno.EOPNOTSUPP)
    assert isinstance(file, PipeEnd | StreamSocket)
    return file


def _timeout(file: KernelSocket) -> float | None:
    return 0.0 if file.is_nonblocking else None


def _read(world: Any, original: Any, fd: Any, length: int, /) -> bytes:
    file = _file(world, fd)
    if file is None:
        real: bytes = original(fd, length)
        return real
    end = _stream(file)
    while (data := end.recv(length)) is None:
        wait_until_ready(end, "os.read", READ, _timeout(end), sys._getframe(1))
    return data


def _write(world: Any, original: Any, fd: Any, data: Any, /) -> int:
    file = _file(world, fd)
    if file is None:
        stream = _STANDARD.get(fd) if isinstance(fd, int) else None
        if stream is not None and write_bytes(stream, bytes(data)):
            return len(data)
        real: int = original(fd, data)
        life = present_life()
        if life is not None and life.node.files is not None:
            life.node.files.times.written(fd)
        return real
    end = _stream(file)
    view = memoryview(data).cast("B")
    while not (sent := end.send(view)) and len(view):
        wait_until_ready(end, "os.write", WRITE, _timeout(end), sys._getframe(1))
    return sent


def _close(world: Any, original: Any, fd: Any, /) -> None:
    file = _file(world, fd)
    if file is not None:
        file.close()
        return
    life = present_life()
    if life is not None and life.node.files is not None:
        life.node.files.times.written(fd)
    original(fd)


def _set_blocking(world: Any, original: Any, fd: Any, blocking: bool, /) -> None:
    file = _file(world, fd)
    if file is None:
        original(fd, blocking)
    else:
        file.is_nonblocking = not blocking


def _get_blocking(world: Any, original: Any, fd: Any, /) -> bool:
    file = _file(world, fd)
    return bool(original(fd)) if file is None else not file.is_nonblocking


def _fcntl(world: Any, original: Any, fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    file = _file(world, number_of(fd))
    if file is None:
        return original(fd, cmd, arg)
    if cmd == fcntl.F_GETFL:
        return os.O_RDWR | (_NONBLOCK if file.is_nonblocking else 0)
    if cmd == fcntl.F_SETFL:
        file.is_nonblocking = bool(arg & _NONBLOCK)
        return 0
    if cmd == fcntl.F_GETFD:
        return fcntl.FD_CLOEXEC
    if cmd == fcntl.F_SETFD:  # nothing is ever inherited
        return 0
    raise oserror(errno.EINVAL)

"""Files of hosts: what is made durable is remembered, so that a loss of power can take away the rest; their times."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from pytest_convergence._engine.sim.files import HostFiles
from pytest_convergence._engine.sim.net.descriptors import FIRST_DESCRIPTOR
from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.shims.refusals import FILES, refuse
from pytest_convergence._engine.sim.strands import present_life

__all__ = ["rows"]

_SYNCS: Final = ("fsync", "fdatasync")
_RENAMES: Final = ("rename", "replace")
_CHANGES: Final = ("mkdir", "rmdir", "unlink", "remove")
_LINKS: Final = ("link", "symlink")
_WRITES: Final = ("pwrite", "writev", "pwritev", "ftruncate", "truncate")


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""

    def row(name: str, closed: str, answer: Callable[..., Any]) -> Row:
        return Row(name, closed, delegate(answer, RUNS, asked_world), "files")

    for name in _SYNCS:
        if hasattr(os, name):
            yield row(f"os:{name}", "done, and remembered for the files of a host", _sync)
    for name in _RENAMES:
        yield row(f"os:{name}", "done, and durable with the directory for the files of a host", _rename)
    stamped = "done, and stamped by the host's clock for its files"
    yield row("io:open", f"{stamped}; refused for simulated descriptors", _open)
    yield row("os:open", stamped, _open_descriptor)
    yield row("os:utime", stamped, _utime)
    for names, answer in ((_CHANGES, _change), (_LINKS, _link), (_WRITES, _write)):
        for each in names:
            if hasattr(os, each):
                yield row(f"os:{each}", stamped, answer)


def _files() -> HostFiles | None:
    life = present_life()
    return None if life is None else life.node.files


def _sync(_world: Any, original: Any, /, fd: Any) -> None:
    original(fd)
    files = _files()
    if files is not None:
        files.synced(fd if isinstance(fd, int) else fd.fileno())


def _rename(_world: Any, original: Any, /, src: Any, dst: Any, **options: Any) -> None:
    original(src, dst, **options)
    files = _files()
    if files is not None:
        files.renamed(src, dst)
        files.times.renamed(src, dst)


def _open(_world: Any, original: Any, /, file: Any, *args: Any, **options: Any) -> Any:
    if type(file) is int and file >= FIRST_DESCRIPTOR:
        refuse(FILES, "open", sys._getframe(2))
    files = _files()
    if files is None:
        return original(file, *args, **options)
    return files.times.open(original, file, *args, **options)


def _open_descriptor(_world: Any, original: Any, /, path: Any, flags: int, *args: Any, **options: Any) -> int:
    files = _files()
    if files is None or options.get("dir_fd") is not None:
        descriptor: int = original(path, flags, *args, **options)
        return descriptor
    existed = os.path.lexists(path)
    descriptor = original(path, flags, *args, **options)
    files.times.opened(path, flags, descriptor, existed=existed)
    return descriptor


def _utime(
    _world: Any, original: Any, /, path: Any, times: Any = None, *, ns: Any = None, **options: Any
) -> None:
    files = _files()
    if times is not None:
        original(path, times, **options)
    elif ns is not None:
        original(path, ns=ns, **options)
    elif files is None or not (isinstance(path, int) or files.times.covers(path)):
        original(path, **options)
    else:
        now_ns = files.times.now_ns()
        original(path, ns=(now_ns, now_ns), **options)


def _change(_world: Any, original: Any, /, path: Any, *args: Any, **options: Any) -> Any:
    result = original(path, *args, **options)
    files = _files()
    if files is not None:
        files.times.changed(path)
    return result


def _link(_world: Any, original: Any, /, src: Any, dst: Any, *args: Any, **options: Any) -> None:
    original(src, dst, *args, **options)
    files = _files()
    if files is not None:
        files.times.renamed(dst)


def _write(_world: Any, original: Any, /, fd: Any, *args: Any, **options: Any) -> Any:
    result = original(fd, *args, **options)
    files = _files()
    if files is not None and isinstance(fd, int):
        files.times.written(fd)
    elif files is not None and files.times.covers(fd):  # os.truncate takes a path
        files.times.stamp(fd)
    return result

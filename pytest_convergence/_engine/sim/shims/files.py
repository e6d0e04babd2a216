"""Files: what a host's program makes durable is remembered, so that a loss of power can take away the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from pytest_convergence._engine.sim.files import HostFiles
from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.strands import present_life

__all__ = ["rows"]

_SYNCS: Final = ("fsync", "fdatasync")
_RENAMES: Final = ("rename", "replace")


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""

    def row(name: str, closed: str, answer: Callable[..., Any]) -> Row:
        return Row(f"os:{name}", closed, delegate(answer, RUNS, asked_world), "files")

    for name in _SYNCS:
        if hasattr(os, name):
            yield row(name, "done, and remembered for the files of a host", _sync)
    for name in _RENAMES:
        yield row(name, "done, and durable with the directory for the files of a host", _rename)


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

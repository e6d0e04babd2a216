"""The environment of a process: what a program sets is in its own ``os.environ``, and not in that of the real process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.strands import current_strand

__all__ = ["rows"]


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    for name in ("putenv", "unsetenv"):
        closed = "in a process of its own: of its own os.environ; else that of the real process"
        yield Row(f"os:{name}", closed, delegate(_put, RUNS, asked_world), "environment")


def _put(_world: Any, original: Any, /, *args: Any) -> None:
    strand = current_strand()
    if strand is None or strand.process is None:
        original(*args)

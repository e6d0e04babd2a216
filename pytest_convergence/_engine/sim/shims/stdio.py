"""Standard streams: a process of its own has pipes of the world; ``sys.stdout`` and the like change with the baton."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from pytest_convergence._engine.sim.shims.asking import RUNS, TOOLS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate
from pytest_convergence._engine.sim.strands import current_strand

__all__ = ["rows"]

_SOURCE: Final = "standard streams"


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    configures = "in a process of its own: the handlers of that process; those of test tools stay"
    yield Row("logging:basicConfig", configures, delegate(_basic_config, RUNS, asked_world), _SOURCE)


def _basic_config(_world: Any, original: Any, /, **options: Any) -> None:
    """Configure logging as at the start of a process: what pytest has put there to look on does not count."""
    strand = current_strand()
    if strand is None or strand.process is None:
        original(**options)
        return
    root = logging.root
    tools = [each for each in root.handlers if type(each).__module__.partition(".")[0] in TOOLS]
    root.handlers = [each for each in root.handlers if each not in tools]
    try:
        original(**options)
    finally:
        root.handlers = [*root.handlers, *tools]

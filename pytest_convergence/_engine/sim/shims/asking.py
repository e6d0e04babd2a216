"""Who answers a call: the world of the running loop, or the real machine.

1. A world is found through the event loop that runs on the calling thread. There is no registry of worlds: other
   threads, and code outside a run, have no such loop and get real answers.
2. Test tools (pytest, Hypothesis, debuggers, coverage) also run code on a world's thread. They measure and observe the
   run, they are no part of it; what they ask themselves is answered by the real machine.
3. :func:`outside_world` takes a piece of code out of the run, for a debugger's prompt or a report.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.events import _get_running_loop, _set_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import Any, Final, Protocol

from pytest_convergence._engine.sim.strands import current_strand, exchange_strand, strand_world

__all__ = [
    "TOOLS",
    "SimulatedWorld",
    "asked_world",
    "is_tool",
    "outside_world",
    "prompts_outside_world",
    "RUNS",
]

RUNS: Final[list[object]] = []
"""The runs that are under way in this process, on any thread. Empty is the quick answer that nothing is simulated."""

TOOLS: Final = frozenset(
    {
        "_hypothesis_pytestplugin", "_pydev_bundle", "_pydevd_bundle", "_pydevd_frame_eval", "_pytest", "bdb", "coverage",
        "debugpy", "execnet", "hypothesis", "pdb", "pluggy", "pydevd", "pytest", "pytest_cov", "pytest_timeout", "xdist",
    }
)  # fmt: skip
"""Top-level packages whose own calls always reach the real machine."""


class SimulatedWorld(Protocol):
    """What the shims need of a world.

    Attributes:
        closed: whether the run is over.
        suspended: whether the run stands still, as at the prompt of a debugger.
        numbers: by which things of a world are told apart.
    """

    closed: bool
    suspended: bool
    numbers: Iterator[int]

    def poll_clock(self) -> int:
        """Nanoseconds since 1970, as the current agent's wall clock shows them."""

    def poll_monotonic(self) -> int:
        """Nanoseconds of the current agent's monotonic clock."""

    def sleep_blocking(self, duration_ns: int, /) -> None:
        """Let ``duration_ns`` of virtual time pass."""

    def entropy(self) -> Random:
        """The random stream of the current agent."""


def asked_world(depth: int = 2) -> SimulatedWorld | None:
    """Return the world that has to answer, or ``None`` if the real machine has to.

    Args:
        depth: how many frames up the caller is whose call is to be answered; 2 is the caller of our caller.
    """
    loop = _get_running_loop()
    world: SimulatedWorld | None = getattr(loop, "world", None)
    if world is None or world.closed or world.suspended:
        world = strand_world()  # of a process with a thread of its own, also while it is cleared away
        if world is None:
            return None
    return None if is_tool(sys._getframe(depth)) else world


def is_tool(frame: FrameType) -> bool:
    """Whether ``frame`` is code of a test tool."""
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] in TOOLS


@contextmanager
def outside_world() -> Iterator[None]:
    """Everything inside the ``with`` sees the real machine, although a run is under way on this thread.

    The run stands still meanwhile. Works by hiding the running loop, so a debugger may even run a loop of its own.
    """
    loop: asyncio.AbstractEventLoop | None = _get_running_loop()
    strand = exchange_strand(None)
    _set_running_loop(None)
    try:
        yield
    finally:
        _set_running_loop(loop)
        exchange_strand(strand)


def prompts_outside_world(debugger: Any, *, budget: Any = None) -> None:
    """Let the prompt of ``debugger`` (a :class:`pdb.Pdb`) see the real machine, while stepping stays in the run.

    Args:
        debugger: the instance whose ``interaction`` is wrapped.
        budget: something with ``suspend()`` and ``resume()``, such as a guard of the watchdog: it does not count the
            time spent at the prompt.
    """
    interaction = debugger.interaction

    def interaction_outside(*args: Any, **options: Any) -> None:
        if budget is not None:
            budget.suspend()
        try:
            with _outside_process(debugger), outside_world():
                interaction(*args, **options)
        finally:
            if budget is not None:
                budget.resume()

    debugger.interaction = interaction_outside


@contextmanager
def _outside_process(debugger: Any) -> Iterator[None]:
    """Let the prompt talk to the terminal, not to the pipes of the process in which it was opened."""
    strand = current_strand()
    process = None if strand is None else strand.process
    if process is None:
        yield
        return
    with process.outside():
        debugger.stdin, debugger.stdout = sys.stdin, sys.stdout
        yield

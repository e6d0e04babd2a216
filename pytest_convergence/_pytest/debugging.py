"""A debugger's prompt inside a run sees the real machine, and the run's budget of real time stands still meanwhile."""

from __future__ import annotations

from typing import Any

from pytest_convergence._engine.run.hosting import current_loop
from pytest_convergence._engine.sim.shims import prompts_outside_world
from pytest_convergence._engine.sim.strands import current_strand

__all__ = ["let_debugger_out"]


def let_debugger_out(debugger: Any) -> None:
    """Let ``debugger`` prompt outside of the run that is under way on this thread, if one is."""
    strand = current_strand()
    loop = current_loop() if strand is None else strand.loop
    if loop is not None and debugger is not None:
        prompts_outside_world(debugger, budget=loop.budget)

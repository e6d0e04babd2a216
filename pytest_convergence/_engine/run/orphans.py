"""Exceptions that nobody hears of: of tasks that agents started and never awaited, of callbacks that they set.

asyncio only logs them. In a test they are failures: an agent whose helper died unnoticed is a finding. A task's exception is
known to be nobody's when the task is thrown away, or when the run is over and nobody has asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from pytest_convergence._engine.sim.tasks import WorldTask
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence.errors import RunFailure

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence._engine.sim.world import World

__all__ = ["left_behind", "unhandled"]


def unhandled(world: World, context: Mapping[str, Any]) -> bool:
    """Fail the session whose code raised something that nobody handles; return whether there is such a session.

    Args:
        context: what asyncio says to exception handlers.
    """
    error = context.get("exception")
    if not isinstance(error, BaseException):
        return False
    life, what = _whose(context)
    if life is None:
        return False
    for conduct in list(world.sessions):
        if life.node.fabric is conduct.fabric:
            if conduct.is_over and isinstance(error, asyncio.CancelledError):
                return True  # asyncio's streams on Python 3.11 ask how a connection's task ended that the run has stopped
            _report(conduct, life, what, error)
            return True
    return False


def _whose(context: Mapping[str, Any]) -> tuple[Life | None, str]:
    task, handle = context.get("task") or context.get("future"), context.get("handle")
    if isinstance(task, WorldTask):
        return task.life, f"its task {task.get_name()!r}, which nobody awaited"
    run_in = getattr(handle, "_context", None)
    if handle is None or run_in is None:
        return None, ""
    name = getattr(handle._callback, "__qualname__", repr(handle._callback))
    return run_in.get(OWNER), f"its callback {name}"


def left_behind(conduct: Conduct, lives: Container[Life] | None = None) -> None:
    """The run is over: report what its tasks, or those of some lives, raised and nobody has asked for."""
    for task in conduct.loop.done_tasks():
        life = task.life
        if life is None or life.node.fabric is not conduct.fabric or not _is_unasked(task):
            continue
        if lives is not None and life not in lives:
            continue
        error = task.exception()  # now it has been asked for
        if error is not None:
            _report(conduct, life, f"its task {task.get_name()!r}, which nobody awaited", error)


def _is_unasked(task: asyncio.Task[Any]) -> bool:
    return not task.cancelled() and bool(getattr(task, "_log_traceback", False))


def _report(conduct: Conduct, life: Life, what: str, error: BaseException) -> None:
    if not life.alive:
        return  # what comes of code that crashed its own agent concerns nobody
    said = conduct.ending.error
    if said is not None:  # another failure came first, perhaps because of this one
        if error not in (said, said.__cause__):
            said.add_note(f"(also, {life.node.name} raised {type(error).__name__} in {what}: {error})")
        return
    if not conduct.fabric.closed:
        conduct.fabric.note("error", life.node, f"{type(error).__name__}: {error}")
    if life is conduct.scenario_node.life:
        error.add_note(f"(the scenario raised this in {what})")
        if isinstance(error, RunFailure) and conduct.is_over:
            error.outcome = error.outcome or conduct.session.outcome
        conduct.end_with(error)
    else:
        conduct.agent_failed(life.node.name, error, f" in {what}")

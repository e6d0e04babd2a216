"""A session fails in which code has reached for the real world, also where a program has swallowed the refusal."""

from __future__ import annotations

from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence._engine.sim.world import World
    from pytest_convergence.errors import SimulationEscapeError

__all__ = ["escaped"]


def escaped(world: World, life: Life, error: SimulationEscapeError) -> None:
    """Let the session fail whose code was refused something.

    It fails in the next turn: where nobody swallows the error, it has told by then what it went through.
    """
    for conduct in world.sessions:
        if life.node.fabric is conduct.fabric and life.alive:
            conduct.loop.call_soon(partial(_tell, conduct, life, error), context=Context())


def _tell(conduct: Conduct, life: Life, error: SimulationEscapeError) -> None:
    if conduct.has_ended or not life.alive:
        return
    if life is conduct.scenario_node.life:
        conduct.fail(error)
        return
    conduct.fabric.note("error", life.node, f"{type(error).__name__}: {error}")
    conduct.agent_failed(life.node.name, error)

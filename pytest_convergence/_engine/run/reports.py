"""Words for what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.sim.awaiting import describe_await

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["deadlock_message", "describe_agents"]

_MOST_AGENTS = 12
_LONGEST = 120


def deadlock_message(conduct: Conduct) -> str:
    """Say that nothing can happen any more, and what each agent awaits."""
    lines = [
        f"deadlock at virtual time {format_ns(conduct.world.now_ns)}: nothing is runnable, no timer is set and no message "
        "is in flight, but somebody still waits:",
    ]
    work = conduct._work
    if work is not None and not work.done():
        lines.append(f"  the scenario waits: {describe_await(work)}")
    for name, task in conduct.cast.tasks.items():
        if task.done():
            lines.append(f"  {name} has returned")
        elif not conduct.fabric.nodes[name].life.alive:
            lines.append(f"  {name} has crashed")
        elif conduct.fabric.nodes[name].is_paused:
            lines.append(f"  {name} is paused")
        else:
            host = conduct.session.hosts.get(name)
            lines.append(f"  {name} waits: {(host and host.waits_at) or describe_await(task)}")
    for name, calls in conduct.cast.calls.items():
        agent, _, handed = name.partition("/")
        whose = "that was handed to it" if handed else "of the pattern"
        for task in calls.tasks.values():
            lines.append(f"  {agent} runs {task.get_name()!r} {whose}, which waits: {describe_await(task)}")
    return "\n".join(lines)


def describe_agents(agents: Mapping[str, SimulatedAgent]) -> str:
    """Say what each agent holds: its state, what it exposes, whether it is alive. Agents that hold nothing are left out."""
    lines = []
    for name, agent in agents.items():
        held = [f"state {_short(agent.state.as_dict())}"] if agent._version else []
        if agent._view is not None:
            held.append(f"exposes {_exposed(agent)}")
        if not agent.is_alive:
            held.append("has crashed")
        if held:
            lines.append(f"{name}: {', '.join(held)}")
    if len(lines) > _MOST_AGENTS:
        lines[_MOST_AGENTS:] = [f"and {len(lines) - _MOST_AGENTS} more"]
    return "\n".join(lines)


def _exposed(agent: SimulatedAgent) -> str:
    try:
        return _short(agent.exposed)
    except Exception as error:  # the user's own function; what is reported here is something else
        return f"nothing: its function raised {type(error).__name__}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

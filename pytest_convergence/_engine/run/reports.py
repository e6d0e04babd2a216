"""Words for what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.sim.awaiting import describe_await

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["deadlock_message"]


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
            lines.append(f"  {name} waits: {describe_await(task)}")
    for name, calls in conduct.cast.calls.items():
        for task in calls.tasks.values():
            lines.append(
                f"  {name} runs {task.get_name()!r} of the pattern, which waits: {describe_await(task)}"
            )
    return "\n".join(lines)

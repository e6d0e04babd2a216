"""Several sessions may share one world, one after another or together. What the kernel calls back is shared out here.

A session that joins takes its bounds along; the one that leaves last gives back what it found. What the world's host allowed
counts anew from then on, so that a test may go on after a session that used everything up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_convergence._engine.run.escapes import escaped
from pytest_convergence._engine.run.orphans import unhandled
from pytest_convergence.errors import BudgetExceeded

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.sim.world import World

__all__ = ["join", "leave", "watch_steps"]

_NEVER: Final = 1 << 62


class _Host(NamedTuple):
    """What was there before the first session joined."""

    idle: Callable[[], bool]
    fail: Callable[[BaseException], None]
    after_step: Callable[[], None] | None
    allowed_ns: int
    allowed_events: int


def join(world: World, conduct: Conduct) -> None:
    """Let ``conduct`` be called back, and bound the world by its limits too."""
    if not world.sessions:
        world.host = _Host(
            world.idle,
            world.fail,
            world.after_step,
            world.timeout_ns - world.now_ns,
            world.max_events - world.happened,
        )
        world.idle, world.fail = partial(_idle, world), partial(_fail, world)
        conduct.loop.unhandled = partial(unhandled, world)
        world.escaped = partial(escaped, world)
    world.sessions.append(conduct)
    _bound(world)


def leave(world: World, conduct: Conduct) -> None:
    """Call ``conduct`` back no more. Leaving twice does nothing."""
    if conduct not in world.sessions:
        return
    world.sessions.remove(conduct)
    watch_steps(world)
    if world.sessions:
        _bound(world)
        return
    conduct.loop.unhandled = world.escaped = None
    host: _Host = world.host
    world.idle, world.fail, world.after_step = host.idle, host.fail, host.after_step
    world.timeout_ns = world.now_ns + host.allowed_ns
    world.max_events = world.happened + host.allowed_events


def watch_steps(world: World) -> None:
    """Call back after every step those sessions that have a property which must always hold, or that take snapshots."""
    if not world.sessions:
        world.after_step = None
        return
    watchers = [conduct.after_step for conduct in world.sessions if conduct.after_step is not None]
    watchers += [
        conduct.session.snapshots.look for conduct in world.sessions if conduct.session.snapshots is not None
    ]
    if len(watchers) <= 1:
        world.after_step = watchers[0] if watchers else None
    else:
        world.after_step = partial(_call_all, watchers)


def _call_all(watchers: list[Callable[[], None]]) -> None:
    for watcher in watchers:
        watcher()


def _bound(world: World) -> None:
    world.timeout_ns = min([conduct.timeout_ns for conduct in world.sessions])
    world.max_events = min([conduct.max_events for conduct in world.sessions])


def _idle(world: World) -> bool:
    for conduct in list(world.sessions):
        conduct.idle()
    return True


def _fail(world: World, error: BaseException) -> None:
    """Fail the sessions whose bound was crossed; all of them, when it was none of their own."""
    sessions = list(world.sessions)
    crossed = []
    if isinstance(error, BudgetExceeded):
        crossed = [
            conduct
            for conduct in sessions
            if conduct.timeout_ns <= world.now_ns or conduct.max_events < world.happened
        ]
    for conduct in crossed or sessions:
        conduct.fail(error)
        conduct.timeout_ns = conduct.max_events = _NEVER  # said once
    _bound(world)

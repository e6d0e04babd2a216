"""What agents say about the works that they hand to one another, read once for all hand-off properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of

__all__ = ["ENDINGS", "GAINS", "HANDOFF_FACTS", "HELD_UP", "LOSSES", "Told", "told", "token_text"]

GAINS: Final = frozenset({"own", "taken"})
"""The agent owns the work from now on."""

LOSSES: Final = frozenset({"release", "finished", "withdraw"})
"""The agent does not own it any more."""

ENDINGS: Final = frozenset({"finished", "withdraw"})
"""The work is over: there is nothing to own."""

HELD_UP: Final = frozenset({"crash", "pause", "stall"})
"""What keeps an agent from acting, whatever it believes."""

HANDOFF_FACTS: Final = GAINS | LOSSES | {"offered", "suspend", "saved", "access"}


class Told(NamedTuple):
    """A fact about a work. ``token`` is anything that can be compared with the other tokens of the work."""

    fact: str
    agent: str
    task: Any
    token: Any
    at_ns: int
    data: Mapping[str, Any]


def told(event: TraceEvent) -> Told | None:
    """Return what ``event`` says about a work, ``None`` if it says nothing about one."""
    fact, data = fact_of(event)
    if fact not in HANDOFF_FACTS or "task" not in data:
        return None
    token = data.get("token")
    if isinstance(token, list):
        token = tuple(token)
    return Told(fact, event.agent, data["task"], token, event.at_ns, data)


def token_text(token: Any) -> str:
    """Write a token: ``1.3`` for a pair."""
    return ".".join(map(str, token)) if isinstance(token, tuple) else str(token)

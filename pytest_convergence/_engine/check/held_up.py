"""How long an agent was held: a deadline that passes while its agent is paused or stalled is missed by no fault of it."""

from __future__ import annotations

from typing import Final, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import TraceEvent

__all__ = ["HOLDING", "HeldUp", "allowed_ns"]

HOLDING: Final = frozenset({"pause", "resume", "crash", "stall"})
"""The kinds of events that tell."""

_LEAST_GRACE_NS: Final = NS_PER_SECOND // 10
_GRACE: Final = 4


def allowed_ns(deadline_seconds: float) -> int:
    """How long after its beginning a thing with this deadline may end: a quarter longer, for slow clocks and slow steps."""
    deadline_ns = round(deadline_seconds * NS_PER_SECOND)
    return deadline_ns + max(_LEAST_GRACE_NS, deadline_ns // _GRACE)


@final
class HeldUp:
    """How long each agent has been paused and stalled so far."""

    __slots__ = ("_since", "_sums")

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._sums: dict[str, int] = {}

    def feed(self, event: TraceEvent) -> None:
        """Take an event of :data:`HOLDING`."""
        if event.kind == "pause":
            self._since.setdefault(event.agent, event.at_ns)
        elif event.kind == "stall":
            self._add(event.agent, event.detail["us"] * 1_000)
        else:
            since = self._since.pop(event.agent, None)
            if since is not None:
                self._add(event.agent, event.at_ns - since)

    def _add(self, agent: str, held_ns: int) -> None:
        self._sums[agent] = self._sums.get(agent, 0) + held_ns

    def until(self, agent: str, now_ns: int) -> int:
        """Return for how many nanoseconds ``agent`` has been held up to now."""
        since = self._since.get(agent)
        return self._sums.get(agent, 0) + (0 if since is None else now_ns - since)

"""Quiescence: in the end no message of the agents is on its way, nobody works, and only periodic upkeep goes on.

That is termination of a distributed computation: every process passive, every channel empty (E. Dijkstra, C. Scholten,
*Termination Detection for Diffusing Computations*, 1980). The world knows both, so it detects it at once and exactly:
what is detected has terminated, and what has terminated is detected.

By default it is judged of the patterns whose work comes to an end:

- *consensus*, *pipeline*, *parallel-merge*, *competitive*, *hierarchical*, where agents have no behaviour beside the
  protocol, be it the reference or a user's own, and no hosts run. What a protocol repeats is upkeep; but a behaviour may
  well say something for ever, and nobody can tell whether that is work. Ask for it by name where yours come to rest.
- *reactive*: whatever agents do, for handlers that trigger each other are what goes wrong there.
- Not *leader-follower*: to lead is upkeep without an end. Nor sessions without a pattern: their agents may go on.

Nothing is demanded while somebody is cut off: who looks for others has a reason to.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["QUIESCENCE"]


class _Checker:
    kinds: Final[frozenset[str]] = frozenset()

    def __init__(self, scope: Scope) -> None:
        pass

    def feed(self, event: TraceEvent) -> None:
        return None

    def finish(self, final: FinalState) -> Violation | None:
        if not final.moving or not set(final.views) <= set(final.core):
            return None
        message = f"the agents never come to rest: {', '.join(final.moving)}"
        return Violation(QUIESCENCE.name, message, final.at_ns, facts={"moving": final.moving})


QUIESCENCE: Final = Property(
    "quiescence",
    Kind.EVENTUALLY,
    "In the end no message of the agents is on its way, and nobody works but for periodic upkeep.",
    _Checker,
)
"""Quiescence."""

"""Commit validity: who commits does so because every configured participant voted yes.

Source: Bernstein, Hadzilacos and Goodman, *Concurrency Control and Recovery in Database Systems* (1987), section 7.3, rules
AC3 and AC4. That all yes votes lead to a commit cannot be demanded: faults allow an abort.
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import decided_value, fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["COMMIT_VALIDITY"]

_YES: Final = ("yes", True, "commit")


class _Checker:
    """Judges decisions ``"commit"`` by the votes observed before; other decisions are not its business."""

    kinds: Final = frozenset({"observe", "decide"})

    def __init__(self, scope: Scope) -> None:
        self._agents = scope.agents
        self._votes: dict[str, Any] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "vote":
            self._votes[event.agent] = data.get("value")
            return None
        decided = decided_value(event)
        if decided is None or decided[0] != "commit":
            return None
        without = tuple(agent for agent in self._agents if self._votes.get(agent) not in _YES)
        if not without:
            return None
        votes = ", ".join(
            f"{agent} voted {self._votes[agent]!r}" if agent in self._votes else f"{agent} did not vote"
            for agent in without
        )
        message = f"{event.agent} committed, although {votes}"
        facts = {"votes": dict(self._votes), "without yes": without}
        return Violation(COMMIT_VALIDITY.name, message, event.at_ns, (event.agent, *without), facts)

    def finish(self, final: FinalState) -> None:
        return None


COMMIT_VALIDITY: Final = Property(
    "commit_validity", Kind.HISTORY, "Who commits does so because every participant voted yes.", _Checker
)

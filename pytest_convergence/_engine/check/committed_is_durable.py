"""Committed is durable: an agent that holds a committed entry never loses it, not by a crash and not by a message.

Source: Ongaro and Ousterhout (2014), sections 5.3 and 5.4: committed entries are durable, and only entries that conflict
with a leader's log are removed, which committed ones never do.

That is so from the term of the commitment on. An agent that has not come to that term may still hear of an older leader, and
remove its copy of an entry at that one's word; a quorum that has come to that term holds the entry (section 5.4.2).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.logs import Commits
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["COMMITTED_IS_DURABLE"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._commits = Commits()

    def feed(self, event: TraceEvent) -> Violation | None:
        agent = event.agent
        if event.kind == "crash":
            self._commits.crashed(agent)
            return None
        fact, data = fact_of(event)
        _, lost = self._commits.model.take(agent, fact, data)
        self._commits.take(agent, fact, data)
        for placed in lost:
            if self._commits.entries.get(placed.index) == placed.item and (
                fact == "log" or not self._commits.is_behind(agent, placed.index)
            ):
                when = "when it restarted" if fact == "log" else "by removing it from its log"
                message = f"{agent} lost entry {placed.index} ({placed.item}), which is committed, {when}"
                facts = {"index": placed.index, "value": placed.item.value}
                return Violation(COMMITTED_IS_DURABLE.name, message, event.at_ns, (agent,), facts)
        return None

    def finish(self, final: FinalState) -> None:
        return None


COMMITTED_IS_DURABLE: Final = Property(
    "committed_is_durable", Kind.ALWAYS, "An agent that holds a committed entry never loses it.", _Checker
)

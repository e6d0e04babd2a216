"""Leader completeness: what is committed in a term is in the log of every leader of a later term.

Source: Ongaro and Ousterhout (2014), figure 3 and section 5.4.3. "Later" is a matter of terms, not of instants: a leader
of the past may learn late that an entry of its own is committed, and then the leaders that came after must have had it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.logs import Commits, Item, Placed
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["LEADER_COMPLETENESS"]


class _Elected(NamedTuple):
    term: Any
    agent: str
    log: tuple[Item | None, ...]

    def lacks(self, placed: Placed) -> bool:
        """Whether the log of this leader, when it was elected, did not have an entry."""
        return placed.index > len(self.log) or self.log[placed.index - 1] != placed.item


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._commits = Commits()
        self._elected: dict[tuple[Any, str], _Elected] = {}
        self._newest: Any = None

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            self._commits.crashed(event.agent)
            return None
        fact, data = fact_of(event)
        commits = self._commits
        commits.model.take(event.agent, fact, data)
        fresh = commits.take(event.agent, fact, data)
        if fact == "leader" and data.get("term") is not None:
            return self._elect(event, data["term"])
        for placed in fresh:
            found = self._committed_late(event, placed)
            if found is not None:
                return found
        return None

    def _elect(self, event: TraceEvent, term: Any) -> Violation | None:
        key = (term, event.agent)
        if key in self._elected:
            return None  # it says so again
        leader = _Elected(term, event.agent, tuple(self._commits.model.logs.get(event.agent, ())))
        self._elected[key] = leader
        self._newest = term if self._newest is None else max(term, self._newest)
        for index, item in self._commits.entries.items():
            committed = self._commits.terms.get(index)
            if committed is not None and committed < term and leader.lacks(Placed(index, item)):
                return _violation(leader, Placed(index, item), committed, event.at_ns)
        return None

    def _committed_late(self, event: TraceEvent, placed: Placed) -> Violation | None:
        committed = self._commits.terms.get(placed.index)
        if committed is None or self._newest is None or self._newest <= committed:
            return None
        for leader in self._elected.values():
            if leader.term > committed and leader.lacks(placed):
                return _violation(leader, placed, committed, event.at_ns)
        return None

    def finish(self, final: FinalState) -> None:
        return None


def _violation(leader: _Elected, placed: Placed, committed: Any, at_ns: int) -> Violation:
    message = (
        f"{leader.agent} became leader of term {leader.term} without entry {placed.index} ({placed.item}), which was "
        f"committed in term {committed}"
    )
    facts = {
        "index": placed.index,
        "value": placed.item.value,
        "committed in": committed,
        "leader of": leader.term,
    }
    return Violation(LEADER_COMPLETENESS.name, message, at_ns, (leader.agent,), facts)


LEADER_COMPLETENESS: Final = Property(
    "leader_completeness", Kind.ALWAYS, "What is committed is in the log of every later leader.", _Checker
)

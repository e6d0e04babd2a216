"""Log matching: logs that share an entry are equal up to it (Ongaro and Ousterhout 2014, figure 3 and section 5.3).

Judged over all that was ever in a log: an index and a term name one entry, and that entry follows one other. By induction
two logs that share an entry then share all before it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.logs import Item, LogModel, Placed
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["LOG_MATCHING"]


class _Seen(NamedTuple):
    agent: str
    item: Item
    before: Any  # the term of the entry before it, None if nobody spoke of it


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._model = LogModel()
        self._seen: dict[tuple[int, Any], _Seen] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        gained, _ = self._model.take(event.agent, fact, data)
        for placed in gained:
            found = self._compare(event, placed)
            if found is not None:
                return found
        return None

    def _compare(self, event: TraceEvent, placed: Placed) -> Violation | None:
        index, item = placed
        previous = self._model.at(event.agent, index - 1)
        before = 0 if index == 1 else None if previous is None else previous.term
        seen = self._seen.setdefault((index, item.term), _Seen(event.agent, item, before))
        if seen.item != item:
            what = f"holds {item} at index {index}, where {seen.agent} has held {seen.item}"
        elif before is not None and seen.before is not None and seen.before != before:
            what = (
                f"holds {item} at index {index} after an entry of term {before}, where {seen.agent} has held it after one "
                f"of term {seen.before}"
            )
        else:
            return None
        facts = {"index": index, "term": item.term, "values": (seen.item.value, item.value)}
        message = f"{event.agent} {what}"
        return Violation(LOG_MATCHING.name, message, event.at_ns, (seen.agent, event.agent), facts)

    def finish(self, final: FinalState) -> None:
        return None


LOG_MATCHING: Final = Property(
    "log_matching", Kind.ALWAYS, "Logs that share an entry are equal up to it.", _Checker
)

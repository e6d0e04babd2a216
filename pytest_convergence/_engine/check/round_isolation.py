"""Round isolation: what counts in a round was answered in that round.

Rounds of an asynchronous system are simulated by numbering the messages (N. Lynch, *Distributed Algorithms*, 1996,
chapter 16 on synchronizers): one of an earlier round that comes late must not be taken for one of the present.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.state.three_way import compares, same

__all__ = ["ROUND_ISOLATION"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._answers: dict[str, list[tuple[Any, Any, tuple[Any, ...]]]] = {}  # by agent: round, part, value

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "part_answered":
            answer = (data.get("round"), data.get("part", event.agent), _value(data))
            self._answers.setdefault(event.agent, []).append(answer)
            return None
        return self._count(event, data) if fact == "part_counted" else None

    def _count(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        number, part = data.get("round"), data.get("part")
        by = str(data.get("by", part))
        answers = self._answers.get(by)
        if answers is None:
            return None  # it does not say what it answers
        given = [answer for answer in answers if answer[1] == part]
        if any(answer[0] == number and _may_be(answer[2], _value(data)) for answer in given):
            return None
        older = [answer[0] for answer in given if answer[0] != number and _may_be(answer[2], _value(data))]
        if not older:
            message = (
                f"{event.agent} counted in round {number} an answer of {by} to {part!r} that {by} never gave"
            )
        else:
            message = f"{event.agent} counted in round {number} what {by} had answered to {part!r} in round {older[-1]}"
        facts = {"round": number, "part": part, "by": by, "answered in": tuple(older)}
        return Violation(ROUND_ISOLATION.name, message, event.at_ns, (event.agent, by), facts)

    def finish(self, final: FinalState) -> None:
        return None


def _value(data: Mapping[str, Any]) -> tuple[Any, ...]:
    return (data["value"],) if "value" in data else ()


def _may_be(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two facts may speak of one value; where one does not say, or values do not compare, they may."""
    return not one or not other or not compares(one[0]) or same(one[0], other[0])


ROUND_ISOLATION: Final = Property(
    "round_isolation", Kind.HISTORY, "What counts in a round was answered in that round.", _Checker
)

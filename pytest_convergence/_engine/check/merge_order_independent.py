"""Merge order independent: the result does not depend on the order in which the parts came in.

An agent that merges says in which order (``merged`` with ``order``; without it, the order of its ``part_counted`` is
assumed). If that is not the declared order (``round`` with ``parts``), the parts are merged once more, in the declared
order, by the ``merge`` that the run was given: the results must be equal. A merge that is ``async`` cannot be asked here.

Source: M. Shapiro et al., *Conflict-free Replicated Data Types* (2011), section 2.3: what is merged in any order must
be joined by a commutative and associative function, or be put in order first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rounds import Rounds
from pytest_convergence._engine.state.combining import combine_plainly
from pytest_convergence._engine.state.three_way import compares, same

__all__ = ["MERGE_ORDER_INDEPENDENT"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._rounds = Rounds()
        self._inputs = scope.inputs

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "round":
            self._rounds.begin(event.agent, data)
        elif fact == "part_counted":
            self._rounds.count(event.agent, data)
        elif fact == "merged" and "value" in data:
            return self._merged(event, data)
        return None

    def _merged(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        found = self._rounds.of(event.agent, data)
        order = list(data.get("order", found.counted))
        declared = [part for part in found.parts if part in order]
        merge = self._inputs.get("merge")
        values = {part: found.counted[part].value for part in declared if part in found.counted}
        if (
            order == declared
            or len(declared) < len(order)
            or merge is None
            or len(values) < len(order)
            or not all(values.values())
        ):
            return None
        parts = {part: value[0] for part, value in values.items()}
        again = combine_plainly(merge, parts, self._inputs.get("base"))
        if again is None or not compares(again[0]) or same(again[0], data["value"]):
            return None
        message = (
            f"{event.agent} merged the parts of round {found.number} in the order {', '.join(map(str, order))}, which gave "
            f"{data['value']!r}; in the declared order ({', '.join(map(str, declared))}) they give {again[0]!r}"
        )
        facts = {"round": found.number, "order": tuple(order), "value": data["value"], "declared": again[0]}
        return Violation(MERGE_ORDER_INDEPENDENT.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


MERGE_ORDER_INDEPENDENT: Final = Property(
    "merge_order_independent",
    Kind.HISTORY,
    "The result does not depend on the order in which the parts came in.",
    _Checker,
)

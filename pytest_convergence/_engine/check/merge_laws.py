"""Merge laws: the join of a run is commutative, associative and idempotent on the values of that very run.

Judged where the run was given ``merge="crdt"``, which joins objects by their own ``join`` or ``merge``. Of more than a few
parts only the first are tried, for the number of combinations grows with its cube.

Source: M. Shapiro et al., *Conflict-free Replicated Data Types* (2011), section 2.3: the merge of states is the join of a
semilattice.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any, Final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rounds import Rounds
from pytest_convergence._engine.state.plain_join import join_values
from pytest_convergence._engine.state.three_way import compares, same

__all__ = ["MERGE_LAWS"]

_MOST: Final = 6
_JOINS: Final = "crdt"


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._rounds = Rounds()
        self._joins = scope.inputs.get("merge") == _JOINS

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if not self._joins:
            return None
        if fact == "round":
            self._rounds.begin(event.agent, data)
        elif fact == "part_counted":
            self._rounds.count(event.agent, data)
        elif fact == "merged":
            return self._judge(event, data)
        return None

    def _judge(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        found = self._rounds.of(event.agent, data)
        values = [counted.value[0] for counted in found.counted.values() if counted.value]
        broken = _broken_law([value for value in values if compares(value)][:_MOST])
        if broken is None:
            return None
        law, results = broken
        message = f"the join of round {found.number} is not {law}: it gives {results[0]!r} and {results[1]!r}"
        facts = {"round": found.number, "law": law, "results": results}
        return Violation(MERGE_LAWS.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


class _NoJoin(Exception):
    """Two values have no join: laws do not apply to them."""


def _join(one: Any, other: Any) -> Any:
    value, conflicts = join_values({"one": snapshot(one), "other": snapshot(other)})
    if conflicts:
        raise _NoJoin
    return value


def _broken_law(values: list[Any]) -> tuple[str, tuple[Any, Any]] | None:
    """Return the first law that some of ``values`` break, and the two results that should be equal."""
    for group in (*product(values), *combinations(values, 2), *combinations(values, 3)):
        try:
            law, left, right = _sides(*group)
        except _NoJoin:
            continue
        if not same(left, right):
            return law, (left, right)
    return None


def _sides(*group: Any) -> tuple[str, Any, Any]:
    """Return the law for one, two or three values, and its two sides."""
    if len(group) == 1:
        return "idempotent", _join(group[0], group[0]), group[0]
    if len(group) == 2:
        return "commutative", _join(*group), _join(*reversed(group))
    x, y, z = group
    return "associative", _join(_join(x, y), z), _join(x, _join(y, z))


MERGE_LAWS: Final = Property(
    "merge_laws",
    Kind.HISTORY,
    "A join is commutative, associative and idempotent on the values of the run.",
    _Checker,
)

"""Three-way identities: who changed nothing has no say, who changed alike is one voice, and no conflict is dropped.

``merge(b, x, b) = x``, ``merge(b, b, y) = y``, ``merge(b, x, x) = x``, and conflicts do not depend on which side is which
(the laws of a three-way merge: S. Khanna, K. Kunal, B. Pierce, *A Formal Investigation of Diff3*, 2007, section 4; of trees
T. Lindholm, *A Three-way Merge for XML Documents*, 2004). Judged where the run was given ``merge="three-way"``: of the merge
itself on the parts of that very run, and of what the merging agent says that it made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.rounds import Rounds
from pytest_convergence._engine.state.patches import PATCHES
from pytest_convergence._engine.state.three_way import Merged, compares, merge_sides, same, three_way_merge

__all__ = ["THREE_WAY_IDENTITIES"]

_MOST: Final = 6
_THREE_WAY: Final = "three-way"


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"round", "part_counted", "merged"})

    def __init__(self, scope: Scope) -> None:
        self._rounds = Rounds()
        self._applies = scope.inputs.get("merge") == _THREE_WAY and compares(scope.inputs.get("base"))
        self._base = scope.inputs.get("base")
        pattern = getattr(scope.subject, "pattern", None)
        self._understand = PATCHES.get(getattr(pattern, "results", ""))

    def feed(self, event: TraceEvent) -> Violation | None:
        if not self._applies:
            return None
        fact, data = fact_of(event)
        if fact == "round":
            self._rounds.begin(event.agent, data)
        elif fact == "part_counted":
            self._rounds.count(event.agent, data)
        elif fact == "merged":
            return self._judge(event, data)
        return None

    def _judge(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        found = self._rounds.of(event.agent, data)
        missing = {str(part) for part in data.get("missing", ())}
        told = {str(part): each.value for part, each in found.counted.items() if str(part) not in missing}
        if not told or not all(told.values()):
            return None
        parts = {part: self._document(value[0]) for part, value in told.items()}
        if not all(map(compares, parts.values())):
            return None
        broken = _broken(self._base, list(parts.values())[:_MOST]) or self._made(parts, data)
        if broken is None:
            return None
        message = f"the three-way merge of round {found.number} {broken}"
        return Violation(
            THREE_WAY_IDENTITIES.name,
            message,
            event.at_ns,
            (event.agent,),
            {"round": found.number, "parts": parts},
        )

    def _document(self, value: Any) -> Any:
        return value if self._understand is None else self._understand(self._base, value)

    def _made(self, parts: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
        """Say what is wrong with the result that was told, if anything is."""
        changed = [value for value in parts.values() if not same(value, self._base)]
        told, value = _paths(data.get("conflicts", ())), data.get("value")
        if not changed or all(same(each, changed[0]) for each in changed):
            expected = changed[0] if changed else self._base
            who = (
                "nobody changed anything" if not changed else f"all who changed anything made it {expected!r}"
            )
            if "value" in data and not same(value, expected):
                return f"came to {value!r}, and {who}"
            return f"reports conflicts at {', '.join(told)}, and {who}" if told else None
        merged, conflicts = merge_sides(self._base, parts)
        dropped = [each.path for each in conflicts if each.path not in told]
        if dropped:
            return f"drops a conflict in silence: at {dropped[0] or 'the whole value'} sides differ"
        if not conflicts and "value" in data and not same(value, merged):
            return f"came to {value!r}, and what each side changed is {merged!r}"
        return None

    def finish(self, final: FinalState) -> None:
        return None


def _paths(conflicts: Iterable[Any]) -> list[str]:
    return [str(getattr(each, "path", each)) for each in conflicts]


def _broken(base: Any, values: list[Any]) -> str | None:
    """Return the first identity that the merge itself breaks on these values."""
    for x in values:
        for name, made in (
            ("merge(b, x, b) = x", three_way_merge(base, x, base)),
            ("merge(b, b, x) = x", three_way_merge(base, base, x)),
            ("merge(b, x, x) = x", three_way_merge(base, x, x)),
        ):
            if made.conflicts or not same(made.value, x):
                return f"breaks {name}: of {x!r} it makes {made.value!r}"
    for x, y in combinations(values, 2):
        one, other = three_way_merge(base, x, y), three_way_merge(base, y, x)
        if _sides(one) != _sides(other) or not same(one.value, other.value):
            return f"is not symmetric: {one.value!r} one way and {other.value!r} the other"
    return None


def _sides(merged: Merged) -> list[str]:
    return [each.path for each in merged.conflicts]


THREE_WAY_IDENTITIES: Final = Property(
    "three_way_identities",
    Kind.HISTORY,
    "Who changed nothing has no say, who changed alike is one voice, and no conflict is dropped, whichever side is which.",
    _Checker,
)
"""Judged on ``part_counted`` and ``merged`` facts."""

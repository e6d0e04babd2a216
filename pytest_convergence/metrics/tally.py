"""Plain counters that add up: builtin types alone, so a worker can send them and the controller can merge them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, final

from pytest_convergence.metrics.definitions import (
    LABELLED,
    OUTCOMES,
    SPREADS,
    STRATEGY_SUMS,
    SUMS,
    TO_CONVERGE,
    applies,
)

__all__ = ["Distribution", "PatternCounters", "Tally"]


@final
class Distribution:
    """How many values lay where.

    Attributes:
        counts: how many lay at or below each bound and above the one before; the last counts those above all.
        total: their sum.
    """

    __slots__ = ("counts", "total")

    def __init__(self, counts: list[int], total: float = 0.0) -> None:
        self.counts = counts
        self.total = total

    @property
    def number(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Their mean; 0 if there were none."""
        number = self.number
        return self.total / number if number else 0.0


def _add_to(counts: dict[str, float], name: str, number: float) -> None:
    counts[name] = counts.get(name, 0) + number


@final
class PatternCounters:
    """What the sessions of one pattern did.

    Attributes:
        outcomes: how many sessions ended how.
        sums: the numbers of :class:`RunMetrics` that add up.
        spreads: the distributions over sessions.
        slowest_seconds: the longest virtual time to converge.
    """

    __slots__ = ("outcomes", "slowest_seconds", "spreads", "sums")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.sums: dict[str, float] = dict.fromkeys(SUMS, 0)
        self.spreads = {
            name: Distribution([0] * (len(spread.bounds) + 1)) for name, spread in SPREADS.items()
        }
        self.slowest_seconds = 0.0

    @property
    def sessions(self) -> int:
        """How many sessions ended."""
        return sum(self.outcomes.values())

    @property
    def to_converge(self) -> Distribution:
        """How long those that converged took to, in virtual seconds."""
        return self.spreads[TO_CONVERGE]

    def add(self, numbers: Mapping[str, Any]) -> None:
        """Count one session."""
        self.outcomes[numbers["outcome"]] += 1
        sums = self.sums
        for name in SUMS:
            number = numbers[name]
            if number:
                sums[name] += number
        for name, spread in SPREADS.items():
            if applies(name, numbers):
                value = numbers[spread.field]
                distribution = self.spreads[name]
                distribution.counts[bisect_left(spread.bounds, value)] += 1
                distribution.total += value
        if numbers["outcome"] == "converged":
            self.slowest_seconds = max(self.slowest_seconds, numbers["convergence_seconds"])

    def as_wire(self) -> dict[str, Any]:
        """Return the counters as builtin types."""
        return {
            "outcomes": self.outcomes,
            "sums": self.sums,
            "spreads": {name: [each.counts, each.total] for name, each in self.spreads.items()},
            "slowest_seconds": self.slowest_seconds,
        }

    def merge(self, wire: Mapping[str, Any]) -> None:
        """Add what :meth:`as_wire` gave elsewhere."""
        for name, count in wire["outcomes"].items():
            self.outcomes[name] += count
        for name, number in wire["sums"].items():
            self.sums[name] += number
        for name, (counts, total) in wire["spreads"].items():
            mine = self.spreads[name]
            mine.counts = [one + other for one, other in zip(mine.counts, counts, strict=True)]
            mine.total += total
        self.slowest_seconds = max(self.slowest_seconds, wire["slowest_seconds"])


@final
class Tally:
    """What sessions did: of a test, of a worker, of a whole pytest session.

    Attributes:
        patterns: the counters by pattern, in the order in which patterns were first seen.
        strategies: sums of the synchronisation, by its strategy.
        labelled: by field of :class:`RunMetrics` and joined label values.
        active: sessions that were made and have not ended, by the state that they are in.
        schedules: how many schedules test bodies ran under.
        sometimes: by test and property, whether some run reached it.
    """

    __slots__ = ("active", "labelled", "patterns", "schedules", "sometimes", "strategies")

    def __init__(self) -> None:
        self.patterns: dict[str, PatternCounters] = {}
        self.strategies: dict[str, dict[str, float]] = {}
        self.labelled: dict[str, dict[str, float]] = {}
        self.active: dict[str, float] = {}
        self.schedules = 0
        self.sometimes: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def add(self, numbers: Mapping[str, Any]) -> None:
        """Count one session by the numbers of its run (``outcome.metrics.as_dict()``)."""
        self._of(numbers["pattern"]).add(numbers)
        if numbers["sync_operations"]:
            sums = self.strategies.setdefault(numbers["sync"], dict.fromkeys(STRATEGY_SUMS, 0))
            for name in STRATEGY_SUMS:
                sums[name] += numbers[name]
        for row in LABELLED:
            for labels, count in numbers[row.field].items():
                _add_to(self.labelled.setdefault(row.field, {}), labels, count)

    def note_active(self, state: str) -> None:
        """Note a session that was made and has not ended."""
        _add_to(self.active, state, 1)

    def note_sometimes(self, name: str, reached: bool) -> None:
        """Note whether a run reached the *sometimes* property ``name``."""
        self.sometimes[name] = self.sometimes.get(name, False) or reached

    def _of(self, pattern: str) -> PatternCounters:
        found = self.patterns.get(pattern)
        if found is None:
            found = self.patterns[pattern] = PatternCounters()
        return found

    def as_wire(self) -> dict[str, Any]:
        """Return everything as builtin types, to cross a process boundary."""
        return {
            "patterns": {pattern: counters.as_wire() for pattern, counters in self.patterns.items()},
            "strategies": self.strategies,
            "labelled": self.labelled,
            "active": self.active,
            "schedules": self.schedules,
            "sometimes": self.sometimes,
        }

    def merge(self, wire: Mapping[str, Any]) -> None:
        """Add what :meth:`as_wire` gave, here or in another process."""
        for pattern, counters in wire["patterns"].items():
            self._of(pattern).merge(counters)
        for mine, theirs in ((self.strategies, wire["strategies"]), (self.labelled, wire["labelled"])):
            for name, numbers in theirs.items():
                for key, number in numbers.items():
                    _add_to(mine.setdefault(name, {}), key, number)
        for state, count in wire["active"].items():
            _add_to(self.active, state, count)
        self.schedules += wire["schedules"]
        for name, reached in wire["sometimes"].items():
            self.note_sometimes(name, reached)

    def total(self, name: str) -> float:
        """Add up one number over all patterns."""
        return sum(counters.sums[name] for counters in self.patterns.values())

    def total_of(self, field: str) -> float:
        """Add up what is counted by labels."""
        return sum(self.labelled.get(field, {}).values())

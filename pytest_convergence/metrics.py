"""What sessions did, in numbers: plain counters that add up, and their rendering for Prometheus.

1. A :class:`Tally` counts. It consists of builtin types only, so a worker can send it and the controller can merge it.
2. :class:`TallyCollector` shows a tally to prometheus_client at the moment of a scrape. It lives in one
   ``CollectorRegistry`` of the pytest session, never in the process-wide default.
3. Names follow Prometheus' conventions: base units, counters end in ``_total``. Labels are only ``pattern``, ``outcome`` and
   ``fate``, whose values are few; never a test or an agent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = [
    "BUCKETS",
    "OUTCOMES",
    "PatternCounters",
    "Tally",
    "TallyCollector",
    "registry_of",
    "write_metrics",
]

OUTCOMES: Final = ("converged", "diverged", "failed")
FATES: Final = ("sent", "received", "lost", "duplicated")
_SUMS: Final = (
    *FATES,
    "protocol_messages",
    "rounds",
    "conflicts",
    "unresolved",
    "handoffs",
    "crashes",
    "events",
    "virtual_seconds",
    "real_seconds",
)

BUCKETS: Final = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
"""Upper bounds of the histogram of times to converge, in virtual seconds; one more bucket is for what lies above."""


@final
class PatternCounters:
    """What the sessions of one pattern did.

    Attributes:
        outcomes: how many sessions ended how.
        sums: the numbers of :class:`RunMetrics` that add up.
        buckets: how many converged sessions took how long, by the bounds in :data:`BUCKETS`.
        seconds_to_converge: their virtual seconds until views last changed, added up.
        slowest_seconds: the longest of those.
    """

    __slots__ = ("buckets", "outcomes", "seconds_to_converge", "slowest_seconds", "sums")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.sums: dict[str, float] = dict.fromkeys(_SUMS, 0)
        self.buckets: list[int] = [0] * (len(BUCKETS) + 1)
        self.seconds_to_converge = 0.0
        self.slowest_seconds = 0.0

    @property
    def sessions(self) -> int:
        """How many sessions ended."""
        return sum(self.outcomes.values())

    def add(self, numbers: Mapping[str, Any]) -> None:
        """Count one session."""
        self.outcomes[numbers["outcome"]] += 1
        for name in _SUMS:
            self.sums[name] += numbers[name]
        if numbers["outcome"] == "converged":
            seconds = numbers["convergence_seconds"]
            self.buckets[bisect_left(BUCKETS, seconds)] += 1
            self.seconds_to_converge += seconds
            self.slowest_seconds = max(self.slowest_seconds, seconds)

    def as_wire(self) -> dict[str, Any]:
        """Return the counters as builtin types."""
        return {name: getattr(self, name) for name in self.__slots__}

    def merge(self, wire: Mapping[str, Any]) -> None:
        """Add what :meth:`as_wire` gave elsewhere."""
        for name, count in wire["outcomes"].items():
            self.outcomes[name] += count
        for name, number in wire["sums"].items():
            self.sums[name] += number
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, wire["buckets"], strict=True)]
        self.seconds_to_converge += wire["seconds_to_converge"]
        self.slowest_seconds = max(self.slowest_seconds, wire["slowest_seconds"])


@final
class Tally:
    """What sessions did: of a test, of a worker, of a whole pytest session.

    Attributes:
        patterns: the counters by pattern, in the order in which patterns were first seen.
        schedules: how many schedules test bodies ran under.
        sometimes: by test and property, whether some run reached it.
    """

    __slots__ = ("patterns", "schedules", "sometimes")

    def __init__(self) -> None:
        self.patterns: dict[str, PatternCounters] = {}
        self.schedules = 0
        self.sometimes: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def add(self, numbers: Mapping[str, Any]) -> None:
        """Count one session by the numbers of its run (``outcome.metrics.as_dict()``)."""
        self._of(numbers["pattern"]).add(numbers)

    def note_sometimes(self, name: str, reached: bool) -> None:
        """Note whether a run reached the *sometimes* property ``name``."""
        self.sometimes[name] = self.sometimes.get(name, False) or reached

    def _of(self, pattern: str) -> PatternCounters:
        return self.patterns.setdefault(pattern, PatternCounters())

    def as_wire(self) -> dict[str, Any]:
        """Return everything as builtin types, to cross a process boundary."""
        return {
            "patterns": {pattern: counters.as_wire() for pattern, counters in self.patterns.items()},
            "schedules": self.schedules,
            "sometimes": self.sometimes,
        }

    def merge(self, wire: Mapping[str, Any]) -> None:
        """Add what :meth:`as_wire` gave, here or in another process."""
        for pattern, counters in wire["patterns"].items():
            self._of(pattern).merge(counters)
        self.schedules += wire["schedules"]
        for name, reached in wire["sometimes"].items():
            self.note_sometimes(name, reached)

    def total(self, name: str) -> float:
        """Add up one number over all patterns."""
        return sum(counters.sums[name] for counters in self.patterns.values())


@final
class TallyCollector:
    """Shows a tally to prometheus_client."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands now."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        tally = self._tally
        sessions = CounterMetricFamily(
            "convergence_sessions", "Sessions by pattern and outcome.", labels=["pattern", "outcome"]
        )
        rounds = CounterMetricFamily(
            "convergence_rounds", "Rounds or elections by pattern.", labels=["pattern"]
        )
        times = HistogramMetricFamily(
            "convergence_time_to_converge_seconds",
            "Virtual seconds until the views of a converged session last changed.",
            labels=["pattern"],
        )
        for pattern, counters in tally.patterns.items():
            for outcome, count in counters.outcomes.items():
                sessions.add_metric([pattern, outcome], count)
            rounds.add_metric([pattern], counters.sums["rounds"])
            times.add_metric([pattern], _cumulated(counters.buckets), counters.seconds_to_converge)
        messages = CounterMetricFamily("convergence_messages", "Messages by fate.", labels=["fate"])
        for fate in FATES:
            messages.add_metric([fate], tally.total(fate))
        yield from (sessions, rounds, times, messages)
        for name, words, value in (
            ("protocol_messages", "Messages that were the patterns' or the synchronisation's.", None),
            ("conflicts", "Concurrent writes that did not agree.", None),
            ("unresolved_conflicts", "Conflicts that were left unresolved.", tally.total("unresolved")),
            ("handoffs", "Tasks that changed hands.", None),
            ("crashes", "Lives of agents that ended early.", None),
            ("events", "Steps and events in simulated worlds.", None),
            ("virtual_seconds", "Virtual time that sessions took.", None),
            ("real_seconds", "Real time that sessions took.", None),
            ("schedules", "Schedules that test bodies ran under.", tally.schedules),
        ):
            yield CounterMetricFamily(
                f"convergence_{name}", words, value=tally.total(name) if value is None else value
            )


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    """Return buckets as Prometheus wants them: each with all that lies below its bound."""
    bounds = [*map(str, BUCKETS), "+Inf"]
    return [(bound, float(sum(counts[: place + 1]))) for place, bound in enumerate(bounds)]


def registry_of(tally: Tally) -> CollectorRegistry:
    """Make a registry of its own that shows ``tally`` and nothing else."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(TallyCollector(tally))
    return registry


def write_metrics(path: Path, registry: CollectorRegistry) -> None:
    """Write what ``registry`` shows to ``path``, in Prometheus' text format, at one stroke.

    Raises:
        OSError: the file cannot be written.
    """
    from prometheus_client import write_to_textfile

    write_to_textfile(str(path), registry)

"""Shows counters to prometheus_client at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

from pytest_convergence.metrics.definitions import (
    BY_PATTERN,
    BY_STRATEGY,
    FATES,
    LABELLED,
    NONE,
    OF_PATTERN,
    PENDING,
    SPREADS,
    UNLABELLED,
    WINDOW,
)
from pytest_convergence.metrics.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["TallyCollector", "registry_of", "write_metrics"]


@final
class TallyCollector:
    """Shows a tally to prometheus_client."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it stands now."""
        yield from self._sessions()
        yield from self._sums()
        yield from self._by_labels()
        yield from self._spreads()
        yield from self._latencies()

    def _sessions(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        tally = self._tally
        labels = ["pattern", "outcome"]
        sessions = CounterMetricFamily("convergence_sessions", "Sessions that ended.", labels=labels)
        executions = CounterMetricFamily(
            "convergence_pattern_executions", "Sessions with a pattern that ended.", labels=labels
        )
        for pattern, counters in tally.patterns.items():
            for outcome, count in counters.outcomes.items():
                sessions.add_metric([pattern, outcome], count)
                if pattern != NONE:
                    executions.add_metric([pattern, outcome], count)
        active = GaugeMetricFamily(
            "convergence_active_sessions",
            "Sessions that were made and have not ended; the type is their state.",
            labels=["type"],
        )
        for state, number in sorted(tally.active.items()):
            active.add_metric([state], number)
        messages = CounterMetricFamily(
            "convergence_messages", "Messages by what became of them.", labels=["outcome"]
        )
        for fate in FATES:
            messages.add_metric([fate], tally.total(fate))
        yield from (sessions, executions, active, messages)

    def _sums(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        tally = self._tally
        for row in BY_PATTERN:
            counter = CounterMetricFamily(f"convergence_{row.name}", row.words, labels=["pattern"])
            for pattern, counters in tally.patterns.items():
                counter.add_metric([pattern], _to_ns(counters.sums[row.field]))
            yield counter
        for row in BY_STRATEGY:
            counter = CounterMetricFamily(f"convergence_{row.name}", row.words, labels=["strategy"])
            for strategy, sums in tally.strategies.items():
                counter.add_metric([strategy], _to_ns(sums[row.field]))
            yield counter
        for row in UNLABELLED:
            yield CounterMetricFamily(
                f"convergence_{row.name}", row.words, value=_to_ns(tally.total(row.field))
            )
        yield CounterMetricFamily(
            "convergence_schedules", "Schedules that test bodies ran under.", value=tally.schedules
        )
        for row in PENDING:
            yield GaugeMetricFamily(f"convergence_{row.name}", row.words, value=tally.total(row.field))

    def _by_labels(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        for row in LABELLED:
            counter = CounterMetricFamily(f"convergence_{row.name}", row.words, labels=list(row.labels))
            for values, count in sorted(self._tally.labelled.get(row.field, {}).items()):
                counter.add_metric(values.rsplit("/", len(row.labels) - 1), count)
            yield counter

    def _spreads(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily

        for name, spread in SPREADS.items():
            histogram = HistogramMetricFamily(f"convergence_{name}", spread.words, labels=["pattern"])
            for pattern, counters in self._tally.patterns.items():
                distribution = counters.spreads[name]
                if distribution.number or name not in (OF_PATTERN, WINDOW):
                    buckets = _cumulated(distribution.counts, spread.bounds)
                    histogram.add_metric([pattern], buckets, _to_ns(distribution.total))
            yield histogram

    def _latencies(self) -> Iterator[Metric]:
        from prometheus_client.core import SummaryMetricFamily

        tally = self._tally
        for what, words in (
            ("conflict", "Virtual seconds from the detection of a conflict to its resolution."),
            ("handoff", "Virtual seconds from the request of a handoff to its end."),
        ):
            count = tally.total_of("resolutions_by" if what == "conflict" else "handoffs_by")
            yield SummaryMetricFamily(
                f"convergence_{what}_duration_seconds",
                words,
                count_value=int(count),
                sum_value=tally.total(f"{what}_seconds"),
            )
        latency = SummaryMetricFamily(
            "convergence_sync_latency_seconds",
            "Virtual seconds that messages of the synchronisation took to arrive.",
            labels=["strategy"],
        )
        for strategy, sums in tally.strategies.items():
            latency.add_metric([strategy], int(sums["sync_delivered"]), _to_ns(sums["sync_seconds"]))
        yield latency


def _to_ns(total: float) -> float:
    """Round a sum to nanoseconds: the order in which workers' numbers came in must not show in its last digits."""
    return round(total, 9)


def _cumulated(counts: list[int], bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    """Return buckets as Prometheus wants them: each with all that lies below its bound."""
    named = [*map(str, bounds), "+Inf"]
    return [(bound, float(sum(counts[: place + 1]))) for place, bound in enumerate(named)]


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

"""The text of the summary's section: a row for each pattern, and what holds for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_convergence.metrics import PatternCounters, Tally

__all__ = ["format_seconds", "summary_lines"]

_HEADINGS = (
    "pattern",
    "sessions",
    "converged",
    "diverged",
    "failed",
    "rounds",
    "to converge",
    "sent",
    "lost",
    "duplicated",
    "conflicts",
    "handoffs",
)


def format_seconds(seconds: float) -> str:
    """Write a duration for people: ``350 us``, ``12.5 ms``, ``3.2 s``, ``24 h``."""
    for limit, divisor, unit in ((0.001, 1e-6, "us"), (1, 1e-3, "ms"), (600, 1, "s"), (36_000, 60, "min")):
        if seconds < limit:
            return f"{seconds / divisor:.3g} {unit}"
    return f"{seconds / 3600:,.3g} h" if seconds < 3_600_000 else f"{seconds / 3600:,.0f} h"


def _row(pattern: str, counters: PatternCounters) -> tuple[str, ...]:
    outcomes, sums = counters.outcomes, counters.sums
    converged = outcomes["converged"]
    mean = format_seconds(counters.to_converge.mean) if converged else "-"
    return (
        pattern,
        f"{counters.sessions:,}",
        *(f"{outcomes[outcome]:,}" for outcome in ("converged", "diverged", "failed")),
        f"{sums['rounds']:,}",
        mean,
        *(f"{sums[name]:,}" for name in ("sent", "lost", "duplicated", "conflicts", "handoffs")),
    )


_FINDINGS = (
    ("violations", "property violated", "properties violated"),
    ("lost_updates", "lost update", "lost updates"),
    ("stale_reads", "stale read", "stale reads"),
    ("duplicate_effects", "duplicate effect", "duplicate effects"),
    ("dead_letters", "dead letter", "dead letters"),
    ("unresolved", "conflict unresolved", "conflicts unresolved"),
    ("handoffs_pending", "handoff pending", "handoffs pending"),
)
"""What a person may want to look into."""


def _listed(counts: Iterable[tuple[float, str]]) -> str:
    """Write what is not zero: ``2 crashes, 1 partition``."""
    return ", ".join(f"{count:,.0f} {words}" for count, words in counts if count)


def _to_act_on(tally: Tally) -> Iterator[str]:
    """Yield what happened beside the table; nothing about what did not happen."""
    totals = [(tally.total(field), one, many) for field, one, many in _FINDINGS]
    found = _listed((count, one if count == 1 else many) for count, one, many in totals)
    if found:
        yield f"to look into: {found}"
    struck = _listed((count, fault) for fault, count in sorted(tally.labelled.get("faults", {}).items()))
    if struck:
        yield f"faults: {struck}"
    elections, unled = tally.total("elections"), tally.total("unavailable_seconds")
    if elections:
        yield (
            f"elections: {elections:,.0f}; {format_seconds(unled / elections)} without a leader for each, on average"
        )
    retries = tally.total("retries")
    if retries:
        yield f"retries: {retries:,.0f}"
    for strategy, sums in sorted(tally.strategies.items()):
        yield f"{strategy} sync: {sums['sync_operations']:,.0f} messages, {sums['sync_bytes']:,.0f} bytes"


def summary_lines(tally: Tally) -> Iterator[str]:
    """Yield the lines of the section."""
    rows = [_HEADINGS, *(_row(pattern, counters) for pattern, counters in sorted(tally.patterns.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for first, *rest in rows:
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        yield "  ".join(cells).rstrip()
    virtual, real = tally.total("virtual_seconds"), tally.total("real_seconds")
    pace = f", {virtual / real:,.0f} times as fast" if real > 0 and virtual > real else ""
    yield from _to_act_on(tally)
    count = tally.schedules
    yield (
        f"{count:,} schedule{'s' * (count != 1)} explored; {format_seconds(virtual)} of virtual time in "
        f"{format_seconds(real)} of real time{pace}"
    )
    unreached = sorted(name for name, reached in tally.sometimes.items() if not reached)
    if unreached:
        yield "never reached by any run (the test may be vacuous):"
        yield from (f"  {name}" for name in unreached)

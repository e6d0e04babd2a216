"""The text of the summary's section: a row for each pattern, and what holds for all."""

from __future__ import annotations

from collections.abc import Iterator

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
    mean = format_seconds(counters.seconds_to_converge / converged) if converged else "-"
    return (
        pattern,
        f"{counters.sessions:,}",
        *(f"{outcomes[outcome]:,}" for outcome in ("converged", "diverged", "failed")),
        f"{sums['rounds']:,}",
        mean,
        *(f"{sums[name]:,}" for name in ("sent", "lost", "duplicated", "conflicts", "handoffs")),
    )


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
    count = tally.schedules
    yield (
        f"{count:,} schedule{'s' * (count != 1)} explored; {format_seconds(virtual)} of virtual time in "
        f"{format_seconds(real)} of real time{pace}"
    )
    unreached = sorted(name for name, reached in tally.sometimes.items() if not reached)
    if unreached:
        yield "never reached by any run (the test may be vacuous):"
        yield from (f"  {name}" for name in unreached)

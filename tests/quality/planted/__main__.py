"""Measure the planted bugs: ``python -m tests.quality.planted [--seeds 20] [--twins 500] [--sizes 10] [ID …]``.

For each bug: how often a schedule shows it, in how many of so many searches it is found within its budget, how many
schedules that takes in the median, how often its twin raised an alarm, and how many deviations its counterexample takes, by
so many seeds, next to the fewest that anybody has seen. Last comes the median of these sizes over all bugs.

With ``--results FILE``, what was measured is kept in the file after each search: a further run adds to it until there are as
many seeds and schedules as asked for, so a long measurement may be stopped at any time. Begin another file when the code
changes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.quality.planted import golden
from tests.quality.planted.bug import Bug
from tests.quality.planted.registry import BUGS
from tests.quality.planted.trials import found_by, search

_PORTION: Final = 100
"""So many schedules are one search of a twin, or of a rate; each portion has a base seed of its own."""

Row = dict[str, Any]


def _fresh() -> Row:
    return {"shown": 0, "rates": 0, "found": {}, "alarms": [], "twins": 0, "cpu": 0.0, "sizes": {}}


def add_rate(bug: Bug, row: Row, schedules: int) -> None:
    """Count in how many of a portion of schedules the bug shows."""
    runs = search(bug.case, bug.id, row["rates"], schedules)
    row["shown"] += sum(bool(run.verdict) for run in runs)
    row["rates"] += schedules


def add_search(bug: Bug, row: Row) -> None:
    """Search by the next seed; keep after how many schedules the bug was found, if it was, by a property meant for it."""
    seed = len(row["found"]) + 1
    found = found_by(bug, seed)
    right = found is not None and bool(set(found.verdict.broken) & set(bug.caught_by))
    row["found"][str(seed)] = found.number if right and found is not None else None


def add_twins(bug: Bug, row: Row, schedules: int) -> None:
    """Run the twin under a portion of schedules; keep the alarms that it raised."""
    runs = search(bug.twin, f"twin of {bug.id}", row["twins"], schedules)
    row["alarms"] += [run.verdict.words.partition("\n")[0] for run in runs if run.verdict]
    row["twins"] += schedules


def add_size(bug: Bug, row: Row, seconds: float) -> None:
    """Search by the next seed as a test does; keep how many deviations the counterexample takes, if there is one."""
    seed = len(row["sizes"]) + 1
    row["sizes"][str(seed)] = golden.shrunk_size(bug, seed, seconds)


def measure(bug: Bug, row: Row, asked: argparse.Namespace, keep: Callable[[], None]) -> None:
    """Add to what was measured of a bug until it is as much as was asked for."""

    def timed(add: Callable[..., None], *arguments: object) -> None:
        began = time.process_time()
        add(bug, row, *arguments)
        row["cpu"] += time.process_time() - began
        keep()

    while row["rates"] < asked.rates:
        timed(add_rate, min(_PORTION, asked.rates - row["rates"]))
    while len(row["found"]) < asked.seeds:
        timed(add_search)
    while row["twins"] < asked.twins:
        timed(add_twins, min(_PORTION, asked.twins - row["twins"]))
    while len(row.setdefault("sizes", {})) < asked.sizes:
        timed(add_size, asked.shrink_seconds)


def line(bug: Bug, row: Row) -> str:
    """One line of the table."""
    numbers = [number for number in row["found"].values() if number is not None]
    median = f"{statistics.median(numbers):g}, most {max(numbers)}" if numbers else "-"
    alarms = f"{len(row['alarms'])}/{row['twins']}" + (f" {row['alarms'][0]}" if row["alarms"] else "")
    sizes = sizes_of(row)
    shrunk = f"{statistics.median(sizes):g}, most {max(sizes)}" if sizes else "-"
    return (
        f"| {bug.id} | {bug.budget} | {row['shown']}/{row['rates']} | {len(numbers)}/{len(row['found'])} | {median} "
        f"| {alarms} | {shrunk} | {golden.smallest(bug)} | {row['cpu']:.0f} |"
    )


def sizes_of(row: Row) -> list[int]:
    """How many deviations the counterexamples of a bug take, of those that were found."""
    return [size for size in row.get("sizes", {}).values() if size is not None]


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the planted bugs.")
    parser.add_argument("--seeds", type=int, default=100, help="searches for each bug")
    parser.add_argument("--twins", type=int, default=3_000, help="schedules for each twin")
    parser.add_argument("--sizes", type=int, default=10, help="counterexamples for each bug")
    parser.add_argument("--shrink-seconds", type=float, default=60, help="real seconds for each of those")
    parser.add_argument("--rates", type=int, default=200, help="schedules to measure the rate by")
    parser.add_argument(
        "--results", type=Path, help="a file that keeps what was measured, and that is added to"
    )
    parser.add_argument("ids", nargs="*", help="parts of the ids of bugs; all by default")
    asked = parser.parse_args()
    path: Path | None = asked.results
    rows: dict[str, Row] = {}
    if path is not None and path.exists():
        rows = json.loads(path.read_text(encoding="utf-8"))

    def keep() -> None:
        if path is not None:
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")

    say(
        "| bug | budget | rate | found | median | alarms of the twin | deviations | fewest known | CPU s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for bug in BUGS:
        if asked.ids and not any(part in bug.id for part in asked.ids):
            continue
        row = rows.setdefault(bug.id, _fresh())
        measure(bug, row, asked, keep)
        say(line(bug, row))
    medians = [statistics.median(sizes) for row in rows.values() if (sizes := sizes_of(row))]
    if medians:
        say(f"median of the deviations over {len(medians)} bugs: {statistics.median(medians):g}")


if __name__ == "__main__":
    main()

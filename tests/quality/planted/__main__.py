"""Measure the planted bugs: ``python -m tests.quality.planted [--seeds 100] [--twins 3000] [--rates 200] [ID …]``.

For each bug: how often a schedule shows it, in how many of so many searches it is found within its budget, how many
schedules that takes in the median, and how often its twin raised an alarm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from tests.quality.planted.bug import Bug
from tests.quality.planted.registry import BUGS
from tests.quality.planted.trials import found_by, search


def rate_of(bug: Bug, schedules: int) -> str:
    """In how many of so many schedules the bug shows."""
    shown = sum(bool(run.verdict) for run in search(bug.case, bug.id, 0, schedules))
    return f"{shown}/{schedules}" if schedules else "-"


def searches(bug: Bug, seeds: int) -> tuple[str, str]:
    """In how many searches it is found, and after how many schedules in the median."""
    found = [found_by(bug, seed) for seed in range(1, seeds + 1)]
    numbers = [
        one.number for one in found if one is not None and set(one.verdict.broken) & set(bug.caught_by)
    ]
    return f"{len(numbers)}/{seeds}", f"{statistics.median(numbers):g}" if numbers else "-"


def alarms(bug: Bug, schedules: int, known: dict[int, str]) -> str:
    """How often the twin raised an alarm, and the first one."""
    if id(bug.twin) not in known:
        runs = [run.verdict for run in search(bug.twin, f"twin of {bug.id}", 0, schedules) if run.verdict]
        known[id(bug.twin)] = f"{len(runs)}/{schedules}" + (f" {runs[0].words}" if runs else "")
    return known[id(bug.twin)]


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure the planted bugs.")
    parser.add_argument("--seeds", type=int, default=100, help="searches for each bug")
    parser.add_argument("--twins", type=int, default=3_000, help="schedules for each twin")
    parser.add_argument("--rates", type=int, default=200, help="schedules to measure the rate by")
    parser.add_argument("ids", nargs="*", help="parts of the ids of bugs; all by default")
    asked = parser.parse_args()
    known: dict[int, str] = {}
    say(
        "| bug | budget | rate | found | median | alarms of the twin | CPU s |\n|---|---|---|---|---|---|---|"
    )
    for bug in BUGS:
        if asked.ids and not any(part in bug.id for part in asked.ids):
            continue
        began = time.process_time()
        rate = rate_of(bug, asked.rates)
        found, median = searches(bug, asked.seeds)
        silent = alarms(bug, asked.twins, known)
        took = time.process_time() - began
        say(f"| {bug.id} | {bug.budget} | {rate} | {found} | {median} | {silent} | {took:.0f} |")


if __name__ == "__main__":
    main()

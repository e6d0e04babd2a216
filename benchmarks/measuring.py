"""How the benchmarks measure: process CPU time, each case paired with its reference in the same run, median of ratios."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Case = Callable[[], int]
"""Does some work and returns how many units of it (messages, sleeps, sessions)."""


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times as fast as its reference a case is, and what the bar asks for."""

    name: str
    ratios: tuple[float, ...]
    bar: float
    case_us: float
    reference_us: float
    at_most: bool = False
    """Whether the ratio must stay below the bar (a cost) and not above it (a speed)."""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        spread = f"{min(self.ratios):6.2f} – {max(self.ratios):6.2f}"
        verdict = "met" if self.met else "MISSED"
        bar = f"{sign} {self.bar:g}" if self.bar else "no bar"
        verdict = verdict if self.bar else ""
        return (
            f"{self.name:<58} {self.ratio:7.2f}   ({spread})  {bar:>8}  {verdict:<7}"
            f" {self.case_us:10.2f} us {self.reference_us:10.2f} us"
        )


def pin() -> None:
    """Stay on one processor where the system lets a process ask for that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def cost_us(case: Case) -> float:
    """Microseconds of process CPU time per unit of work."""
    gc.collect()
    before = time.process_time()
    units = case()
    return (time.process_time() - before) / units * 1e6


def faster_than(name: str, case: Case, reference: Case, bar: float, rounds: int = 7) -> Row:
    """How many times as fast as the reference: the reference's cost over the case's."""
    return _paired(name, case, reference, bar, rounds, lambda mine, other: other / mine, at_most=False)


def costs_at_most(name: str, case: Case, reference: Case, bar: float, rounds: int = 7) -> Row:
    """How many times the cost of the reference."""
    return _paired(name, case, reference, bar, rounds, lambda mine, other: mine / other, at_most=True)


def _paired(
    name: str,
    case: Case,
    reference: Case,
    bar: float,
    rounds: int,
    ratio: Callable[[float, float], float],
    *,
    at_most: bool,
) -> Row:
    cost_us(case), cost_us(reference)  # warm up both
    mine, other = [], []
    for _ in range(rounds):
        mine.append(cost_us(case))
        other.append(cost_us(reference))
    ratios = tuple(ratio(one, two) for one, two in zip(mine, other, strict=True))
    return Row(name, ratios, bar, statistics.median(mine), statistics.median(other), at_most)

"""Bounded retry: an item that keeps failing is given up.

Source: the bounded redelivery before a dead-letter channel of Hohpe and Woolf, *Enterprise Integration Patterns* (2003),
chapter 4. Failures are counted over all lives of the agents: a bound that a crash resets is none.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import item_fact
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["BOUNDED_RETRY", "USUAL_ATTEMPTS"]

USUAL_ATTEMPTS: Final = 5
"""How often an item may fail if ``fail`` does not say ``of`` how many times."""


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._failures: dict[tuple[str, Hashable], int] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        told = item_fact(event)
        if told is None or told.fact != "fail" or told.recalled:
            return None
        place = (told.stage, told.item)
        number = self._failures[place] = self._failures.get(place, 0) + 1
        bound = told.data.get("of", USUAL_ATTEMPTS)
        if number <= bound:
            return None
        return Violation(
            BOUNDED_RETRY.name,
            f"{told.place} failed {number} times, and may be tried {bound} times",
            event.at_ns,
            (event.agent,),
            {"item": told.shown, "stage": told.stage, "failures": number, "of": bound},
        )

    def finish(self, final: FinalState) -> None:
        return None


BOUNDED_RETRY: Final = Property(
    "bounded_retry",
    Kind.ALWAYS,
    "No item is tried more often than allowed.",
    _Checker,
)

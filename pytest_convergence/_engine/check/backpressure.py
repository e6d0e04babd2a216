"""Backpressure: no stage takes more items at a time than it has room for.

That what finds no room is slowed and not dropped is for ``conservation`` to say.

Source: Kung, Blackwell and Chapman, *Credit-Based Flow Control for ATM Networks* (SIGCOMM 1994): a receiver's buffer never
overflows.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import ENDINGS, item_fact
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["BACKPRESSURE"]

_MOVES: Final = ENDINGS | {"take", "release"}


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})

    def __init__(self, scope: Scope) -> None:
        self._held: dict[str, dict[str, dict[Hashable, Any]]] = {}  # by agent and stage

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "crash":
            self._held.pop(event.agent, None)
            return None
        told = item_fact(event)
        if told is None or told.fact not in _MOVES:
            return None
        held = self._held.setdefault(event.agent, {}).setdefault(told.stage, {})
        if told.fact != "take":
            held.pop(told.item, None)
            return None
        held[told.item] = told.shown
        room = told.data.get("of")
        if not isinstance(room, int) or len(held) <= room:
            return None
        where = f" at stage {told.stage!r}" if told.stage else ""
        return Violation(
            BACKPRESSURE.name,
            f"{event.agent} holds {len(held)} items{where}, and has room for {room}",
            event.at_ns,
            (event.agent,),
            {"items": list(held.values()), "of": room, "stage": told.stage},
        )

    def finish(self, final: FinalState) -> None:
        return None


BACKPRESSURE: Final = Property(
    "backpressure",
    Kind.ALWAYS,
    "No stage takes more items at a time than it has room for.",
    _Checker,
)

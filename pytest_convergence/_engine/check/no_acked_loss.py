"""No acknowledged item is lost: what somebody answered for comes to an end.

Source: the *lost* elements of the total-queue checker of Jepsen (Kingsbury), and the rule of store and forward that an
acknowledgement moves the responsibility for a message (RFC 5321, section 4.2.5).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.items import Ledger
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_ACKED_LOSS"]


class _Checker:
    kinds: Final = frozenset({"observe"})

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._ledger = Ledger()
        self._acked: dict[
            Hashable, tuple[Any, str, str]
        ] = {}  # shown, the stage and the agent that acknowledged last

    def feed(self, event: TraceEvent) -> None:
        told = self._ledger.enter(event)
        if told is not None and told.fact == "ack":
            self._acked[told.item] = (told.shown, told.stage, event.agent)

    def finish(self, final: FinalState) -> Violation | None:
        if not self._ledger.demands_progress(final, self._scope):
            return None
        for item, (shown, stage, agent) in self._acked.items():
            ledger = self._ledger
            # More of its way is not known.
            passed = item not in ledger.fed and stage in ledger.effects.get(item, {})
            if passed or ledger.endings(item) or item in ledger.abandoned:
                continue
            where = f" at stage {stage!r}" if stage else ""
            return Violation(
                NO_ACKED_LOSS.name,
                f"{agent} acknowledged item {shown!r}{where}, and it is lost: it neither came out nor is it a dead letter",
                final.at_ns,
                (agent,),
                {"item": shown, "stage": stage},
            )
        return None


NO_ACKED_LOSS: Final = Property(
    "no_acked_loss",
    Kind.EVENTUALLY,
    "Every item that an agent acknowledged takes effect, or is a dead letter or rejected.",
    _Checker,
)

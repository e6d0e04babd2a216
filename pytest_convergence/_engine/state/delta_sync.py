"""Delta synchronisation: replicas tell each other what they lack, and nothing else.

A delta is everything between two clocks. It is joined only onto a replica that covers its start (P. Almeida, A. Shoker,
C. Baquero, Delta State Replicated Data Types, 2018, section 7.2), and told again until it is acknowledged, not until it is
sent. Who is told when: :mod:`.spreading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import Effect
from pytest_convergence._engine.state.keeping import Keeper
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.spreading import KINDS, RESEND_TIMER, Spreading, SyncMessage, SyncTiming
from pytest_convergence._engine.state.updates import Delta

__all__ = ["KINDS", "RESEND_TIMER", "DeltaSync", "SyncMessage", "SyncTiming"]


class DeltaSync(Spreading):
    """The machine of ``sync="delta"``."""

    __slots__ = ("_keeper",)

    def __init__(self, replica: Replica, peers: Iterable[str], timing: SyncTiming | None = None) -> None:
        super().__init__(replica, peers, timing)
        self._keeper = Keeper(replica)

    def _restore(self, durable: Mapping[str, Any]) -> bool:
        return self._keeper.restore(durable)

    def _keep(self) -> Iterable[Effect]:
        return self._keeper.keep()

    def _pack(self, since: VectorClock) -> Delta:
        return self.replica.delta_since(since)

    def _take(self, packed: Delta) -> bool:
        return self.replica.join(packed)

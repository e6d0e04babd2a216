"""Full synchronisation: replicas tell each other all that they hold.

1. A message carries the whole document. It makes sense onto any state, so no message ever asks for an earlier one, and a
   lost one is made good by the next. It is joined at one stroke: nobody sees half of it.
2. An older document that arrives late takes nothing back: what is joined is what the sender had seen, not its word about
   what there is.
3. Whoever has been sent a document that it has not acknowledged gets no other until it has, or until the interval is
   over. So many writes in a row cost few documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import Effect
from pytest_convergence._engine.state.delta_sync import DeltaSync
from pytest_convergence._engine.state.spreading import Peer, SyncMessage
from pytest_convergence._engine.state.updates import Delta

__all__ = ["FullSync"]

_NOTHING = VectorClock()


class FullSync(DeltaSync):
    """The machine of ``sync="full"``."""

    __slots__ = ()

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        """Take in what a peer says; one that has acknowledged a document may get the next."""
        effects = super().on_message(sender, kind, payload)
        return [*effects, *self._go_on(self._peers[sender], payload)]

    def _go_on(self, peer: Peer, message: SyncMessage) -> Iterator[Effect]:
        told = peer.told
        if peer.name in self._behind and told and told <= peer.acked and not self.replica.clock <= told:
            yield self._tell(peer, "state_update", peer.acked)

    def _pack(self, since: VectorClock) -> Delta:
        return self.replica.delta_since(_NOTHING)

    def _holds_back(self, peer: Peer) -> bool:
        return not peer.told <= peer.acked

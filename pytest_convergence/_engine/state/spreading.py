"""Spreading updates among replicas until everybody is known to have everything: who is told, when, and how often.

What is told is the business of a strategy (:mod:`.delta_sync`, :mod:`.full_sync`, :mod:`.event_sync`,
:mod:`.sibling_sync`): how it packs what a peer lacks, and how it takes in what a peer has packed.

Theory of operation (P. Almeida, A. Shoker, C. Baquero, Delta State Replicated Data Types, 2018, algorithm 2):

1. For each peer two clocks are kept: what it has *acknowledged*, and what it was *told*. A local update is told at once,
   as what came since the last telling. A telling may be lost; only an acknowledgement counts. Until it comes, what came
   since the last acknowledgement is told again, at intervals that double.
2. What a peer tells is taken in only by a replica that covers its start. Otherwise something before it was lost or
   overtaken, and the receiver asks (``sync_request``) with its clock; the answer (``sync_response``) starts there.
3. Whoever has received an update answers for it too: if its author dies after telling one peer, that peer tells the
   rest. To spare the common case that traffic, a relay waits a little longer than the author, and every message
   carries what its sender knows to be *stable*, that is, acknowledged by everybody.
4. Acknowledgements and updates are promises. What they promise is made durable first (``Persist``, ``Sync``), and a
   restarted machine begins with it: its own updates keep their numbers, and no acknowledgement becomes untrue.
5. Nothing is compared that need not be: who may lack something is a small set (*behind*), looked at when one of them
   speaks or the timer fires. With n agents a message costs work in proportion to n, not to its square.
6. A delete need not be kept once it is *causally stable*: all peers have it, and all that they wrote before they had it is
   here. Whoever hears from all knows; it tells the others when all are level (``state_settled``).
7. Taking in is idempotent, so loss, duplication and reordering cost messages and never change the outcome.

All peers synchronise with all others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import CancelTimer, Effect, Send, SetTimer
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["KINDS", "RESEND_TIMER", "Peer", "Spreading", "SyncMessage", "SyncTiming"]

KINDS: Final = ("state_update", "state_ack", "state_settled", "sync_request", "sync_response")
"""The kinds of messages that replicas exchange."""

RESEND_TIMER: Final = "sync.resend"
"""The only timer: armed while some peer has not acknowledged everything."""


_MOST_TOLD: Final = 3
"""So many updates of a message are told in words."""


class SyncMessage(NamedTuple):
    """What every message between replicas says.

    ``clock`` is what the sender holds durably, ``stable`` what it knows everybody to hold; ``delta`` is what the strategy
    has packed for the receiver, in a ``state_update`` and a ``sync_response``.
    """

    clock: VectorClock
    stable: VectorClock
    delta: Any = None

    def __str__(self) -> str:
        """Say what is new in it, for diagrams; of an answer or a question, what its sender has seen."""
        updates = getattr(self.delta, "updates", ())
        if updates:
            more = f" and {len(updates) - _MOST_TOLD} more" if len(updates) > _MOST_TOLD else ""
            return "; ".join(map(str, updates[:_MOST_TOLD])) + more
        return f"has seen {', '.join(f'{agent} {count}' for agent, count in self.clock.items()) or 'nothing'}"

    def __deepcopy__(self, memo: dict[int, Any]) -> SyncMessage:
        return self  # immutable all the way down: a snapshot of it is itself


@final
@dataclass(frozen=True, slots=True)
class SyncTiming:
    """When to say something again.

    Attributes:
        resend_ns: the first interval, in virtual nanoseconds. It should exceed a round trip.
        max_doublings: how often the interval doubles at most.
        relay_rounds: how many first intervals a relay waits before it speaks for the author.
        patience: after so many unanswered tellings a peer is taken to be away. It is still told, but waiting for it
            does not keep a finished world awake.
    """

    resend_ns: int = NS_PER_SECOND
    max_doublings: int = 3
    relay_rounds: int = 2
    patience: int = 5

    def __post_init__(self) -> None:
        if self.resend_ns <= 0:
            raise ConvergenceUsageError(f"resend_ns must be positive, not {self.resend_ns!r}.")
        if self.max_doublings < 0 or self.relay_rounds < 1 or self.patience < 1:
            raise ConvergenceUsageError(f"a sync timing counts from 1 up (max_doublings from 0): {self!r}.")


@final
class Peer:
    """What is known of one peer: what it has acknowledged and was told, and when it is due again."""

    __slots__ = ("acked", "attempts", "due_round", "name", "told")

    def __init__(self, name: str) -> None:
        self.name = name
        self.acked = VectorClock()
        self.told = VectorClock()
        self.attempts = 0
        self.due_round = 0


class Spreading(ABC):
    """The synchronisation machine of one replica, but for what a strategy adds.

    Give it ``on_command("update", update)`` for each local update of the replica (its ``on_update``), and the messages
    and timers that its effects ask for.
    """

    __slots__ = (
        "_announced",
        "_armed_round",
        "_behind",
        "_peers",
        "_round",
        "_stable",
        "_timing",
        "replica",
    )

    def __init__(self, replica: Replica, peers: Iterable[str], timing: SyncTiming | None = None) -> None:
        self.replica = replica
        self._timing = timing if timing is not None else SyncTiming()
        self._peers = {name: Peer(name) for name in sorted(peers) if name != replica.agent}
        self._round = 0
        self._armed_round: int | None = None
        self._announced = VectorClock()
        self._behind: dict[str, Peer] = {}
        self._stable = VectorClock()

    # ----------------------------------------------------------------------------------------- what a strategy decides

    @abstractmethod
    def _restore(self, durable: Mapping[str, Any]) -> bool:
        """Make the replica what was kept; return whether anything was."""

    @abstractmethod
    def _keep(self) -> Iterable[Effect]:
        """Make durable what changed since the last time."""

    @abstractmethod
    def _pack(self, since: VectorClock) -> Any:
        """Return what a replica that has seen ``since`` needs to know all that is known here."""

    @abstractmethod
    def _take(self, packed: Any) -> bool:
        """Take in what a peer has packed; return whether it could be: what lies before its start must be known."""

    def _holds_back(self, peer: Peer) -> bool:
        """Whether ``peer`` is not told at once of what is new."""
        return False

    # --------------------------------------------------------------------------------------------------- the machine

    def on_start(self, durable: Mapping[str, Any]) -> list[Effect]:
        """Begin with what survived; a first life begins with what the replica was made with."""
        if not self._restore(durable):
            return self.on_command("update", None)
        effects: list[Effect] = []
        for peer in self._peers.values():
            self._fall_behind(peer, 1)
            effects.append(Send(peer.name, "sync_request", self._message()))
        return [*effects, *self._arm()]

    def on_command(self, name: str, argument: Any) -> list[Effect]:
        """``update``: the replica was written to; tell the others.

        Raises:
            ConvergenceUsageError: there is no such command.
        """
        if name != "update":
            raise unknown_name("command of a synchronisation", name, ("update",))
        effects = [*self._keep()]
        for peer in self._peers.values():
            since = peer.told | peer.acked
            if not self.replica.clock <= since:
                self._fall_behind(peer, 1)
                if not self._holds_back(peer):
                    effects.append(self._tell(peer, "state_update", since))
        return [*effects, *self._arm()]

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        """Take in what a peer says.

        Raises:
            ConvergenceUsageError: the sender is not a peer, or the kind of message is unknown.
        """
        peer = self._peers.get(sender)
        if peer is None:
            raise unknown_name("peer", sender, self._peers)
        if kind not in KINDS:
            raise unknown_name("kind of sync message", kind, KINDS)
        message: SyncMessage = payload
        self._learn(peer, message)
        if kind == "state_settled" and self.replica.has_tombstones:
            settled = message.stable
            self.replica.drop_tombstones(lambda dot: settled.covers(*dot))
        effects: list[Effect] = []
        if kind == "sync_request":
            effects.append(self._tell(peer, "sync_response", message.clock))
        elif message.delta is not None:
            effects.extend(self._join(peer, kind, message.delta))
        self._catch_up(peer)
        effects += self._announce()
        if not self._behind and self.replica.has_tombstones:
            self._drop_tombstones()
        return [*effects, *self._arm()]

    def on_timer(self, name: str) -> list[Effect]:
        """Tell again whoever is due."""
        if name != RESEND_TIMER or self._armed_round is None:
            return []
        self._round, self._armed_round = self._armed_round, None
        effects: list[Effect] = []
        for peer in tuple(self._pending()):
            if peer.due_round <= self._round:
                effects.append(self._tell(peer, "state_update", peer.acked | self._stable))
                peer.attempts += 1
                peer.due_round = self._round + 2 ** min(peer.attempts, self._timing.max_doublings)
        return [*effects, *self._arm()]

    def view(self) -> str:
        """The checksum of the replica."""
        return self.replica.checksum

    # ------------------------------------------------------------------------------------------------------- progress

    @property
    def pending(self) -> bool:
        """Whether some peer is not known to have everything that is known here."""
        return next(self._pending(), None) is not None

    def pending_peers(self) -> tuple[str, ...]:
        """The peers, reachable or not, that are not known to have everything that is known here."""
        return tuple(sorted(peer.name for peer in self._pending()))

    @property
    def answered_for(self) -> tuple[str, ...]:
        """Whose acknowledgement the machine waits for: all peers."""
        return tuple(self._peers)

    @property
    def stable(self) -> VectorClock:
        """What everybody is known to have."""
        return self.replica.clock if not self.pending else self._stable

    def _has_everything(self, peer: Peer) -> bool:
        clock = self.replica.clock
        return clock <= peer.acked or clock <= (peer.acked | self._stable)

    def _pending(self) -> Iterator[Peer]:
        """Go through those who may be behind, and strike out those who are not."""
        for name, peer in tuple(self._behind.items()):
            if self._has_everything(peer):
                del self._behind[name]
            else:
                yield peer

    def _fall_behind(self, peer: Peer, rounds: int) -> None:
        """There is something that ``peer`` may lack: say it again in so many rounds, unless it is due anyway."""
        if peer.name not in self._behind:
            self._behind[peer.name] = peer
            peer.attempts = 0
            peer.due_round = self._round + rounds

    def _catch_up(self, peer: Peer) -> None:
        """A peer spoke: it may have everything now, and otherwise it is there and gets short intervals again."""
        if self._behind and self.replica.clock <= self._stable:
            self._behind.clear()
        elif peer.name in self._behind:
            if self._has_everything(peer):
                del self._behind[peer.name]
            else:
                peer.due_round = min(peer.due_round, self._round + self._timing.relay_rounds)

    # -------------------------------------------------------------------------------------------------------- speaking

    def _message(self, delta: Any = None) -> SyncMessage:
        return SyncMessage(self.replica.clock, self._stable, delta)

    def _tell(self, peer: Peer, kind: str, since: VectorClock) -> Effect:
        peer.told |= self.replica.clock
        return Send(peer.name, kind, self._message(self._pack(since)))

    def _learn(self, peer: Peer, message: SyncMessage) -> None:
        """Take note of who has what. A peer that speaks is there."""
        peer.acked |= message.clock
        if not message.stable <= self._stable:
            self._stable |= message.stable
        peer.attempts = 0

    def _join(self, peer: Peer, kind: str, packed: Any) -> Iterator[Effect]:
        before = self.replica.clock
        if not self._take(packed):
            yield Send(peer.name, "sync_request", self._message())
            return
        yield from self._keep()
        if self.replica.clock != before:
            for other in self._peers.values():
                self._fall_behind(other, self._timing.relay_rounds)
        if kind == "sync_response" and not self._has_everything(peer):
            yield self._tell(peer, "state_update", peer.acked)
        else:
            yield Send(peer.name, "state_ack", self._message())

    def _announce(self) -> Iterator[Effect]:
        """Tell everybody, once, that everybody has what was written here: then nobody needs to relay it."""
        own = self.replica.agent
        if len(self._peers) > 1 and self._announced[own] < self.replica.clock[own] and not self.pending:
            self._announced = self._stable = clock = self.replica.clock
            level = self.replica.has_tombstones and all(peer.acked == clock for peer in self._peers.values())
            for peer in self._peers.values():
                yield Send(peer.name, "state_settled" if level else "state_ack", self._message())

    def _drop_tombstones(self) -> None:
        clock, peers = self.replica.clock, self._peers.values()
        if all(peer.acked[peer.name] <= clock[peer.name] for peer in peers):
            self.replica.drop_tombstones(lambda dot: all(peer.acked.covers(*dot) for peer in peers))

    def _arm(self) -> Iterator[Effect]:
        if not self._behind:
            if self._armed_round is not None:
                self._armed_round = None
                yield CancelTimer(RESEND_TIMER)
            return
        if self._armed_round is not None and self._armed_round <= self._round + 1:
            return
        due = max(self._round + 1, min(peer.due_round for peer in self._behind.values()))
        if self._armed_round is None or due < self._armed_round:
            self._armed_round = due
            away = all(peer.attempts >= self._timing.patience for peer in self._behind.values())
            delay_ns = (due - self._round) * self._timing.resend_ns
            yield SetTimer(RESEND_TIMER, delay_ns, background=away)

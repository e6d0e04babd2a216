"""Anti-entropy gossip: each period a replica tells one other what that one is not known to have.

1. The document is a join-semilattice: what is told can be taken in any order and any number of times, by whatever way it
   comes. So nobody needs to tell everybody, and everybody passes on what it hears (A. Demers et al., Epidemic Algorithms
   for Replicated Database Maintenance, 1987; P. Almeida et al., Delta State Replicated Data Types, 2018).
2. Replicas stand in a ring, in the order of their names. Each answers for those that stand 1, 2, 4, … places further on,
   and tells them in turn. Every distance is a sum of such steps, so everybody is reached, in about log2 n periods and
   with about n log2 n messages, and no chance is needed for that. Where there are few, each tells all.
3. Who is told answers: with what the teller lacks, or with its clock alone. Whose clock is known to cover what is here is
   not told again, so that gossip ends when there is nothing new.
4. A partner that does not answer may be gone, and with it those whom it answers for: then all others are partners too.
5. What a clock promises is durable first, as in :mod:`.spreading`; a lower bound of what somebody has stays true.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.effects import CancelTimer, Effect, Send, SetTimer
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.state.keeping import Keeper
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.spreading import KINDS, SyncMessage
from pytest_convergence._engine.state.updates import Delta
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DEFAULT_PERIOD_NS", "GOSSIP_TIMER", "GossipSync"]

GOSSIP_TIMER: Final = "sync.gossip"
"""The only timer: armed while some partner is not known to have everything."""

DEFAULT_PERIOD_NS: Final = NS_PER_SECOND // 4
"""How long a replica waits between two tellings, unless told otherwise."""

_FEW: Final = 8
"""So few others are all partners: otherwise one or two that crash for good might keep the word from somebody."""

_PATIENCE: Final = 5
"""After so many unanswered tellings a partner is taken to be away."""

_MAX_DOUBLINGS: Final = 3
"""How often the period doubles at most, while nobody answers."""

_NOTHING: Final = VectorClock()


class GossipSync:
    """The machine of ``sync="crdt"``."""

    __slots__ = (
        "_ahead",
        "_armed",
        "_keeper",
        "_known",
        "_partners",
        "_period_ns",
        "_ring",
        "_silent",
        "replica",
    )

    def __init__(self, replica: Replica, peers: Iterable[str], period_ns: int = DEFAULT_PERIOD_NS) -> None:
        if period_ns <= 0:
            raise ConvergenceUsageError(f"the period of gossip must be positive, not {period_ns!r} ns.")
        self.replica = replica
        self._keeper = Keeper(replica)
        self._period_ns = period_ns
        self._ring = sorted({*peers, replica.agent})
        here = bisect_left(self._ring, replica.agent)
        self._ahead = (*self._ring[here + 1 :], *self._ring[:here])
        steps = (
            _powers_of_two(len(self._ahead)) if len(self._ahead) > _FEW else range(1, len(self._ahead) + 1)
        )
        self._partners = tuple(self._ahead[step - 1] for step in steps)
        self._known: dict[str, VectorClock] = {}
        self._silent: dict[str, int] = {}
        self._armed = False

    # --------------------------------------------------------------------------------------------------- the machine

    def on_start(self, durable: Mapping[str, Any]) -> list[Effect]:
        """Begin with what survived; a first life begins with what the replica was made with."""
        self._keeper.restore(durable)
        return self.on_command("update", None)

    def on_command(self, name: str, argument: Any) -> list[Effect]:
        """``update``: the replica was written to; tell somebody, now if nothing was under way.

        Raises:
            ConvergenceUsageError: there is no such command.
        """
        if name != "update":
            raise unknown_name("command of a synchronisation", name, ("update",))
        return [*self._keeper.keep(), *self._go_on()]

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        """Take in what another says, and answer with what it lacks.

        Raises:
            ConvergenceUsageError: the sender is not a peer, or the kind of message is unknown.
        """
        if sender == self.replica.agent or sender not in self._at(sender):
            raise unknown_name("peer", sender, self._ahead)
        if kind not in KINDS:
            raise unknown_name("kind of sync message", kind, KINDS)
        message: SyncMessage = payload
        self._silent.pop(sender, None)
        self._learn(sender, message.clock)
        effects: list[Effect] = []
        if message.delta is not None and not self.replica.join(message.delta):
            effects.append(Send(sender, "sync_request", self._message()))
        else:
            effects.extend(self._keeper.keep())
            effects.extend(self._answer(sender, kind, message.clock))
        if self.replica.has_tombstones:
            self._drop_tombstones()
        return [*effects, *self._go_on()]

    def _drop_tombstones(self) -> None:
        """Drop deletes that everybody has, once all that anybody wrote before is here (as in :mod:`.spreading`)."""
        known, clock = self._known, self.replica.clock
        if len(known) == len(self._ahead) and all(known[name][name] <= clock[name] for name in known):
            self.replica.drop_tombstones(lambda dot: all(each.covers(*dot) for each in known.values()))

    def on_timer(self, name: str) -> list[Effect]:
        """Tell the next partner that is not known to have everything."""
        if name != GOSSIP_TIMER or not self._armed:
            return []
        self._armed = False
        return [*self._go_on()]

    def view(self) -> str:
        """The checksum of the replica."""
        return self.replica.checksum

    # ------------------------------------------------------------------------------------------------------- progress

    @property
    def period_ns(self) -> int:
        """How long the machine waits between two tellings."""
        return self._period_ns

    @property
    def pending(self) -> bool:
        """Whether some partner is not known to have everything that is known here."""
        clock = self.replica.clock
        return any(not clock <= self._known.get(name, _NOTHING) for name in self.answered_for)

    def pending_peers(self) -> tuple[str, ...]:
        """The partners that are not known to have everything that is known here."""
        clock = self.replica.clock
        return tuple(name for name in self.answered_for if not clock <= self._known.get(name, _NOTHING))

    def _at(self, name: str) -> list[str]:
        """The place in the ring where ``name`` stands, if it is in it."""
        place = bisect_left(self._ring, name)
        return self._ring[place : place + 1]

    @property
    def answered_for(self) -> tuple[str, ...]:
        """Whose acknowledgement the machine waits for: its partners, and all others while one of these is away."""
        away = any(count >= _PATIENCE for count in self._silent.values())
        return self._ahead if away else self._partners

    def _learn(self, peer: str, clock: VectorClock) -> None:
        known = self._known.get(peer, _NOTHING)
        if not clock <= known:
            self._known[peer] = clock if known <= clock else known | clock

    # ------------------------------------------------------------------------------------------------------- speaking

    def _message(self, delta: Delta | None = None) -> SyncMessage:
        return SyncMessage(self.replica.clock, _NOTHING, delta)

    def _answer(self, sender: str, kind: str, theirs: VectorClock) -> Iterator[Effect]:
        clock = self.replica.clock
        if not clock <= theirs:
            answer = "sync_response" if kind != "sync_response" else "state_update"
            yield Send(sender, answer, self._message(self.replica.delta_since(theirs)))
        elif not theirs <= clock:  # only a clock came, and it knows more
            yield Send(sender, "sync_request", self._message())
        elif kind != "state_ack":
            yield Send(sender, "state_ack", self._message())

    def _go_on(self) -> Iterable[Effect]:
        """Tell the next one, unless the period is not over; disarm when there is nobody to tell."""
        waiting = self.pending_peers()
        if not waiting:
            if self._armed:
                self._armed = False
                return [CancelTimer(GOSSIP_TIMER)]
            return []
        if self._armed:
            return []
        self._armed = True
        peer = self._next(waiting)
        self._silent[peer] = self._silent.get(peer, 0) + 1
        message = self._message(self.replica.delta_since(self._known.get(peer, _NOTHING)))
        unanswered = min(self._silent.get(name, 0) for name in waiting)
        delay_ns = self._period_ns << max(0, min(unanswered - 1, _MAX_DOUBLINGS))
        return [
            Send(peer, "state_update", message),
            SetTimer(GOSSIP_TIMER, delay_ns, background=unanswered >= _PATIENCE),
        ]

    def _next(self, waiting: tuple[str, ...]) -> str:
        """Go round: those that have not been told yet, or for the longest time, come first."""
        fewest = min(self._silent.get(name, 0) for name in waiting)
        return next(name for name in waiting if self._silent.get(name, 0) == fewest)


def _powers_of_two(least: int) -> list[int]:
    """The powers of two up to ``least``."""
    powers = []
    step = 1
    while step <= least:
        powers.append(step)
        step *= 2
    return powers

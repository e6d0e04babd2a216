"""Consensus by single-decree Paxos.

Source: Lamport, *Paxos Made Simple* (2001), section 2; the durable state of an acceptor is that of section
2.5 there ("an acceptor must remember").

Theory of operation
1. Every agent proposes, accepts and learns. A *ballot* is ``(counter, agent)``; ballots are ordered, and no
   two agents share one. An agent promises its own ballot before it uses it, durably, so a restarted agent
   never uses a ballot twice.
2. Phase 1: the proposer asks everybody to *prepare*. An acceptor that has promised no higher ballot
   *promises* to accept nothing lower, and tells the proposal of the highest ballot that it has accepted.
3. Phase 2: with promises of a quorum the proposer asks everybody to *accept* the value of the highest
   proposal it was told of, or its own if it was told of none. An acceptor accepts unless it has promised a
   higher ballot.
4. A value that a quorum accepted in one ballot is *chosen*. Any later ballot's promises include an acceptor
   of the chosen one, which passes the value on: so no other value is ever chosen.
5. Promise and acceptance are durable before they are told; so they survive a crash.
6. Two proposers can overtake each other for ever. A proposer that is refused, or that sees a higher ballot,
   waits: a fixed time and a randomised one, which doubles with each attempt. The randomised part is the
   schedule's; under the calm schedule it is rank times a step, so the first agent gets through.
7. Requests are repeated until answered; answers are kept by acceptor, so duplicates change nothing. The
   decision is told until everybody is known to know it.

The diagram is the table :data:`TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from pytest_convergence._engine.base.effects import (
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.decision import DECIDED, LONGEST_BACKOFF, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence.errors import InternalError, unknown_name

__all__ = ["TRANSITIONS", "Ballot", "Event", "Paxos", "PaxosRules", "Phase"]

PREPARE: Final = "prepare"
PROMISE: Final = "promise"
ACCEPT: Final = "accept"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"

TURN_TIMER: Final = "turn"
RESEND_TIMER: Final = "resend"

DEAF_AFTER: Final = 8
"""After how many attempts without hearing anything an agent stops keeping the world awake."""

Ballot: TypeAlias = tuple[int, str]
"""Counter and agent; compared in this order."""

NO_BALLOT: Final[Ballot] = (0, "")


class Phase(StrEnum):
    """What the proposer in an agent is doing."""

    WAITING = "waiting"
    PREPARING = "preparing"
    ACCEPTING = "accepting"
    DECIDED = "decided"


class Event(StrEnum):
    """What may change the phase."""

    TURN = "turn to propose"
    PROMISED = "promises of a quorum"
    OVERTAKEN = "higher ballot seen"
    LEARNED = "decision learned"


TRANSITIONS: Final[Mapping[Phase, Mapping[Event, Phase]]] = {
    Phase.WAITING: {
        Event.TURN: Phase.PREPARING,
        Event.OVERTAKEN: Phase.WAITING,
        Event.LEARNED: Phase.DECIDED,
    },
    Phase.PREPARING: {
        Event.TURN: Phase.PREPARING,
        Event.PROMISED: Phase.ACCEPTING,
        Event.OVERTAKEN: Phase.WAITING,
        Event.LEARNED: Phase.DECIDED,
    },
    Phase.ACCEPTING: {
        Event.TURN: Phase.PREPARING,
        Event.OVERTAKEN: Phase.WAITING,
        Event.LEARNED: Phase.DECIDED,
    },
    Phase.DECIDED: {},
}
"""Phase and event to the next phase; what is not listed cannot happen."""


class PaxosRules(NamedTuple):
    """What all agents share: the quorum as a number of agents, and the most ballots that one agent may start."""

    quorum: int
    max_rounds: int | None
    resend_ns: int


class Paxos:
    """One agent's side of single-decree Paxos (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(self, agent: str, agents: Sequence[str], proposal: Any, rules: PaxosRules) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.others = tuple(other for other in self.agents if other != agent)
        self.proposal = proposal
        self.rules = rules
        self.durable = Slots("paxos")  # promise, acceptance and decision together
        self.promised: Ballot = NO_BALLOT  # what the acceptor has promised
        self.accepted: Ballot = NO_BALLOT  # the highest proposal that it has accepted …
        self.accepted_value: Any = None  # … and its value
        self.phase = Phase.WAITING
        self.ballot: Ballot = NO_BALLOT  # the proposer's own
        self.value: Any = None  # what it asks to accept
        self.highest = 0  # the highest counter that it has seen
        self.promises: dict[str, tuple[Ballot, Any]] = {}
        self.acceptors: set[str] = set()
        self.attempts = 0
        self.silence = 0  # attempts since the last message
        self.decision = Decision(self.others, rules.resend_ns)
        self._handlers: Mapping[str, Callable[[str, Any], list[Effect]]] = {
            PREPARE: self._on_prepare,
            PROMISE: self._on_promise,
            ACCEPT: self._on_accept,
            ACCEPTED: self._on_accepted,
            REFUSED: self._on_refused,
        }

    # -- the machine's four doors ----------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin with what the acceptor remembers, and wait for a turn to propose."""
        saved = self.durable.load(durable)
        effects: list[Effect] = [Observe("propose", {"value": self.proposal})]
        if saved is not None:
            self.promised, self.accepted = _ballot(saved["promised"]), _ballot(saved["accepted"])
            self.accepted_value = saved["value"]
            self.highest = self.promised[0]
            effects += [self._promise_fact(), self._accepted_fact()]
            if saved["decision"]:
                self._move(Event.LEARNED)
                return effects + self.decision.announce(saved["decision"][0])
        return [*effects, SetTimer(TURN_TIMER, 0, self._spread_ns())]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        handler = self._handlers.get(kind)
        if handler is None and kind != DECIDED:
            raise unknown_name("Paxos message", kind, (*self._handlers, DECIDED))
        if sender not in self.others:
            return []
        self.silence = 0
        if handler is None:
            effects = [] if self.decision.is_made else self._decide(payload["value"])
            return effects + self.decision.heard_from(sender, ask=payload["ask"])
        if self.decision.is_made:
            return [self.decision.message_to(sender)] if kind in (PREPARE, ACCEPT) else []
        return handler(sender, payload)

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Take a turn to propose, or repeat what has not been answered."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        return self._take_turn() if name == TURN_TIMER else self._ask()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Refuse: the proposals are inputs, and nothing else can be asked.

        Raises:
            ConvergenceUsageError: always.
        """
        raise unknown_name("Paxos command", name, ())

    def view(self) -> Any:
        """Return the decided value, or ``None``."""
        return self.decision.value

    # -- proposing -------------------------------------------------------------------------------------------------

    def _move(self, event: Event) -> None:
        phase = TRANSITIONS[self.phase].get(event)
        if phase is None:
            raise InternalError(
                f"Paxos: a proposer that is {self.phase} cannot take {event!r}. Please report this."
            )
        self.phase = phase

    def _spread_ns(self) -> int:
        return 4 * self.rules.resend_ns * min(1 << self.attempts, LONGEST_BACKOFF)

    def _turn_timer(self) -> SetTimer:
        """The next turn: late enough for both phases of an undisturbed ballot to be over."""
        deaf = self.silence >= DEAF_AFTER
        return SetTimer(TURN_TIMER, 4 * self.rules.resend_ns, self._spread_ns(), background=deaf)

    def _take_turn(self) -> list[Effect]:
        """Begin a ballot higher than all that this agent has seen."""
        if self.rules.max_rounds is not None and self.attempts >= self.rules.max_rounds:
            return [CancelTimer(RESEND_TIMER), Observe("undecided", {"round": self.attempts})]
        self._move(Event.TURN)
        self.highest += 1
        self.attempts += 1
        self.silence += 1
        self.ballot = (self.highest, self.name)
        effects: list[Effect] = [Observe("round", {"round": self.highest}), *self._promise(self.ballot)]
        self.promises = {self.name: (self.accepted, self.accepted_value)}
        return [*effects, self._turn_timer(), *(self._ask() if self.others else self._count_promises())]

    def _ask(self) -> list[Effect]:
        """Ask whoever has not answered in this phase."""
        payload: dict[str, Any] = {"ballot": self.ballot}
        if self.phase is Phase.PREPARING:
            kind, answered = PREPARE, set(self.promises)
        else:
            kind, answered = ACCEPT, self.acceptors
            payload["value"] = self.value
        asked: list[Effect] = [Send(other, kind, payload) for other in self.others if other not in answered]
        return [*asked, SetTimer(RESEND_TIMER, self.rules.resend_ns, background=self.silence >= DEAF_AFTER)]

    def _on_promise(self, sender: str, payload: Any) -> list[Effect]:
        if self.phase is not Phase.PREPARING or _ballot(payload["ballot"]) != self.ballot:
            return []
        self.promises[sender] = (_ballot(payload["accepted"]), payload["value"])
        return self._count_promises()

    def _count_promises(self) -> list[Effect]:
        if len(self.promises) < self.rules.quorum:
            return []
        self._move(Event.PROMISED)
        accepted, value = max(self.promises.values(), key=lambda promise: promise[0])
        self.value = self.proposal if accepted == NO_BALLOT else value
        self.acceptors = {self.name}
        effects = self._accept(self.ballot, self.value)
        return effects + (self._ask() if self.others else self._decide(self.value))

    def _on_accepted(self, sender: str, payload: Any) -> list[Effect]:
        if self.phase is not Phase.ACCEPTING or _ballot(payload["ballot"]) != self.ballot:
            return []
        self.acceptors.add(sender)
        return self._decide(self.value) if len(self.acceptors) >= self.rules.quorum else []

    def _on_refused(self, sender: str, payload: Any) -> list[Effect]:
        self.highest = max(self.highest, _ballot(payload["promised"])[0])
        current = self.phase is not Phase.WAITING and _ballot(payload["ballot"]) == self.ballot
        return self._give_way() if current else []

    def _give_way(self) -> list[Effect]:
        """Leave the floor to a higher ballot, and try again later."""
        self._move(Event.OVERTAKEN)
        return [CancelTimer(RESEND_TIMER), self._turn_timer()]

    # -- accepting -------------------------------------------------------------------------------------------------

    def _on_prepare(self, sender: str, payload: Any) -> list[Effect]:
        ballot = _ballot(payload["ballot"])
        if ballot < self.promised:
            return [self._refuse(sender, ballot)]
        effects: list[Effect] = []
        if ballot > self.promised:
            effects += [*self._promise(ballot), *self._give_way()]
        promise = {"ballot": ballot, "accepted": self.accepted, "value": self.accepted_value}
        return [*effects, Send(sender, PROMISE, promise)]

    def _on_accept(self, sender: str, payload: Any) -> list[Effect]:
        ballot = _ballot(payload["ballot"])
        if ballot < self.promised:
            return [self._refuse(sender, ballot)]
        effects: list[Effect] = []
        if ballot > self.accepted:
            effects += [*self._accept(ballot, payload["value"]), *self._give_way()]
        return [*effects, Send(sender, ACCEPTED, {"ballot": ballot})]

    def _refuse(self, sender: str, ballot: Ballot) -> Effect:
        return Send(sender, REFUSED, {"ballot": ballot, "promised": self.promised})

    def _promise(self, ballot: Ballot) -> list[Effect]:
        self.promised = ballot
        self.highest = max(self.highest, ballot[0])
        return [*self._save(), self._promise_fact()]

    def _accept(self, ballot: Ballot, value: Any) -> list[Effect]:
        self.promised = self.accepted = ballot
        self.highest = max(self.highest, ballot[0])
        self.accepted_value = value
        return [*self._save(), self._promise_fact(), self._accepted_fact()]

    # -- deciding, storage, facts ----------------------------------------------------------------------------------

    def _decide(self, value: Any) -> list[Effect]:
        self._move(Event.LEARNED)
        timers: list[Effect] = [CancelTimer(TURN_TIMER), CancelTimer(RESEND_TIMER)]
        return [*timers, *self._save(value), *self.decision.announce(value)]

    def _save(self, decision: Any = None) -> list[Effect]:
        state = {
            "promised": self.promised,
            "accepted": self.accepted,
            "value": self.accepted_value,
            "decision": [] if decision is None else [decision],
        }
        return self.durable.save(state)

    def _promise_fact(self) -> Effect:
        return Observe("promise", {"name": "ballot", "at_least": self.promised})

    def _accepted_fact(self) -> Effect:
        data = {"name": "accepted ballot", "at_least": self.accepted}
        return Observe("promise", data)


def _ballot(plain: Sequence[Any]) -> Ballot:
    """Read a ballot that may have travelled as a list."""
    return plain[0], plain[1]

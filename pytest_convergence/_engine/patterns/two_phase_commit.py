"""Atomic commitment by two-phase commit.

Sources: Gray, *Notes on Data Base Operating Systems* (1978), section 5.8.3.3; Mohan, Lindsay and Obermarck, *Transaction
Management in the R* Distributed Database Management System* (1986), section 3 (presumed abort); Bernstein, Hadzilacos and
Goodman, *Concurrency Control and Recovery in Database Systems* (1987), section 7.4 (cooperative termination).

Theory of operation
1. One agent *coordinates*; all, it too, *participate*. In the first phase each votes yes or no; in the second all learn
   the decision: *commit* if every configured participant voted yes, *abort* otherwise.
2. A vote is durable before anybody is told. Who voted no knows the decision, and aborts. Who voted yes is *prepared*: it
   has given its choice away, and waits for the decision however long it takes. It must not decide alone, for the
   coordinator may have decided either way.
3. The coordinator votes first; its durable vote is the record that it began. It asks the others, again and again, until
   all have voted yes, one has voted no, or its patience ends. A decision to commit is durable before anybody is told. A
   decision to abort is not written: a coordinator that restarts and finds its vote, but no decision, *presumes abort*, and
   that is what it had decided, if anything.
4. Voters are counted, not votes: a repeated yes is one yes.
5. Who has not voted may still abort alone, by voting no; it does so when nobody asks for its vote in time.
6. Who is prepared asks the coordinator. If that stays silent for longer than the others have to vote, it asks the other
   participants too: one that knows the decision tells it, and one that has not voted votes no. If all that can be reached
   are prepared it must wait: two-phase commit *blocks* while the coordinator is gone.
7. The coordinator repeats the decision to whoever has not confirmed knowing it. That is upkeep, and so is asking after
   :data:`DEAF_AFTER` questions that nobody answered.

The diagram is the table :data:`TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import (
    RETURNED,
    Call,
    CancelCall,
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.decision import DECIDED, LONGEST_BACKOFF, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence.errors import ConvergenceUsageError, InternalError, unknown_name

__all__ = [
    "ABORT",
    "COMMIT",
    "TRANSITIONS",
    "VOTE_FUNCTION",
    "CommitRules",
    "TwoPhaseCommit",
    "read_vote",
]

COMMIT: Final = "commit"
ABORT: Final = "abort"

PREPARE: Final = "prepare"
VOTE: Final = "vote"
INQUIRE: Final = "inquire"

VOTE_FUNCTION: Final = "vote"
RESEND_TIMER: Final = "resend"
PATIENCE_TIMER: Final = "patience"

DEAF_AFTER: Final = 8
"""A prepared agent that has asked so often in vain goes on asking, but keeps no world awake for it."""

_ONLY_ROUND: Final = 1
_VOTES: Final[Mapping[Any, bool]] = {"yes": True, "no": False, COMMIT: True, ABORT: False}


class Stage(StrEnum):
    """Where an agent stands."""

    WORKING = "working"
    PREPARED = "prepared"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Event(StrEnum):
    """What may change the stage."""

    VOTED_YES = "voted yes"
    VOTED_NO = "voted no"
    COMMIT = "decision to commit"
    ABORT = "decision to abort"


TRANSITIONS: Final[Mapping[Stage, Mapping[Event, Stage]]] = {
    Stage.WORKING: {
        Event.VOTED_YES: Stage.PREPARED,
        Event.VOTED_NO: Stage.ABORTED,
        Event.ABORT: Stage.ABORTED,
    },
    Stage.PREPARED: {Event.COMMIT: Stage.COMMITTED, Event.ABORT: Stage.ABORTED},
    Stage.COMMITTED: {},
    Stage.ABORTED: {},
}
"""Stage and event to the next stage; what is not listed cannot happen."""


class CommitRules(NamedTuple):
    """What all agents share: who coordinates, and how long it waits for votes (the others wait twice as long for it)."""

    coordinator: str
    patience_ns: int
    resend_ns: int


def read_vote(vote: Any) -> bool:
    """Return whether ``vote`` means yes.

    Raises:
        ConvergenceUsageError: it is not ``True``, ``False``, ``"yes"``, ``"no"``, ``"commit"`` or ``"abort"``.
    """
    if isinstance(vote, bool):
        return vote
    if isinstance(vote, str):
        if vote in _VOTES:
            return _VOTES[vote]
        raise unknown_name("vote", vote, tuple(_VOTES), fix="True and False will do as well.")
    raise ConvergenceUsageError(
        f"a vote on a commit must be 'yes' or 'no' (or True, False, 'commit', 'abort'), not {vote!r}."
    )


class TwoPhaseCommit:
    """One agent's side of two-phase commit (a :class:`~pytest_convergence._engine.base.effects.Machine`).

    ``vote`` is the agent's vote; ``None`` has it call the function :data:`VOTE_FUNCTION` when it is asked. Until a vote is
    durable a crash makes it call again.
    """

    def __init__(self, agent: str, agents: Sequence[str], vote: bool | None, rules: CommitRules) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.others = tuple(other for other in self.agents if other != agent)
        self.rules = rules
        self.coordinates = agent == rules.coordinator
        self.intended = vote
        self.durable = Slots("commit")  # vote and decision together
        self.stage = Stage.WORKING
        self.calling = False
        self.votes: dict[str, bool] = {}  # what the coordinator knows
        self.inquiries = 0
        self.waited_ns = 0  # for the decision, since this life began or the vote was cast
        self.decision = Decision(self.others if self.coordinates else (), rules.resend_ns)
        self._handlers: Mapping[str, Callable[[str, Any], list[Effect]]] = {
            PREPARE: self._on_prepare,
            VOTE: self._on_vote,
            INQUIRE: self._on_inquire,
            DECIDED: self._on_decided,
        }
        self._alarms: Mapping[str, Callable[[], list[Effect]]] = {
            SPREAD_TIMER: self.decision.spread,
            RESEND_TIMER: self._repeat,
            PATIENCE_TIMER: self._lose_patience,
        }

    # -- the machine's four doors ----------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin with what is durable: a decision, a vote, or nothing yet."""
        saved = self.durable.load(durable)
        if saved is None:
            effects: list[Effect] = [self._patience_timer()]
            return effects + self._consider() if self.coordinates else effects
        yes = saved["yes"]
        effects = []
        if yes is not None:
            effects.append(self._vote_fact(yes))
            self._move(Event.VOTED_YES if yes else Event.VOTED_NO)
        decision = saved["decision"]
        if decision is None and self.coordinates:
            decision = ABORT  # presumed: a decision to commit would be here
        if decision is None:
            return [*effects, *self._inquire()]
        return [*effects, *self._announce(decision)]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            raise unknown_name("two-phase commit message", kind, self._handlers)
        return handler(sender, payload) if sender in self.others else ()

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Repeat what was not answered, or lose patience."""
        return self._alarms[name]()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Take what the user's vote function returned.

        Raises:
            ConvergenceUsageError: the function returned no vote, or there is no such command.
            Exception: what the function raised.
        """
        if name == RETURNED and self.calling:
            self.calling = False
            return self._vote(read_vote(argument.value)) if self.stage is Stage.WORKING else ()
        if isinstance(getattr(argument, "error", None), Exception):
            raise argument.error
        raise unknown_name("two-phase commit command", name, ())

    def view(self) -> Any:
        """Return ``"commit"``, ``"abort"``, or ``None`` while the decision is not known."""
        return self.decision.value

    # -- voting ----------------------------------------------------------------------------------------------------

    def _move(self, event: Event) -> None:
        stage = TRANSITIONS[self.stage].get(event)
        if stage is None:
            raise InternalError(
                f"two-phase commit: who has {self.stage} cannot take {event!r}. Please report this."
            )
        self.stage = stage

    def _consider(self) -> list[Effect]:
        """Find out how to vote, once."""
        if self.calling:
            return []
        if self.intended is not None:
            return self._vote(self.intended)
        self.calling = True
        return [Call(VOTE_FUNCTION, VOTE_FUNCTION)]

    def _vote(self, yes: bool) -> list[Effect]:
        """Cast this agent's vote, and make it durable before anybody is told."""
        self._move(Event.VOTED_YES if yes else Event.VOTED_NO)
        effects = [*self._save(yes, None if yes else ABORT), self._vote_fact(yes)]
        if not yes:
            told = [] if self.coordinates else [self._vote_message()]
            return [*effects, *told, *self._announce(ABORT)]
        if not self.coordinates:
            return [*effects, CancelTimer(PATIENCE_TIMER), self._vote_message(), *self._inquiry_timer()]
        self.votes = {self.name: True}
        return [*effects, *self._count(), *(self._ask() if self.others else ())]

    def _vote_message(self) -> Effect:
        yes = self.stage in (Stage.PREPARED, Stage.COMMITTED)
        return Send(self.rules.coordinator, VOTE, {"yes": yes})

    def _vote_fact(self, yes: bool) -> Effect:
        return Observe("vote", {"round": _ONLY_ROUND, "value": "yes" if yes else "no"})

    def _on_prepare(self, sender: str, payload: Any) -> list[Effect]:
        if sender != self.rules.coordinator:
            return []
        return self._consider() if self.stage is Stage.WORKING else [self._vote_message()]

    # -- coordinating ----------------------------------------------------------------------------------------------

    def _ask(self) -> list[Effect]:
        asked: list[Effect] = [Send(other, PREPARE, None) for other in self.others if other not in self.votes]
        return [*asked, SetTimer(RESEND_TIMER, self.rules.resend_ns)]

    def _on_vote(self, sender: str, payload: Any) -> list[Effect]:
        if not self.coordinates or self.stage is not Stage.PREPARED:
            return [self.decision.message_to(sender, ask=True)] if self._knows_more_than(payload) else []
        self.votes[sender] = payload["yes"]
        return self._count()

    def _knows_more_than(self, payload: Any) -> bool:
        return self.coordinates and self.decision.is_made and bool(payload["yes"])

    def _count(self) -> list[Effect]:
        """Decide, if the votes say so: no quorum, everybody configured."""
        if not all(self.votes.values()):
            return self._decide(ABORT)
        return self._decide(COMMIT) if len(self.votes) == len(self.agents) else []

    # -- waiting for the decision ----------------------------------------------------------------------------------

    def _patience_timer(self) -> SetTimer:
        return SetTimer(PATIENCE_TIMER, self.rules.patience_ns * (1 if self.coordinates else 2))

    def _lose_patience(self) -> list[Effect]:
        """The coordinator aborts without all votes; who has not voted votes no."""
        return self._vote(False) if self.stage is Stage.WORKING else self._decide(ABORT)

    def _inquiry_timer(self) -> list[Effect]:
        delay_ns = 2 * self.rules.resend_ns * min(1 << self.inquiries, LONGEST_BACKOFF)
        self.waited_ns += delay_ns
        return [SetTimer(RESEND_TIMER, delay_ns, background=self.inquiries >= DEAF_AFTER)]

    def _inquire(self) -> list[Effect]:
        """Ask what was decided: the coordinator, and when it has been silent for long, whoever may know."""
        self.inquiries += 1
        patient = self.waited_ns <= 2 * self.rules.patience_ns
        asked = (self.rules.coordinator,) if patient else self.others
        return [*(Send(other, INQUIRE, None) for other in asked), *self._inquiry_timer()]

    def _repeat(self) -> list[Effect]:
        return self._ask() if self.coordinates else [self._vote_message(), *self._inquire()]

    def _on_inquire(self, sender: str, payload: Any) -> list[Effect]:
        if self.decision.is_made:
            return [self.decision.message_to(sender)]
        if self.stage is Stage.WORKING and not self.coordinates:
            return [*self._vote(False), self.decision.message_to(sender)]
        return []

    # -- deciding --------------------------------------------------------------------------------------------------

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        value = payload["value"]
        if self.stage is Stage.WORKING and value == COMMIT:
            return []  # nobody may commit without this agent's vote: somebody broke the protocol; the properties will say so
        effects = [] if self.decision.is_made else self._decide(value)
        return effects + self.decision.heard_from(sender, ask=payload["ask"])

    def _decide(self, value: str) -> list[Effect]:
        """Take a decision, make it durable where it could not be presumed, and announce it."""
        voted = self.stage is not Stage.WORKING
        self._move(Event.COMMIT if value == COMMIT else Event.ABORT)
        presumed = self.coordinates and value == ABORT
        saved = [] if presumed else self._save(True if voted else None, value)
        return [*saved, *self._announce(value)]

    def _announce(self, value: str) -> list[Effect]:
        timers: list[Effect] = [CancelTimer(RESEND_TIMER), CancelTimer(PATIENCE_TIMER)]
        if self.calling:
            self.calling = False
            timers.append(CancelCall(VOTE_FUNCTION))
        return [*timers, *self.decision.announce(value)]

    def _save(self, yes: bool | None, decision: str | None) -> list[Effect]:
        return self.durable.save({"yes": yes, "decision": decision})

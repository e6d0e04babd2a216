"""Leader election by Raft.

Source: Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm* (2014), sections 5.1, 5.2
and 5.6; Ongaro, *Consensus: Bridging Theory and Practice* (2014), chapter 3, section 6.2 (a leader steps down
without a quorum) and section 9.6 (pre-vote). There is no log here, so the election restriction of section
5.4.1 has nothing to compare; :mod:`.raft_replication` adds the log, and what depends on it.

Theory of operation
1. Time is cut into *terms*. An agent votes at most once in a term, for the first candidate that asks. Term
   and vote are durable (persisted and synced) before anybody is told, so a crash cannot take a promise back.
2. A candidate leads its term once a quorum of the *configured* agents voted for it. Two quorums share an
   agent and that agent voted once: there is at most one leader in a term (election safety). Voters are
   counted, not votes, and only votes of the candidate's own term.
3. Whoever sees a higher term adopts it and follows. Whoever sees a lower one answers with its own.
4. A leader sends heartbeats. A follower holds a *lease*: as long as it hears from its leader it does not
   stand. The lease timer has no spread, so a heartbeat asks the schedule for nothing; when the lease runs
   out, the *election* timer adds the randomised part. Together they are the randomised election timeout of
   section 5.2.
5. Pre-vote (optional, on by default): before it takes a new term an agent asks whether a quorum would vote
   for it. Those that hold a lease say no. So an agent that comes back from a partition does not depose a
   working leader.
6. Check-quorum: a leader that did not hear from a quorum within an election timeout steps down, so an
   isolated leader notices that it is alone.
7. Requests are repeated until answered, because messages may be lost. Everything is idempotent: answers are
   kept by voter.
8. An election that brings no leader doubles the timeout of the next one, up to :data:`LONGEST_BACKOFF` times, until
   a leader is heard: this parts agents that stand at the same time.
9. The paper asks that messages travel much faster than elections time out (section 5.6). Where a network is slower than
   that, terms would follow one another for ever; so an agent that learns of it doubles *all* its timeouts (its
   ``patience``), up to :data:`LONGEST_STRETCH` times. It learns of it when a suspicion proves wrong: it gave a term up,
   as a follower or as its leader, and then hears from the leader or from a follower of that term (the rule of Chandra
   and Toueg, *Unreliable Failure Detectors for Reliable Distributed Systems*, 1996, figure 10). A term whose leader
   lasts for :data:`SUCCESS` stretched timeouts takes one doubling back, for the next term. A stretch is a power of two,
   so it asks the schedule for nothing new; where messages are on time nobody ever sees it.
10. Heartbeat, lease and check-quorum timers are upkeep (``background``). The election timer is not: an agent
   without a leader has work to do.

The diagram is the table :data:`TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import (
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.base.messages import FrozenDict
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.quorum import VoteResult, majority, vote_result
from pytest_convergence.errors import InternalError, unknown_name

__all__ = ["TRANSITIONS", "Event", "LeaderView", "RaftElection", "RaftTiming", "Role"]

HEARTBEAT: Final = "heartbeat"
HEARTBEAT_RESPONSE: Final = "heartbeat_response"
VOTE_REQUEST: Final = "vote_request"
VOTE_RESPONSE: Final = "vote_response"
PRE_VOTE_REQUEST: Final = "pre_vote_request"
PRE_VOTE_RESPONSE: Final = "pre_vote_response"

ELECTION_TIMER: Final = "election"
LEASE_TIMER: Final = "lease"
HEARTBEAT_TIMER: Final = "heartbeat"
QUORUM_TIMER: Final = "quorum"
RESEND_TIMER: Final = "resend"
SUCCESS_TIMER: Final = "success"


LONGEST_BACKOFF: Final = 8
"""Elections in a row that bring no leader stretch the timeout of the next one up to this many times."""

LONGEST_STRETCH: Final = 256
"""Patience and backoff together stretch no timeout more than this many times."""

SUCCESS: Final = 4
"""For how many (stretched) election timeouts a leader must last, for its followers to trust the network more again."""

_MOST_PATIENCE: Final = LONGEST_STRETCH.bit_length() - 1


class LeaderView(NamedTuple):
    """What an agent exposes of an election: the leader that it follows (or is), and the term."""

    leader: str | None
    term: int


class Role(StrEnum):
    """The roles of section 5.1, and that of section 9.6."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Event(StrEnum):
    """What may change a role."""

    ELECTION_TIMEOUT = "election timeout"
    PRE_VOTE_WON = "pre-vote won"
    ELECTION_WON = "election won"
    ELECTION_LOST = "election lost"
    VOTE_GRANTED = "vote granted"
    CURRENT_LEADER = "current leader heard"
    HIGHER_TERM = "higher term seen"
    QUORUM_LOST = "quorum lost"
    STEP_DOWN = "told to step down"


TRANSITIONS: Final[Mapping[Role, Mapping[Event, Role]]] = {
    Role.FOLLOWER: {
        Event.ELECTION_TIMEOUT: Role.PRE_CANDIDATE,
        Event.VOTE_GRANTED: Role.FOLLOWER,
        Event.CURRENT_LEADER: Role.FOLLOWER,
        Event.HIGHER_TERM: Role.FOLLOWER,
    },
    Role.PRE_CANDIDATE: {
        Event.ELECTION_TIMEOUT: Role.PRE_CANDIDATE,
        Event.PRE_VOTE_WON: Role.CANDIDATE,
        Event.ELECTION_LOST: Role.FOLLOWER,
        Event.VOTE_GRANTED: Role.FOLLOWER,
        Event.CURRENT_LEADER: Role.FOLLOWER,
        Event.HIGHER_TERM: Role.FOLLOWER,
        Event.STEP_DOWN: Role.FOLLOWER,
    },
    Role.CANDIDATE: {
        Event.ELECTION_TIMEOUT: Role.PRE_CANDIDATE,
        Event.ELECTION_WON: Role.LEADER,
        Event.ELECTION_LOST: Role.FOLLOWER,
        Event.CURRENT_LEADER: Role.FOLLOWER,
        Event.HIGHER_TERM: Role.FOLLOWER,
        Event.STEP_DOWN: Role.FOLLOWER,
    },
    Role.LEADER: {
        Event.HIGHER_TERM: Role.FOLLOWER,
        Event.QUORUM_LOST: Role.FOLLOWER,
        Event.STEP_DOWN: Role.FOLLOWER,
    },
}
"""Role and event to the next role; what is not listed cannot happen."""


class RaftTiming(NamedTuple):
    """Nanoseconds: heartbeat interval, and the shortest and longest election timeout."""

    heartbeat_ns: int
    election_min_ns: int
    election_max_ns: int

    @property
    def election_spread_ns(self) -> int:
        """What the schedule may add to the shortest election timeout."""
        return self.election_max_ns - self.election_min_ns

    @property
    def resend_ns(self) -> int:
        """After how long an unanswered request is repeated."""
        return 2 * self.heartbeat_ns


class RaftElection:
    """One agent's side of the election (a :class:`~pytest_convergence._engine.base.effects.Machine`).

    Commands: ``"step_down"`` makes a leader follow, ``"campaign"`` makes an agent stand at once.
    """

    _signs_of_a_term = frozenset({HEARTBEAT, HEARTBEAT_RESPONSE})
    """The kinds of messages by which the leader of a term and its followers know each other."""

    def __init__(
        self, agent: str, agents: Sequence[str], timing: RaftTiming, *, pre_vote: bool = True
    ) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.timing = timing
        self.pre_vote = pre_vote
        self.quorum = majority(len(self.agents))
        self.others = tuple(other for other in self.agents if other != agent)
        self.durable = Slots("raft")  # term and vote together: a crash must not keep one without the other
        self.role = Role.FOLLOWER
        self.term = 0
        self.voted_for: str | None = None
        self.leader: str | None = None
        self.votes: dict[str, bool] = {}
        self.campaigns = 0  # elections in a row that brought no leader
        self.patience = 0  # doublings of every timeout: how much slower the network is than was expected
        self.lasting = False  # whether the success timer runs for the present leader …
        self.succeeds = False  # … or has run out: that leader has lasted
        self.suspected: int | None = None  # the term that this agent gave up last, unless that is settled
        self.heard: set[str] = set()
        self.armed: str | None = None  # which of the lease and the election timer runs
        self._leased_to: str | None = None  # the leader whose next heartbeat takes the short way
        self._heartbeat_reply: tuple[Effect, ...] = ()
        self._heartbeats: tuple[Effect, ...] = ()
        self._handlers: dict[str, Callable[[str, Any], list[Effect]]] = {
            HEARTBEAT: self._on_heartbeat,
            HEARTBEAT_RESPONSE: self._on_heartbeat_response,
            VOTE_REQUEST: self._on_vote_request,
            VOTE_RESPONSE: self._on_vote_response,
            PRE_VOTE_REQUEST: self._on_pre_vote_request,
            PRE_VOTE_RESPONSE: self._on_pre_vote_response,
        }
        self._alarms: dict[str, Callable[[], Iterable[Effect]]] = {
            ELECTION_TIMER: self._campaign,
            LEASE_TIMER: self._lease_ran_out,
            HEARTBEAT_TIMER: lambda: self._heartbeats,
            QUORUM_TIMER: self._check_quorum,
            RESEND_TIMER: self._resend,
            SUCCESS_TIMER: self._succeeded,
        }

    # -- the machine's four doors ----------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin a life as a follower, with the term and vote of the lives before."""
        saved = self.durable.load(durable)
        if saved is None:
            return [self._term_fact(), *self._arm_election()]
        self.term, self.voted_for = saved["term"], saved["voted_for"]
        return [self._term_fact(), self._vote_fact(), *self._arm_election()]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        if sender == self._leased_to and kind == HEARTBEAT and payload["term"] == self.term:
            return self._heartbeat_reply
        handler = self._handlers.get(kind)
        if handler is None:
            raise unknown_name("Raft message", kind, self._handlers)
        if sender not in self.others:
            return ()
        if payload["term"] == self.suspected and kind in self._signs_of_a_term:
            self._learn_patience()  # the term that was given up lives: its messages only took longer
        effects: list[Effect] = []
        if payload["term"] > self.term and not self._is_hypothetical(kind, payload):
            effects += self._adopt(payload["term"])
        return effects + handler(sender, payload)

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Take the alarm of one of this machine's timers."""
        return self._alarms[name]()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Carry out ``"step_down"`` or ``"campaign"``; neither takes an argument.

        Raises:
            ConvergenceUsageError: the command does not exist.
        """
        if name == "step_down":
            return [] if self.role is Role.FOLLOWER else self._follow(Event.STEP_DOWN) + self._arm_election()
        if name == "campaign":
            return [] if self.role is Role.LEADER else self._campaign()
        raise unknown_name("leader-follower command", name, ("campaign", "step_down"))

    def view(self) -> LeaderView:
        """Return the leader that this agent follows, and the term."""
        return LeaderView(self.leader, self.term)

    # -- terms and roles -------------------------------------------------------------------------------------------

    def _move(self, event: Event) -> None:
        role = TRANSITIONS[self.role].get(event)
        if role is None:
            raise InternalError(f"Raft: a {self.role} cannot take the event {event!r}. Please report this.")
        self.role = role

    def _is_hypothetical(self, kind: str, payload: Any) -> bool:
        """Whether the term of a message is one that nobody has taken yet (pre-vote)."""
        return kind == PRE_VOTE_REQUEST or (kind == PRE_VOTE_RESPONSE and bool(payload["granted"]))

    def _adopt(self, term: int) -> list[Effect]:
        effects = self._follow(Event.HIGHER_TERM)
        self.term, self.voted_for = term, None
        effects += [*self._save(), self._term_fact()]
        return effects if self.armed == ELECTION_TIMER else effects + self._arm_election()

    def _follow(self, event: Event, leader: str | None = None) -> list[Effect]:
        """Move to a role that is not leading, and leave behind what belongs to the role before."""
        effects: list[Effect] = []
        if self.role is Role.LEADER:
            effects += [CancelTimer(HEARTBEAT_TIMER), CancelTimer(QUORUM_TIMER)]
            effects.append(Observe("step_down", {"term": self.term, "reason": str(event)}))
        elif self.role is not Role.FOLLOWER:
            effects.append(CancelTimer(RESEND_TIMER))
        if self.lasting and leader != self.leader:
            self.lasting = False
            effects.append(CancelTimer(SUCCESS_TIMER))
        self._move(event)
        self.leader, self.votes = leader, {}
        self._leased_to = None
        return effects

    def _save(self) -> list[Effect]:
        return self.durable.save({"term": self.term, "voted_for": self.voted_for})

    def _term_fact(self) -> Effect:
        return Observe("term", {"term": self.term})

    def _vote_fact(self) -> Effect:
        return Observe("vote", {"term": self.term, "candidate": self.voted_for})

    def _backoff(self) -> int:
        """By how much the timeout of an election is stretched: by campaigns without a leader, 1, 1, 2, 4, 8 and no more,
        and by patience.
        """
        return min(min(1 << max(0, self.campaigns - 1), LONGEST_BACKOFF) << self.patience, LONGEST_STRETCH)

    def _learn_patience(self) -> None:
        """The network is slower than this agent's timeouts: double them."""
        self.suspected = None
        self.succeeds = False
        self.patience = min(self.patience + 1, _MOST_PATIENCE)

    def _new_leader(self) -> list[Effect]:
        """Another leader is known: if the one before has lasted, the network deserves more trust."""
        if self.succeeds:
            self.patience = max(0, self.patience - 1)
        self.succeeds = False
        self.lasting = self.patience > 0
        if not self.lasting:
            return []
        lasting_ns = SUCCESS * self.timing.election_min_ns << self.patience
        return [SetTimer(SUCCESS_TIMER, lasting_ns, background=True)]

    def _succeeded(self) -> list[Effect]:
        self.lasting, self.succeeds = False, True
        return []

    def _arm_election(self) -> list[Effect]:
        timing, times = self.timing, self._backoff()
        return self._rearm(
            SetTimer(ELECTION_TIMER, times * timing.election_min_ns, times * timing.election_spread_ns)
        )

    def _rearm(self, timer: SetTimer) -> list[Effect]:
        effects: list[Effect] = []
        if self.armed is not None and self.armed != timer.name:
            effects.append(CancelTimer(self.armed))
        self.armed = timer.name
        return [*effects, timer]

    # -- standing --------------------------------------------------------------------------------------------------

    def _lease_ran_out(self) -> list[Effect]:
        """The shortest election timeout has passed in silence; the randomised rest follows."""
        self._leased_to = None
        self.armed = None
        return self._rearm(SetTimer(ELECTION_TIMER, 0, self.timing.election_spread_ns << self.patience))

    def _campaign(self) -> list[Effect]:
        effects = self._follow(Event.ELECTION_TIMEOUT)
        self.campaigns += 1
        self.suspected = self.term
        effects += self._arm_election()
        self.votes = {self.name: True}
        if not self.pre_vote or self.quorum == 1:
            return effects + self._stand()
        return effects + self._resend()

    def _stand(self) -> list[Effect]:
        """Take a new term, vote for oneself, and ask the others."""
        self._move(Event.PRE_VOTE_WON)
        self.term += 1
        self.voted_for = self.name
        self.votes = {self.name: True}
        effects = [
            *self._save(),
            self._term_fact(),
            self._vote_fact(),
            Observe("round", {"round": self.term}),
        ]
        return effects + (self._lead() if self.quorum == 1 else self._resend())

    def _resend(self) -> list[Effect]:
        """Ask everybody who has not answered."""
        standing = self.role is Role.CANDIDATE
        kind, term = (VOTE_REQUEST, self.term) if standing else (PRE_VOTE_REQUEST, self.term + 1)
        payload = self._candidacy(term)
        asked = [Send(other, kind, payload) for other in self.others if other not in self.votes]
        return [*asked, SetTimer(RESEND_TIMER, self._backoff() * self.timing.resend_ns)]

    def _candidacy(self, term: int) -> dict[str, Any]:
        """What a request for a vote says; with a log it says how far that log reaches."""
        return {"term": term}

    def _result(self) -> VoteResult:
        return vote_result(self.agents, self.votes, self.quorum)

    def _on_pre_vote_response(self, sender: str, payload: Any) -> list[Effect]:
        if self.role is not Role.PRE_CANDIDATE or payload["for_term"] != self.term + 1:
            return []
        self.votes[sender] = payload["granted"]
        return self._count(self._stand)

    def _on_vote_response(self, sender: str, payload: Any) -> list[Effect]:
        if self.role is not Role.CANDIDATE or payload["term"] != self.term:
            return []
        self.votes[sender] = payload["granted"]
        if self._result() is VoteResult.LOST and 1 << (self.campaigns - 1) >= LONGEST_BACKOFF:
            self._learn_patience()  # the others answer, and no backoff helps: they need the time to elect somebody
        return self._count(self._lead)

    def _count(self, won: Callable[[], list[Effect]]) -> list[Effect]:
        result = self._result()
        if result is VoteResult.WON:
            return won()
        if result is VoteResult.LOST:
            return self._follow(Event.ELECTION_LOST)  # its election timer still runs and makes it try again
        return []

    # -- voting ----------------------------------------------------------------------------------------------------

    def _on_pre_vote_request(self, sender: str, payload: Any) -> list[Effect]:
        term = payload["term"]
        leased = self.role is Role.LEADER or self.armed == LEASE_TIMER
        free = self.voted_for == sender or (self.voted_for is None and self.leader is None)
        granted = not leased and (term > self.term or (term == self.term and free)) and self._may_win(payload)
        return [Send(sender, PRE_VOTE_RESPONSE, {"term": self.term, "for_term": term, "granted": granted})]

    def _on_vote_request(self, sender: str, payload: Any) -> list[Effect]:
        effects: list[Effect] = []
        current = payload["term"] == self.term
        if current and self.voted_for is None and self.leader is None and self._may_win(payload):
            effects += self._follow(Event.VOTE_GRANTED)
            self.voted_for = sender
            effects += [*self._save(), self._vote_fact(), *self._arm_election()]
        granted = current and self.voted_for == sender
        return [*effects, Send(sender, VOTE_RESPONSE, {"term": self.term, "granted": granted})]

    def _may_win(self, candidacy: Any) -> bool:
        """Whether this agent may vote for a candidate at all (the restriction of section 5.4.1, where there is a log)."""
        return True

    # -- leading and following -------------------------------------------------------------------------------------

    def _lead(self) -> list[Effect]:
        self._move(Event.ELECTION_WON)
        self.leader, self.armed, self.campaigns = self.name, None, 0
        self.heard = set()
        effects = [CancelTimer(ELECTION_TIMER), CancelTimer(RESEND_TIMER), *self._new_leader()]
        return [*effects, Observe("leader", {"term": self.term}), *self._begin_to_lead()]

    def _begin_to_lead(self) -> list[Effect]:
        """Tell the others, and go on telling them."""
        if not self.others:
            return []
        beats = [Send(other, HEARTBEAT, FrozenDict(term=self.term)) for other in self.others]
        self._heartbeats = (*beats, SetTimer(HEARTBEAT_TIMER, self.timing.heartbeat_ns, background=True))
        return [*self._heartbeats, self._quorum_timer()]

    def _quorum_timer(self) -> SetTimer:
        return SetTimer(QUORUM_TIMER, self.timing.election_min_ns << self.patience, background=True)

    def _check_quorum(self) -> list[Effect]:
        if len(self.heard) + 1 >= self.quorum:
            self.heard.clear()
            return [self._quorum_timer()]
        self.suspected = self.term
        return self._follow(Event.QUORUM_LOST) + self._arm_election()

    def _on_heartbeat_response(self, sender: str, payload: Any) -> list[Effect]:
        if payload["term"] == self.term:
            self.heard.add(sender)
        return []

    def _on_heartbeat(self, sender: str, payload: Any) -> list[Effect]:
        reply = Send(sender, HEARTBEAT_RESPONSE, FrozenDict(term=self.term))
        if payload["term"] < self.term:
            return [reply]  # tells a leader of the past that it is one
        if self.role is Role.LEADER:
            return []  # a second leader of this term: somebody broke the protocol; the properties will say so
        effects = self._follow_leader(sender)
        self._leased_to, self._heartbeat_reply = sender, (self._lease_timer(), reply)
        return [*effects, reply]

    def _follow_leader(self, leader: str) -> list[Effect]:
        """Follow a leader of the present term that has just been heard."""
        known = self.leader == leader
        self.campaigns = 0
        effects = self._follow(Event.CURRENT_LEADER, leader=leader)
        if not known:
            effects += self._new_leader()
        effects += self._rearm(self._lease_timer())
        if not known:
            effects.append(Observe("follow", {"term": self.term, "leader": leader}))
        return effects

    def _lease_timer(self) -> SetTimer:
        return SetTimer(LEASE_TIMER, self.timing.election_min_ns << self.patience, background=True)

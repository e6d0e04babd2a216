"""Log replication by Raft, on top of its election.

Sources: Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm* (2014), sections 5.3, 5.4 and 8, figure
2; Ongaro, *Consensus: Bridging Theory and Practice* (2014), sections 4.2.3 (vows), 6.4 (reads) and 6.4.1 (leases).
Membership is fixed, and the log is not compacted.

Theory of operation
1. Whoever has a command *proposes* it. It goes to the leader, again and again until the proposer sees it applied. A
   proposal has an id, and a leader that finds the id in its log does not append it again: so it enters the log once.
2. A leader begins its term with an entry that carries no command. It sends each follower what follows the entry up to
   which it believes their logs to be equal, at most ``max_entries`` at a time. A follower that has not got that entry says
   where its own log parts from the leader's (the conflicting term and where it begins), and the leader goes back there.
   Heartbeats are such messages too, so whatever was lost is sent again.
3. A follower drops its entries only from the first that *conflicts* with one it is sent. A late message that is a prefix
   of what it has changes nothing. Entries are durable before anybody is told.
4. An entry is committed once a quorum of the configured agents hold it and an entry of the leader's own term
   (section 5.4.2). Followers learn of it by the next message. Committed commands are applied in order.
5. Nobody votes for a candidate whose log is less up to date than its own (section 5.4.1). So whoever is elected holds
   every committed entry.
6. A *read* notes how far the log is committed, once the leader has committed an entry of its term; confirms by a round of
   messages that a quorum still follows this leader; and is served, by whoever was asked, when that much is applied.
7. With leases a follower that hears its leader *vows* not to vote for the shortest election timeout; it ignores requests
   for its vote meanwhile. A restarted agent does not remember, so it vows anew. While a quorum of vows is fresh there
   cannot be another leader, and the leader serves reads without asking. The length allows for clocks that drift.
8. The term is the *fencing token* of whatever a leader does outside: a lease cannot stop an agent that was paused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_convergence._engine.base.effects import Effect, Observe, Send, SetTimer
from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.patterns.raft import (
    HEARTBEAT_TIMER,
    LONGEST_BACKOFF,
    VOTE_REQUEST,
    Event,
    RaftElection,
    Role,
)
from pytest_convergence._engine.patterns.raft_log import NO_OP, Entry, LogEntry, RaftLog
from pytest_convergence._engine.patterns.raft_progress import (
    HOURGLASS_TIMER,
    Commitment,
    Lease,
    Reading,
    lease_ns,
)
from pytest_convergence._engine.patterns.raft_rules import Proposal, ReplicaRules, ReplicaView
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["PROPOSE", "READ", "Proposal", "RaftReplica", "ReplicaRules", "ReplicaView"]

APPEND: Final = "append"
APPEND_RESPONSE: Final = "append_response"
PROPOSE: Final = "propose"
READ: Final = "read"
READ_RESPONSE: Final = "read_response"

REQUEST_TIMER: Final = "request"
VOW_TIMER: Final = "vow"
_COMMANDS: Final = ("campaign", PROPOSE, READ, "step_down")


class RaftReplica(RaftElection):
    """One server of a replicated log (a :class:`~pytest_convergence._engine.base.effects.Machine`).

    Commands: those of the election, ``"propose"`` (a :class:`Proposal`) and ``"read"`` (an id). :meth:`answer` tells what
    came of them.
    """

    _signs_of_a_term = frozenset({APPEND, APPEND_RESPONSE})

    def __init__(self, agent: str, agents: Sequence[str], rules: ReplicaRules) -> None:
        super().__init__(agent, agents, rules.timing, pre_vote=rules.pre_vote)
        self.rules = rules
        self.log = RaftLog()
        self.commit = 0  # the highest index known to be committed
        self.applied = 0
        self.state: Any = snapshot(rules.initial)
        self.commands: list[LogEntry] = []
        self.pending: dict[str, Any] = {}  # proposals of this agent that it has not seen applied
        self.asked: dict[str, None] = {}  # reads of this agent whose index it does not know
        self.waiting: dict[str, int] = {}  # reads of this agent to the index that must be applied
        self.repeats = 0
        self._answers: dict[str, Any] = {}
        self._view: ReplicaView | None = None
        # As a leader
        self.commitment = Commitment(self.agents, 1)
        self.next_index: dict[str, int] = {}
        self.round = 0
        self.rounds: dict[str, int] = {}  # follower to the newest round that it has answered
        self.early: dict[str, str] = {}  # reads to their askers, before an entry of this term is committed
        self.readings: list[Reading] = []
        # With leases
        self.vowed = False
        length_ns = lease_ns(self.timing.election_min_ns, rules.max_clock_drift)
        self.lease = Lease(agent, self.agents, length_ns, self.timing.heartbeat_ns)
        self._handlers |= {
            APPEND: self._on_append,
            APPEND_RESPONSE: self._on_append_response,
            PROPOSE: self._on_propose,
            READ: self._on_read,
            READ_RESPONSE: self._on_read_response,
        }
        self._alarms |= {
            HEARTBEAT_TIMER: self._beat,
            REQUEST_TIMER: self._repeat,
            VOW_TIMER: self._vow_ends,
        }

    # -- the machine's doors ---------------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin a life as a follower, with the term, the vote and the log of the lives before."""
        self.log.load(durable)
        effects = list(super().on_start(durable))
        if durable:
            effects.append(self.log.fact())
            effects += self._vow()  # perhaps there was one, and it is forgotten
        return effects

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; a request for a vote that a vow stands against is not even looked at."""
        if self.vowed and kind == VOTE_REQUEST:
            return ()
        return super().on_message(sender, kind, payload)

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Take the alarm of one of this machine's timers."""
        if name.startswith(HOURGLASS_TIMER):
            self.lease.ran_out(name)
            return ()
        return super().on_timer(name)

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Carry out ``"propose"``, ``"read"``, ``"step_down"`` or ``"campaign"`` (which a vow may stand against).

        Raises:
            ConvergenceUsageError: the command does not exist, or the proposal is ``None``.
        """
        if name == PROPOSE:
            return self._propose(*argument)
        if name == READ:
            return self._ask_to_read(argument)
        if name not in _COMMANDS:
            raise unknown_name("leader-follower command", name, _COMMANDS)
        return super().on_command(name, argument)

    def view(self) -> Any:
        """Return the leader, the term, and what is applied."""
        view = self._view
        if view is None or view[:3] != (self.leader, self.term, self.applied):
            view = self._view = ReplicaView(self.leader, self.term, self.applied, self._replicated())
        return view

    def _replicated(self) -> Any:
        """What the applied commands have come to."""
        return self.state if self.rules.apply is not None else tuple(entry.command for entry in self.commands)

    def answer(self, id: str) -> tuple[Any] | None:
        """Return what came of a proposal (its :class:`LogEntry`) or of a read (the state), as ``(answer,)``."""
        found = self._answers.get(id)
        if found is None and (index := self.log.index_of(id)) is not None and index <= self.applied:
            entry = self.log.entry(index)
            return (LogEntry(index, entry.term, entry.command),)
        return found

    @property
    def holds_lease(self) -> bool:
        """Whether this agent leads, and knows that nobody else can."""
        return self.rules.lease and self.role is Role.LEADER and self.lease.is_held

    # -- electing: what the log adds -------------------------------------------------------------------------------

    def _candidacy(self, term: int) -> dict[str, Any]:
        return {"term": term, "last_term": self.log.last_term, "last_index": self.log.last_index}

    def _may_win(self, candidacy: Any) -> bool:
        return self.log.is_up_to_date(candidacy["last_term"], candidacy["last_index"])

    def _vow(self) -> list[Effect]:
        if not self.rules.lease:
            return []
        self.vowed = True
        return [SetTimer(VOW_TIMER, self.timing.election_min_ns, background=True)]

    def _vow_ends(self) -> list[Effect]:
        self.vowed = False
        return []

    def _campaign(self) -> list[Effect]:
        return self._arm_election() if self.vowed else super()._campaign()

    def _follow(self, event: Event, leader: str | None = None) -> list[Effect]:
        self.early.clear()
        self.readings.clear()
        return super()._follow(event, leader)

    # -- leading ---------------------------------------------------------------------------------------------------

    def _begin_to_lead(self) -> list[Effect]:
        first = self.log.last_index + 1
        self.commitment = Commitment(self.agents, first)
        self.next_index = dict.fromkeys(self.others, first)
        self.rounds = {}
        self.lease.begin()
        effects = self._append([*self._first_entries(), *self._unlogged()])
        effects += [*self._beat(), *self._take_commitment()]
        for id in list(self.asked):
            effects += self._read(id, self.name)
        return [*effects, self._quorum_timer()] if self.others else effects

    def _first_entries(self) -> list[Entry]:
        """What a leader begins its term with, so that there is an entry of this term to commit."""
        return [Entry(self.term, NO_OP, None)]

    def _beat(self) -> list[Effect]:
        glass: list[Effect] = [self.lease.turn()] if self.rules.lease else []
        if not self.others:
            return glass
        timer = SetTimer(HEARTBEAT_TIMER, self.timing.heartbeat_ns, background=True)
        return [*glass, *self._broadcast(), timer]

    def _broadcast(self) -> list[Effect]:
        """Send everybody what it lacks, as a new round."""
        self.round += 1
        return [self._entries_for(other) for other in self.others]

    def _entries_for(self, other: str) -> Effect:
        """What ``other`` lacks, as far as this leader knows. It is taken to arrive; if it did not, the answer to a later
        message says so.
        """
        first = self.next_index[other]
        entries = self.log.part(first, self.rules.max_entries)
        self.next_index[other] = first + len(entries)
        payload = {
            "term": self.term,
            "prev_index": first - 1,
            "prev_term": self.log.term_at(first - 1),
            "entries": [tuple(entry) for entry in entries],
            "commit": self.commit,
            "round": self.round,
            "beat": self.lease.beat,
        }
        return Send(other, APPEND, payload)

    def _append(self, entries: list[Entry]) -> list[Effect]:
        effects = self.log.write(self.log.last_index + 1, entries)
        self.commitment.match(self.name, self.log.last_index)
        return effects

    def _on_append_response(self, sender: str, payload: Any) -> list[Effect]:
        if self.role is not Role.LEADER or payload["term"] != self.term:
            return []
        self.heard.add(sender)
        self.rounds[sender] = max(payload["round"], self.rounds.get(sender, 0))
        self.lease.answered(sender, payload["beat"])
        effects = self._confirm_reads()
        if payload["matches"]:
            self.commitment.match(sender, payload["index"])
            self.next_index[sender] = max(self.next_index[sender], payload["index"] + 1)
            if self.next_index[sender] <= self.log.last_index:
                effects.append(self._entries_for(sender))
            return effects + self._take_commitment()
        if payload["index"] > self.commitment.held_by(sender):
            self.next_index[sender] = self._back_to(sender, payload)
            effects.append(self._entries_for(sender))
        return effects

    def _back_to(self, other: str, payload: Any) -> int:
        """Where to go on with a follower that lacks the entry at ``index``: where its log may part from this one."""
        shared = self.log.last_of_term(payload["conflict_term"])
        parting: int = shared + 1 if shared else payload["conflict_index"]
        return max(self.commitment.held_by(other) + 1, min(int(payload["index"]), parting))

    def _take_commitment(self) -> list[Effect]:
        """Commit what a quorum holds by now; then reads that waited for this term's first entry may go on."""
        if self.commitment.index <= self.commit:
            return []
        effects = self._commit_up_to(self.commitment.index)
        early, self.early = self.early, {}
        for id, asker in early.items():
            effects += self._read(id, asker)
        return effects

    # -- following -------------------------------------------------------------------------------------------------

    def _on_append(self, sender: str, payload: Any) -> list[Effect]:
        prev = payload["prev_index"]
        reply = {"term": self.term, "round": payload["round"], "beat": payload["beat"], "matches": False}
        if payload["term"] < self.term:
            # Tells a leader of the past that it is one.
            return [Send(sender, APPEND_RESPONSE, {**reply, "index": 0})]
        if self.role is Role.LEADER:
            return []  # a second leader of this term: somebody broke the protocol; the properties will say so
        news = self.leader != sender
        effects = [*self._vow(), *self._follow_leader(sender)]
        if self.log.term_at(prev) == payload["prev_term"]:
            entries = [Entry(*entry) for entry in payload["entries"]]
            effects += self._merge(prev, entries)
            last = prev + len(entries)
            effects.append(Send(sender, APPEND_RESPONSE, {**reply, "index": last, "matches": True}))
            effects += self._commit_up_to(min(payload["commit"], last))
        else:
            effects.append(Send(sender, APPEND_RESPONSE, {**reply, "index": prev, **self._conflict(prev)}))
        return effects + self._forward() if news else effects

    def _merge(self, prev: int, entries: list[Entry]) -> list[Effect]:
        """Write what is new of ``entries``, which follow the entry at ``prev``; drop only what conflicts with them."""
        for place, entry in enumerate(entries):
            index = prev + 1 + place
            if self.log.term_at(index) != entry.term:
                return self.log.write(index, entries[place:])
        return []

    def _conflict(self, prev: int) -> dict[str, int]:
        """Say where this log parts from the leader's, at the latest."""
        term = self.log.term_at(prev)
        if term is None:
            return {"conflict_term": 0, "conflict_index": self.log.last_index + 1}
        return {"conflict_term": term, "conflict_index": self.log.first_of_term_at(prev)}

    # -- committing and applying -----------------------------------------------------------------------------------

    def _commit_up_to(self, index: int) -> list[Effect]:
        if index <= self.commit:
            return []
        self.commit = index
        effects: list[Effect] = [Observe("commit", {"index": index, "term": self.term})]
        while self.applied < index:
            self.applied += 1
            effects += self._apply(self.applied, self.log.entry(self.applied))
        return effects + self._serve()

    def _apply(self, index: int, entry: Entry) -> list[Effect]:
        fact = Observe("apply", {"index": index, "value": entry.command})
        if entry.id == NO_OP:
            return [fact]
        self.commands.append(LogEntry(index, entry.term, entry.command))
        if self.rules.apply is not None:
            self.state = self.rules.apply(self.state, entry.command)
        self.pending.pop(entry.id, None)
        return [fact]

    # -- proposing -------------------------------------------------------------------------------------------------

    def _propose(self, id: str, command: Any) -> list[Effect]:
        if command is None:
            raise ConvergenceUsageError(
                "None cannot be proposed: it stands for 'no command'. Propose another value."
            )
        if self.answer(id) is not None:
            return []
        self.pending[id] = command
        return self._forward() + self._request_timer()

    def _unlogged(self) -> list[Entry]:
        """This agent's own proposals, as entries, as far as they are not in the log yet."""
        return [
            Entry(self.term, id, command)
            for id, command in self.pending.items()
            if self.log.index_of(id) is None
        ]

    def _forward(self) -> list[Effect]:
        """Bring this agent's own proposals and reads before the leader, if there is one."""
        if self.role is Role.LEADER:
            effects = self._add(self._unlogged())
            for id in list(self.asked):
                effects += self._read(id, self.name)
            return effects
        leader = self.leader
        if leader is None:
            return []
        asked = [Send(leader, READ, {"term": self.term, "id": id}) for id in self.asked]
        return [
            *(
                Send(leader, PROPOSE, {"term": self.term, "id": id, "command": command})
                for id, command in self.pending.items()
            ),
            *asked,
        ]

    def _request_timer(self) -> list[Effect]:
        if not self.pending and not self.asked:
            self.repeats = 0
            return []
        return [SetTimer(REQUEST_TIMER, self.timing.resend_ns * min(1 << self.repeats, LONGEST_BACKOFF))]

    def _repeat(self) -> list[Effect]:
        self.repeats += 1
        effects = self._forward()
        return effects + self._request_timer()

    def _add(self, entries: list[Entry]) -> list[Effect]:
        """Append entries as the leader, and send them on."""
        if not entries:
            return []
        return [*self._append(entries), *self._broadcast(), *self._take_commitment()]

    def _on_propose(self, sender: str, payload: Any) -> list[Effect]:
        if self.role is not Role.LEADER or self.log.index_of(payload["id"]) is not None:
            return []
        return self._add([Entry(self.term, payload["id"], payload["command"])])

    # -- reading ---------------------------------------------------------------------------------------------------

    def _ask_to_read(self, id: str) -> list[Effect]:
        self.asked[id] = None
        return [Observe("read_request", {"id": id}), *self._forward(), *self._request_timer()]

    def _on_read(self, sender: str, payload: Any) -> list[Effect]:
        return self._read(payload["id"], sender) if self.role is Role.LEADER else []

    def _read(self, id: str, asker: str) -> list[Effect]:
        """Find the index up to which a read must see the log. Asking twice gives two indexes; either will do."""
        if self.log.term_at(self.commit) != self.term:
            self.early[id] = asker
            return []
        if self.quorum == 1 or self.holds_lease:
            return self._allow(id, asker, self.commit)
        effects = self._broadcast()
        self.readings.append(Reading(id, asker, self.commit, self.round))
        return effects

    def _confirm_reads(self) -> list[Effect]:
        if not self.readings:
            return []
        rounds = sorted((self.rounds.get(other, 0) for other in self.others), reverse=True)
        confirmed = rounds[self.quorum - 2]  # this agent is one of the quorum
        allowed = [reading for reading in self.readings if reading.round <= confirmed]
        self.readings = [reading for reading in self.readings if reading.round > confirmed]
        return [
            effect for reading in allowed for effect in self._allow(reading.id, reading.asker, reading.index)
        ]

    def _allow(self, id: str, asker: str, index: int) -> list[Effect]:
        if asker != self.name:
            return [Send(asker, READ_RESPONSE, {"term": self.term, "id": id, "index": index})]
        return self._may_read(id, index)

    def _on_read_response(self, sender: str, payload: Any) -> list[Effect]:
        return self._may_read(payload["id"], payload["index"])

    def _may_read(self, id: str, index: int) -> list[Effect]:
        if id not in self.asked:
            return []
        del self.asked[id]
        self.waiting[id] = index
        return self._serve()

    def _serve(self) -> list[Effect]:
        """Answer the reads whose index is applied."""
        served = [id for id, index in self.waiting.items() if index <= self.applied]
        for id in served:
            del self.waiting[id]
            self._answers[id] = (snapshot(self._replicated()),)
        return [Observe("read", {"id": id, "index": self.applied}) for id in served]

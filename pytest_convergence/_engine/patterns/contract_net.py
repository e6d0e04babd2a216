"""The contract net: one agent calls for proposals, the others bid, and the best bid gets the contract.

Sources: R. G. Smith, *The Contract Net Protocol* (IEEE Transactions on Computers C-29/12, 1980), and the FIPA
Contract Net Interaction Protocol (SC00029H): call for proposals, propose or refuse by a deadline, accept or
reject, inform or failure.

Theory of operation
1. The *manager* calls the contractors to compete, and calls again until each has bid or refused, or the deadline
   has passed. A bid carries a result; a contractor that has none refuses. Bids are durable at the manager.
2. The deadline closes the bids, durably. A bid that comes later is told so and plays no part.
3. Every bid is scored by the user's function. The ranking is total: by score, then by the declared order of agents.
   In a tournament the manager calls again with those who won their matches, until one is left.
4. The contract is *awarded* to the first of the ranking, under a number (the *award's* number, which grows) that is
   durable before anybody hears of it. The winner makes its acceptance durable and *accepts* that number. Only then
   is the contract *committed* to it. Where the work itself begins with the contract, it begins when the manager
   has confirmed the acceptance, and the contract is committed when its result has come in.
5. If the winner is not heard of in time, the manager *revokes* the award, durably, and awards the contract to the
   next. An acceptance or a result under a revoked number counts for nothing: the number is a fencing token. So at
   no time are there two awards that stand.
6. The committed contract is durable at the manager and told until everybody is known to know it: this is the winner's
   confirmation and everybody else's rejection. Losers are not rejected sooner, for one of them may be needed.
7. A manager that restarts goes on where it was, and says again what it had done (its facts); the deadline begins
   anew, because a machine has no clock. A contractor that restarts bids again if it is called again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import (
    RAISED,
    AgentRef,
    Call,
    CancelTimer,
    Effect,
    Observe,
    Raised,
    Returned,
    Send,
    SetTimer,
)
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.patterns.contractor import Contractor
from pytest_convergence._engine.patterns.decision import DECIDED, LONGEST_BACKOFF, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.tournament import Entry, play, ranked
from pytest_convergence.errors import unknown_name

__all__ = ["Award", "ContractNet", "ContractRules"]

CALL: Final = "call"
BID: Final = "bid"
LATE: Final = "late"
AWARD: Final = "award"
ACCEPT: Final = "accept"
CONFIRM: Final = "confirm"
INFORM: Final = "inform"
REVOKE: Final = "revoke"

_TO_CONTRACTOR: Final = (CALL, LATE, AWARD, CONFIRM, REVOKE)
_TO_MANAGER: Final = (BID, ACCEPT, INFORM)

DEADLINE_TIMER: Final = "deadline"
AWARD_TIMER: Final = "award"
RESEND_TIMER: Final = "resend"
GIVE_UP_TIMER: Final = "give up"

_SCORE: Final = "score"


class Award(NamedTuple):
    """To whom the contract went.

    Attributes:
        winner: the agent, or ``None`` if nobody bid or nobody who was awarded the contract kept it.
        result: what the winner made.
        score: what its bid was worth.
        ranking: all who have bid, best first.
        scores: what their bids were worth, in the same order.
        number: how many awards it took; more than 1 if one was revoked.
    """

    winner: str | None
    result: Any
    score: Any
    ranking: tuple[str, ...] = ()
    scores: tuple[Any, ...] = ()
    number: int = 1


class ContractRules(NamedTuple):
    """What all agents of a contract net share. Times are nanoseconds."""

    manager: str
    contractors: tuple[str, ...]
    task: Any
    best: str
    tournament: bool
    performs: bool
    deadline_ns: int
    award_ns: int
    perform_ns: int
    resend_ns: int
    flag_errors: bool


class ContractNet:
    """One agent's side of a contract net (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(self, agent: str, agents: Sequence[str], rules: ContractRules) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.others = tuple(other for other in self.agents if other != agent)
        self.rules = rules
        self.leads = agent == rules.manager
        self.contractor = Contractor(agent, rules.perform_ns)
        self.durable = Slots("contract")
        self.decision = Decision(self.others if self.leads else (), rules.resend_ns)
        # The manager's side; durable but for the last three.
        self.call = 0
        self.invited: list[str] = []
        self.bids: dict[str, list[Any]] = {}  # what came in; an empty list is a refusal
        self.closed = False
        self.entries: list[Entry] = []  # the ranking of this call, once it is scored
        self.fallen: list[Entry] = []  # who lost in earlier calls, best first
        self.number = 0
        self.holder: str | None = None  # to whom the contract is awarded at present
        self.accepted = False
        self.revoked: list[tuple[int, str]] = []
        self.scores: dict[str, Any] = {}
        self.to_score: list[str] = []
        self.repeats = 0

    # -- the machine's doors ---------------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Call for proposals, or go on where the life before left off."""
        saved = self.durable.load(durable)
        effects: list[Effect] = []
        if saved is not None:
            effects += self.contractor.restore(saved["contractor"])
            if saved["result"]:
                return [*effects, *self._end(saved["result"][0])]
        if not self.leads:
            return effects
        if saved is None or not saved["call"]:
            return [*effects, *self._call(1, list(self.rules.contractors))]
        return [*effects, *self._resume(saved)]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        kinds = (*_TO_CONTRACTOR, *_TO_MANAGER, DECIDED)
        if kind not in kinds:
            raise unknown_name("message of a contract net", kind, kinds)
        if sender not in self.others:
            return []
        if kind == DECIDED:
            return self._on_decided(sender, payload)
        if self.decision.is_made:
            return []
        if kind in _TO_MANAGER:
            return self._to_manager(sender, kind, payload) if self.leads else []
        return self._to_contractor(kind, payload) if sender == self.rules.manager else []

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Say it again, or go on without."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        if name == GIVE_UP_TIMER:
            return self.contractor.give_up()
        if name == DEADLINE_TIMER:
            return self._close()
        return self._revoke() if name == AWARD_TIMER else self._repeat()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """One of the user's functions returned or raised."""
        own = self.contractor.is_call(argument.id)
        if name == RAISED and not (own and self.rules.flag_errors):
            raise argument.error
        if own:
            return self._ended(argument)
        return self._scored(argument.id.removeprefix(f"{_SCORE} {self.call} "), argument.value)

    def view(self) -> Any:
        """Return the :class:`Award`, or ``None``."""
        return self.decision.value

    # -- the contractor's side -------------------------------------------------------------------------------------

    def _to_contractor(self, kind: str, payload: Any) -> list[Effect]:
        """Take a message of the manager's, or what it would send to itself."""
        contractor = self.contractor
        if kind == CALL:
            effects, bid = contractor.called(payload["call"], payload["task"], self.rules.deadline_ns)
            return effects if bid is None else effects + self._tell(BID, bid)
        if kind == LATE:
            return [Observe("bid_answered", {"call": payload["call"], "answer": "late"})]
        number = payload["number"]
        if kind == REVOKE:
            if number <= contractor.released:
                return []
            return [*contractor.release(number), *self._save()]
        if number <= contractor.released:
            return []
        if kind == AWARD:
            if number > contractor.promised:
                contractor.promised = number
                accepted: list[Effect] = [*self._save(), *contractor.promise_facts()]
            else:
                accepted = []
            return accepted + self._tell(ACCEPT, {"number": number})
        effects, done = contractor.confirmed(number, payload["task"], payload["result"])
        return effects if done is None else effects + self._tell(INFORM, {"number": number, **done})

    def _ended(self, came: Returned | Raised) -> list[Effect]:
        """The user's ``compete`` or ``perform`` has ended."""
        said, number = self.contractor.ended(came)
        idle: list[Effect] = [] if self.contractor.is_busy else [CancelTimer(GIVE_UP_TIMER)]
        if number is not None:
            return idle + self._tell(INFORM, {"number": number, **said})
        return idle + self._tell(BID, said)

    def _tell(self, kind: str, payload: Mapping[str, Any]) -> list[Effect]:
        """Tell the manager, which may be this agent."""
        if self.leads:
            return self._to_manager(self.name, kind, payload)
        return [Send(self.rules.manager, kind, payload)]

    def _send(self, to: str, kind: str, payload: Mapping[str, Any]) -> list[Effect]:
        """Tell a contractor, which may be this agent."""
        return self._to_contractor(kind, payload) if to == self.name else [Send(to, kind, payload)]

    # -- the manager's side: bids ----------------------------------------------------------------------------------

    def _call(self, number: int, invited: list[str]) -> list[Effect]:
        self.call, self.invited = number, invited
        self.bids, self.entries, self.closed = {}, [], False
        return [*self._save(), *self._collect()]

    def _collect(self) -> list[Effect]:
        """Call whoever has not answered."""
        self.repeats = 0
        rules = self.rules
        data = {
            "call": self.call,
            "deadline": rules.deadline_ns / NS_PER_SECOND,
            "order": list(self.agents),
            "best": rules.best,
            "invited": list(self.invited),
        }
        effects: list[Effect] = [
            Observe("round", {"round": self.call}),
            Observe("called", data),
            SetTimer(DEADLINE_TIMER, rules.deadline_ns),
            SetTimer(RESEND_TIMER, rules.resend_ns),
        ]
        effects += self._bid_facts()
        for agent in self._silent():
            effects += self._send(agent, CALL, {"call": self.call, "task": rules.task})
        return effects if self._silent() else effects + self._close()

    def _silent(self) -> list[str]:
        return [agent for agent in self.invited if agent not in self.bids]

    def _bid_facts(self) -> list[Effect]:
        made = [agent for agent in self.invited if self.bids.get(agent)]
        return [Observe("bid", {"call": self.call, "bidder": agent}) for agent in made]

    def _on_bid(self, bidder: str, payload: Any) -> list[Effect]:
        call = payload["round"]
        if call != self.call or bidder in self.bids or bidder not in self.invited:
            return []  # of an earlier call, or a copy
        if self.closed:
            return [Observe("bid_late", {"call": call, "bidder": bidder}), Send(bidder, LATE, {"call": call})]
        result = payload["value"][0] if "value" in payload else None
        self.bids[bidder] = [] if result is None else [result]
        effects: list[Effect] = [*self._save()]
        if result is not None:
            effects.append(Observe("bid", {"call": call, "bidder": bidder}))
        return effects if self._silent() else effects + self._close()

    def _close(self) -> list[Effect]:
        """No more bids: have those that are there scored."""
        self.closed = True
        timers: list[Effect] = [CancelTimer(DEADLINE_TIMER), CancelTimer(RESEND_TIMER)]
        stopped = self.contractor.give_up()
        return [*self._save(), *timers, *stopped, Observe("bids_closed", {"call": self.call}), *self._score()]

    def _score(self) -> list[Effect]:
        bidders = [agent for agent in self.agents if self.bids.get(agent)]
        self.scores, self.to_score = {}, list(bidders)
        if not bidders:
            return self._ranked()
        return [
            Call(f"{_SCORE} {self.call} {agent}", _SCORE, (self.bids[agent][0], AgentRef(agent)))
            for agent in bidders
        ]

    def _scored(self, agent: str, score: Any) -> list[Effect]:
        self.scores[agent] = score
        self.to_score.remove(agent)
        return [] if self.to_score else self._ranked()

    def _ranked(self) -> list[Effect]:
        """All bids of this call are scored: award the contract, or play the next round."""
        entries = [Entry(agent, self.bids[agent][0], score) for agent, score in self.scores.items()]
        self.entries = ranked(entries, self.agents, self.rules.best)
        matches = play(self.invited, self.entries) if self.rules.tournament else []
        facts = self._score_facts()
        for match in matches:
            data = {"call": self.call, "one": match.one, "other": match.other, "winner": match.winner}
            facts.append(Observe("match", data))
        through = [match.winner for match in matches if match.winner is not None]
        if len(through) > 1:
            self.fallen = [entry for entry in self.entries if entry.agent not in through] + self.fallen
            return [*facts, *self._call(self.call + 1, through)]
        return [*facts, *self._award()]

    def _score_facts(self) -> list[Effect]:
        facts: list[Effect] = []
        for entry in self.entries:
            facts.append(Observe("scored", {"call": self.call, "bidder": entry.agent, "score": entry.score}))
        return facts

    # -- the manager's side: the contract --------------------------------------------------------------------------

    def _standing(self) -> list[Entry]:
        """The ranking of all who are in it, best first; losers of a tournament after those who beat them."""
        return [*self.entries, *self.fallen]

    def _award(self) -> list[Effect]:
        """Award the contract to the best who has not lost it."""
        lost = {agent for _, agent in self.revoked}
        left = [entry for entry in self._standing() if entry.agent not in lost]
        if not left:
            self.holder = None
            return self._commit(None)
        self.number += 1
        self.holder, self.accepted = left[0].agent, False
        return [*self._save(), self._award_fact(), *self._offer()]

    def _award_fact(self) -> Effect:
        return Observe("award", {"number": self.number, "winner": self.holder, "call": self.call})

    def _entry(self) -> Entry:
        return next(entry for entry in self._standing() if entry.agent == self.holder)

    def _offer(self) -> list[Effect]:
        """Tell the winner, and give it its time."""
        self.repeats = 0
        time_ns = self.rules.perform_ns if self.accepted else self.rules.award_ns
        timers: list[Effect] = [
            SetTimer(AWARD_TIMER, time_ns),
            SetTimer(RESEND_TIMER, self.rules.resend_ns),
        ]
        return timers + self._tell_winner()

    def _tell_winner(self) -> list[Effect]:
        if self.holder is None:
            return []
        payload: dict[str, Any] = {"number": self.number}
        if not self.accepted:
            return self._send(self.holder, AWARD, payload)
        payload |= {"task": self.rules.task, "result": self._entry().result}
        return self._send(self.holder, CONFIRM, payload)

    def _on_accept(self, sender: str, payload: Any) -> list[Effect]:
        if sender != self.holder or payload["number"] != self.number or self.accepted:
            return []
        self.accepted = True
        if not self.rules.performs:
            return self._commit(self._entry().result)
        return [*self._save(), *self._offer()]

    def _on_inform(self, sender: str, payload: Any) -> list[Effect]:
        if sender != self.holder or payload["number"] != self.number or not self.accepted:
            return []
        if "error" in payload:
            return self._revoke()
        return self._commit(payload["value"][0])

    def _revoke(self) -> list[Effect]:
        """The winner is not heard of, or failed: take the contract back, and give it to the next."""
        holder, number = self.holder, self.number
        if holder is None:
            return []
        self.revoked.append((number, holder))
        self.holder = None
        effects: list[Effect] = [*self._save(), self._revocation(number, holder)]
        effects += [CancelTimer(AWARD_TIMER), CancelTimer(RESEND_TIMER)]
        effects += self._send(holder, REVOKE, {"number": number})
        return effects + self._award()

    def _revocation(self, number: int, holder: str) -> Effect:
        return Observe("award_revoked", {"number": number, "winner": holder})

    def _commit(self, result: Any) -> list[Effect]:
        standing = self._standing()
        score = None if self.holder is None else self._entry().score
        ranking, scores = tuple(entry.agent for entry in standing), tuple(entry.score for entry in standing)
        award = Award(self.holder, result, score, ranking, scores, self.number)
        effects: list[Effect] = [*self._save(award), CancelTimer(AWARD_TIMER), CancelTimer(RESEND_TIMER)]
        if self.holder is not None:
            effects.append(Observe("award_committed", {"number": self.number, "winner": self.holder}))
        return effects + self._end(award)

    def _to_manager(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        if kind == BID:
            return self._on_bid(sender, payload)
        return self._on_accept(sender, payload) if kind == ACCEPT else self._on_inform(sender, payload)

    def _repeat(self) -> list[Effect]:
        """Say again what has not been answered."""
        self.repeats += 1
        delay_ns = self.rules.resend_ns * min(1 << self.repeats, LONGEST_BACKOFF)
        effects: list[Effect] = [SetTimer(RESEND_TIMER, delay_ns), Observe("retry", {"call": self.call})]
        if self.closed:
            for number, agent in self.revoked:
                effects += self._send(agent, REVOKE, {"number": number})
            return effects + self._tell_winner()
        for agent in self._silent():
            if agent != self.name:
                effects.append(Send(agent, CALL, {"call": self.call, "task": self.rules.task}))
        return effects

    # -- the end, and storage --------------------------------------------------------------------------------------

    def _end(self, award: Award) -> list[Effect]:
        """Announce the contract that is durable; say what became of this agent's own bid."""
        competes = self.name in self.rules.contractors
        answer = "accept" if award.winner == self.name else "reject"
        told: list[Effect] = (
            [Observe("bid_answered", {"call": self.call, "answer": answer})] if competes else []
        )
        return [*told, *self.decision.announce(award)]

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        effects: list[Effect] = []
        if not self.decision.is_made:
            effects += [*self.contractor.stop(), CancelTimer(GIVE_UP_TIMER)]
            effects += [*self._save(payload["value"]), *self._end(payload["value"])]
        return effects + self.decision.heard_from(sender, ask=payload["ask"])

    def _save(self, result: Award | None = None) -> list[Effect]:
        state = {
            "contractor": self.contractor.durable(),
            "call": self.call,
            "invited": list(self.invited),
            "bids": dict(self.bids),
            "closed": self.closed,
            "entries": [tuple(entry) for entry in self.entries],
            "fallen": [tuple(entry) for entry in self.fallen],
            "number": self.number,
            "holder": self.holder,
            "accepted": self.accepted,
            "revoked": list(self.revoked),
            "result": [] if result is None else [result],
        }
        return self.durable.save(state)

    def _resume(self, saved: Mapping[str, Any]) -> list[Effect]:
        """Go on with what is durable, and say again what may not have been said before the crash."""
        self.call, self.invited, self.bids = saved["call"], saved["invited"], saved["bids"]
        self.closed, self.number, self.holder = saved["closed"], saved["number"], saved["holder"]
        self.accepted, self.revoked = (
            saved["accepted"],
            [(number, agent) for number, agent in saved["revoked"]],
        )
        self.entries = [Entry(*entry) for entry in saved["entries"]]
        self.fallen = [Entry(*entry) for entry in saved["fallen"]]
        if not self.closed:
            return self._collect()
        facts = [*self._bid_facts(), Observe("bids_closed", {"call": self.call}), *self._score_facts()]
        facts += [self._revocation(number, agent) for number, agent in self.revoked]
        if not self.number:
            return [*facts, *self._score()]
        if self.holder is None:
            return [*facts, *self._award()]
        return [*facts, self._award_fact(), *self._offer()]

"""Consensus by voting rounds that survives loss, crashes and partitions.

Source: the rounds of two exchanges (report, then propose) are those of Ben-Or, *Another Advantage of Free
Choice* (PODC 1983), for crash faults; a revision rule takes the place of the coin. Tendermint's prevote and
precommit (Buchman, Kwon and Milosevic, *The latest gossip on BFT consensus*, 2018) have the same shape.

Theory of operation
1. Each agent starts with a proposal. In round ``r`` every agent casts one *vote* for a value. Once it knows
   that a value has a quorum of votes it *confirms* that value; once it knows that none can have one, or gives
   up waiting, it confirms *nothing*. A value that a quorum confirmed is *decided*.
2. A quorum is more than half of the configured agents, or as many more as are asked for. Vote and
   confirmation of a round are cast once, and are durable before anybody is told.
3. An agent leaves round ``r`` after the confirmations of a quorum, its own among them. If one of them names
   a value, it votes for that value in ``r + 1`` (it *adopts* it). If all are empty and the votes it saw were
   not all alike, it is *free*: it may revise its vote. If all are empty and it saw no dissent, it keeps its
   vote.
4. An agent that hears of a later round joins it. If the one it heard from was free, so is the joiner, and it
   may revise its vote by what it knows; otherwise it votes like the one it heard from. (Where votes are never
   revised it always keeps its own.)

Why it is safe
5. *One value per round.* Two confirmed values of a round would both have a quorum of votes; quorums share an
   agent, and that agent voted once.
6. *Across rounds.* Let ``v`` be decided in ``r``. Then a quorum confirmed it, and any other quorum of
   confirmations of the round includes one of theirs. So whoever leaves ``r`` adopts ``v``, nobody enters
   ``r + 1`` free, and joiners copy: all votes of ``r + 1`` are ``v``. Nobody can see dissent there, so the
   only votes of ``r + 2`` are ``v``, and so on. Only ``v`` can ever be confirmed after ``r``. (Where votes
   are never revised the voters of ``v`` vote for it for ever, and the others are too few for a quorum.)
7. *A crash* between casting and telling changes nothing, because the restarted agent finds what it cast.

Why it ends
8. Ballots are repeated until answered. With a quorum of live agents and messages that arrive in the end,
   every round ends. If nobody revises and no value has a quorum of votes, no number of rounds helps: after
   ``max_rounds`` the agent reports ``undecided`` and is quiet; its view stays ``None``. It still answers, and
   accepts a decision that another agent took.
9. A decision is repeated to whoever has not confirmed knowing it. That is upkeep and keeps no finished world
   awake; so are the repetitions of an agent that has heard nothing for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import (
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.decision import DECIDED, LONGEST_BACKOFF, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.tally import Revise, Tally, Tie, revised
from pytest_convergence.errors import unknown_name

__all__ = ["Voting", "VotingRules"]

VOTE: Final = "vote"
CONFIRM: Final = "confirm"
ROUND_TIMER: Final = "round"

PATIENCE: Final = 3
"""How many times a ballot is repeated before the agent goes on with the answers of a quorum."""
DEAF_AFTER: Final = 20
"""After how many repetitions without hearing anything an agent stops keeping the world awake."""


class VotingRules(NamedTuple):
    """What all agents of a voting share. ``quorum`` is a number of agents, ``resend_ns`` nanoseconds."""

    quorum: int
    max_rounds: int
    resend_ns: int
    revise: Revise = None
    tie: Tie = None

    @property
    def fixed(self) -> bool:
        """Whether nobody ever changes its vote."""
        return self.revise is None and self.tie is None


class Voting:
    """One agent's side of the voting (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(self, agent: str, agents: Sequence[str], proposal: Any, rules: VotingRules) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.others = tuple(other for other in self.agents if other != agent)
        self.rules = rules
        self.durable = Slots("voting")  # round, vote, confirmation and decision together
        self.vote = proposal
        self.round = 0
        self.free = True  # whether the agent entered its round knowing that nothing was decided before
        self.votes: dict[str, Any] = {}
        self.confirms: dict[str, tuple[Any, ...]] = {}  # () confirms nothing, (value,) confirms the value
        self.decision = Decision(self.others, rules.resend_ns)
        self.undecided = False
        self.repeats = 0  # of the current ballot
        self.silence = 0  # repetitions since the last message

    # -- the machine's four doors ----------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin with the proposal, or where the life before left off."""
        saved = self.durable.load(durable)
        if saved is None:
            return [Observe("propose", {"value": self.vote}), *self._enter(1, self.vote, free=True)]
        if saved["decision"]:
            return self.decision.announce(saved["decision"][0])
        self.round, self.vote, self.free = saved["round"], saved["vote"], saved["free"]
        self.votes[self.name] = self.vote
        effects: list[Effect] = [self._vote_fact()]
        if saved["confirm"] is not None:
            self.confirms[self.name] = tuple(saved["confirm"])
            effects.append(self._confirm_fact())
        return effects + self._repeat() + self._progress()

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        if kind not in (VOTE, CONFIRM, DECIDED):
            raise unknown_name("voting message", kind, (VOTE, CONFIRM, DECIDED))
        if sender not in self.others:
            return []
        if kind == DECIDED:
            return self._on_decided(sender, payload)
        if self.decision.is_made:
            return [self.decision.message_to(sender)]
        deaf = self._is_deaf()
        self.silence = 0
        effects = self._on_ballot(sender, payload)
        return [*effects, self._round_timer()] if deaf and not self._is_over() else effects

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Repeat what has not been answered."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        self.repeats += 1
        self.silence += 1
        return self._hurry() or self._repeat()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Refuse: the proposals are inputs, and nothing else can be asked of a voting.

        Raises:
            ConvergenceUsageError: always.
        """
        raise unknown_name("voting command", name, ())

    def view(self) -> Any:
        """Return the decided value, or ``None``."""
        return self.decision.value

    # -- rounds ----------------------------------------------------------------------------------------------------

    def _enter(self, number: int, value: Any, *, free: bool) -> list[Effect]:
        """Cast a vote for ``value`` in round ``number``."""
        self.round, self.vote, self.free = number, value, free
        self.votes, self.confirms, self.repeats = {self.name: value}, {}, 0
        effects = [*self._save(), Observe("round", {"round": number}), self._vote_fact()]
        return effects + self._broadcast() + [self._round_timer()] + self._progress()

    def _progress(self) -> list[Effect]:
        """Do what the votes and confirmations known so far allow."""
        if self.name not in self.confirms:
            tally = self._tally()
            value, count = tally.counts[0]
            if count >= self.rules.quorum:
                return self._confirm((value,))
            return self._confirm(()) if count + tally.missing < self.rules.quorum else []
        named = [confirm[0] for confirm in self.confirms.values() if confirm]
        if len(named) >= self.rules.quorum:
            return self._decide(named[0])
        return self._leave() if len(self.confirms) == len(self.agents) and not self.undecided else []

    def _hurry(self) -> list[Effect]:
        """Stop waiting for agents that stay silent, as far as safety allows."""
        if self.repeats < PATIENCE:
            return []
        if self.name not in self.confirms:
            return self._confirm(()) if len(self.votes) >= self.rules.quorum else []
        return self._leave() if len(self.confirms) >= self.rules.quorum else []

    def _confirm(self, value: tuple[Any, ...]) -> list[Effect]:
        self.confirms[self.name] = value
        self.repeats = 0
        return [
            *self._save(),
            self._confirm_fact(),
            *self._broadcast(),
            self._round_timer(),
            *self._progress(),
        ]

    def _leave(self) -> list[Effect]:
        """End a round that this agent saw decide nothing."""
        named = [confirm[0] for confirm in self.confirms.values() if confirm]
        tally = self._tally()
        free = not named and len(tally.counts) > 1
        if self.round >= self.rules.max_rounds:
            self.undecided = True
            return [CancelTimer(ROUND_TIMER), Observe("undecided", {"round": self.round})]
        if named:
            return self._enter(self.round + 1, named[0], free=False)
        value = self._revised() if free else self.vote
        return [*self._proposed(value), *self._enter(self.round + 1, value, free=free)]

    def _revised(self) -> Any:
        return revised(self.name, self.vote, self._tally(), self.rules.revise, self.rules.tie)

    def _proposed(self, value: Any) -> list[Effect]:
        """Say so if ``value`` is one that nobody had voted for: a revision made it."""
        known = value in self.votes.values()
        return [] if known else [Observe("propose", {"value": value})]

    def _join(self, sender: str, payload: Any) -> list[Effect]:
        """Enter the later round that ``sender`` is in; as freely as it did, but knowing less of the votes before."""
        free = payload["free"]
        self.votes[sender] = payload["vote"]  # the newest that is known of it
        value = self._revised() if free or self.rules.fixed else payload["vote"]
        return [*self._proposed(value), *self._enter(payload["round"], value, free=free)]

    def _on_ballot(self, sender: str, payload: Any) -> list[Effect]:
        number = payload["round"]
        if number < self.round:
            return [self._ballot_to(sender)]  # it is behind; this lets it join
        effects: list[Effect] = []
        if number > self.round:
            effects += self._join(sender, payload)
        elif payload["ask"]:
            effects.append(self._ballot_to(sender))
        self.votes.setdefault(sender, payload["vote"])
        if payload["confirm"] is not None:
            self.confirms.setdefault(sender, tuple(payload["confirm"]))
        return effects + self._progress()

    # -- decisions -------------------------------------------------------------------------------------------------

    def _decide(self, value: Any) -> list[Effect]:
        return [*self._save(value), CancelTimer(ROUND_TIMER), *self.decision.announce(value)]

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        effects = [] if self.decision.is_made else self._decide(payload["value"])
        return effects + self.decision.heard_from(sender, ask=payload["ask"])

    def _is_over(self) -> bool:
        return self.undecided or self.decision.is_made

    # -- messages, timers, storage, facts ---------------------------------------------------------------------------

    def _tally(self) -> Tally:
        return Tally(
            {agent: self.votes[agent] for agent in self.agents if agent in self.votes}, len(self.agents)
        )

    def _ballot_to(self, other: str, *, ask: bool = False) -> Send:
        confirm = self.confirms.get(self.name)
        payload = {
            "round": self.round,
            "vote": self.vote,
            "confirm": None if confirm is None else list(confirm),
            "free": self.free,
            "ask": ask,
        }
        return Send(other, VOTE if confirm is None else CONFIRM, payload)

    def _broadcast(self) -> list[Effect]:
        return [self._ballot_to(other) for other in self.others]

    def _repeat(self) -> list[Effect]:
        """Show the ballot again to those whose part is missing, and ask for it."""
        known = self.votes if self.name not in self.confirms else self.confirms
        missing = [other for other in self.others if other not in known]
        return [*(self._ballot_to(other, ask=True) for other in missing), self._round_timer()]

    def _is_deaf(self) -> bool:
        return self.silence >= DEAF_AFTER

    def _round_timer(self) -> SetTimer:
        deaf = self._is_deaf()
        slower = min(1 << (self.silence - DEAF_AFTER), LONGEST_BACKOFF) if deaf else 1
        return SetTimer(ROUND_TIMER, self.rules.resend_ns * slower, background=deaf)

    def _save(self, decision: Any = None) -> list[Effect]:
        confirm = self.confirms.get(self.name)
        state = {
            "round": self.round,
            "vote": self.vote,
            "free": self.free,
            "confirm": None if confirm is None else list(confirm),
            "decision": [] if decision is None else [decision],
        }
        return self.durable.save(state)

    def _vote_fact(self) -> Effect:
        return Observe("vote", {"round": self.round, "value": self.vote})

    def _confirm_fact(self) -> Effect:
        confirm = self.confirms[self.name]
        data = {"round": self.round, "value": confirm[0] if confirm else None}
        return Observe("confirm", data)

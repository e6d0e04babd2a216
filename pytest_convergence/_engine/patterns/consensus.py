"""The consensus pattern: its configuration, by voting rounds, Paxos, Raft or two-phase commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.pattern import FRUITLESS_TERMS, Pattern, positive_ns
from pytest_convergence._engine.patterns.paxos import Paxos, PaxosRules
from pytest_convergence._engine.patterns.quorum import Quorum, quorum_count
from pytest_convergence._engine.patterns.raft import RaftTiming
from pytest_convergence._engine.patterns.raft_consensus import RaftConsensus
from pytest_convergence._engine.patterns.raft_replication import ReplicaRules
from pytest_convergence._engine.patterns.tally import REVISE_RULES, TIE_RULES, Revise, Tie
from pytest_convergence._engine.patterns.two_phase_commit import (
    ABORT,
    COMMIT,
    VOTE_FUNCTION,
    CommitRules,
    TwoPhaseCommit,
    read_vote,
)
from pytest_convergence._engine.patterns.voting import Voting, VotingRules
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Consensus"]

ALGORITHMS: Final = ("voting", "paxos", "raft", "two-phase-commit")
_INPUTS: Final = ("proposals",)
_DEFAULT_ROUNDS: Final = 10


_PROPERTIES: Final[Mapping[str, tuple[str, ...]]] = {
    "raft": (
        "election_safety",
        "term_monotonic",
        "leader_completeness",
        "log_matching",
        "state_machine_safety",
        "committed_on_quorum",
        "committed_is_durable",
    ),
    "two-phase-commit": ("commit_validity",),
}


@final
@dataclass(frozen=True, slots=True)
class Consensus(Pattern):
    """The agents agree on one of their proposals, or (two-phase commit) on whether all of them commit.

    The default timing suits links of up to about 100 ms: a ballot is repeated when a round trip has passed unanswered.

    Attributes:
        quorum: how many agents must stand behind a value: ``None`` for a strict majority of the configured agents, a
            count, or a fraction (``2/3``: at least two thirds; never less than a strict majority).
        max_rounds: rounds of voting before the agents report that they are undecided (default 10); for Paxos the
            ballots that one agent may start (default: no bound).
        tie: who wins when several values lead a round that decided nothing: ``None`` (ties stay unbroken),
            ``"lowest"``, ``"highest"``, ``"first-agent"``, or a function from the tied values to the winner.
        revise: what an agent votes for after a round that decided nothing: ``None`` (its own value again),
            ``"plurality"`` (the leading value), or a function of (agent, own value, :class:`Tally`).
        algorithm: ``"voting"``; ``"paxos"`` or ``"raft"`` (which need neither ``tie`` nor ``revise``: they adopt any
            proposal); or ``"two-phase-commit"``: the proposals are votes (``"yes"``, ``"no"``, or a function, plain or
            async, that returns one), and the output is ``"commit"`` if all agents vote yes, ``"abort"`` otherwise.
        resend_seconds: virtual seconds after which an unanswered message is repeated.
        coordinator: who coordinates a two-phase commit; the first agent by default.
        vote_seconds: virtual seconds for which the coordinator of a two-phase commit waits for the votes.
    """

    quorum: Quorum = None
    max_rounds: int | None = None
    tie: Tie = None
    revise: Revise = None
    algorithm: str = "voting"
    resend_seconds: float = 0.25
    coordinator: str | None = None
    vote_seconds: float = 10.0

    @property
    def name(self) -> str:
        """``"consensus"``."""
        return "consensus"

    @property
    def properties(self) -> tuple[str, ...]:
        """What all algorithms promise, and what the algorithm adds."""
        return (
            "agreement",
            "integrity",
            "validity",
            "decision_stable",
            "promises_survive_restart",
            "reply_before_sync",
            "termination",
            "quiescence",
            *_PROPERTIES.get(self.algorithm, ()),
        )

    @property
    def most_fruitless_terms(self) -> int | None:
        """Five hundred terms or ballots in a row without a decision are a livelock, unless ``max_rounds`` bounds them."""
        return FRUITLESS_TERMS if self.max_rounds is None and self.algorithm in ("paxos", "raft") else None

    def validate(self, agents: Sequence[str]) -> None:
        """Check every option for these agents.

        Raises:
            ConvergenceUsageError: an option is unknown or out of range.
        """
        if self.algorithm not in ALGORITHMS:
            raise unknown_name("consensus algorithm", self.algorithm, ALGORITHMS)
        if not agents:
            raise ConvergenceUsageError("the consensus pattern needs at least one agent.")
        quorum_count(self.quorum, len(agents))
        positive_ns(self.resend_seconds, "resend_seconds")
        _check_rounds(self.max_rounds)
        _check_rule("tie", self.tie, TIE_RULES)
        _check_rule("revise", self.revise, REVISE_RULES)
        self._check_foreign_options(agents)

    def _check_foreign_options(self, agents: Sequence[str]) -> None:
        """Refuse what belongs to another algorithm."""
        if self.algorithm != "voting" and not (self.tie is None and self.revise is None):
            why = (
                "Paxos adopts whatever proposal gets through first"
                if self.algorithm == "paxos"
                else f"{self.algorithm} has no rounds of votes to break ties in"
            )
            raise ConvergenceUsageError(
                f"tie= and revise= belong to algorithm='voting': {why}. Leave them out, or choose the voting algorithm."
            )
        if self.algorithm in ("raft", "two-phase-commit") and not (
            self.quorum is None and self.max_rounds is None
        ):
            needs = "a strict majority" if self.algorithm == "raft" else "every agent"
            raise ConvergenceUsageError(
                f"algorithm={self.algorithm!r} takes neither quorum= nor max_rounds=: it needs {needs}. Leave them out."
            )
        positive_ns(self.vote_seconds, "vote_seconds")
        if self.coordinator is not None:
            if self.algorithm != "two-phase-commit":
                raise ConvergenceUsageError(
                    f"coordinator= belongs to algorithm='two-phase-commit', not to {self.algorithm!r}. Leave it out."
                )
            if self.coordinator not in agents:
                raise unknown_name("coordinator", self.coordinator, agents)

    def dispensable(self, agents: Sequence[str]) -> int:
        """All but a quorum by Paxos and Raft; where votes are counted, or all must agree, everybody is needed."""
        return len(agents) - self.quorum_of(agents) if self.algorithm in ("paxos", "raft") else 0

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return the configured quorum as a number of agents; a two-phase commit needs them all."""
        if self.algorithm == "two-phase-commit":
            return len(agents)
        return quorum_count(self.quorum, len(agents))

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check that every agent has exactly one proposal, and that it is not ``None``.

        Raises:
            ConvergenceUsageError: an input is unknown, a proposal is missing or is that of an unknown agent.
        """
        for key in inputs:
            if key not in _INPUTS:
                raise unknown_name("input of the consensus pattern", key, _INPUTS)
        proposals = inputs.get("proposals")
        if not isinstance(proposals, Mapping):
            raise ConvergenceUsageError(
                f"the consensus pattern needs run(proposals={{agent: value}}), not proposals={proposals!r}."
            )
        for agent, value in proposals.items():
            if agent not in agents:
                raise unknown_name("agent in proposals", agent, agents)
            if value is None:
                raise ConvergenceUsageError(
                    f"the proposal of {agent!r} is None, which means 'undecided'. Propose another value."
                )
            if self.algorithm == "two-phase-commit" and not callable(value):
                read_vote(value)
        missing = [agent for agent in agents if agent not in proposals]
        if missing:
            names = ", ".join(map(repr, missing))
            raise ConvergenceUsageError(f"proposals lacks a value for {names}: everybody votes.")

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the machine of one life of ``agent``."""
        quorum = quorum_count(self.quorum, len(agents))
        resend_ns = positive_ns(self.resend_seconds, "resend_seconds")
        proposal = inputs["proposals"][agent]
        if self.algorithm == "paxos":
            return Paxos(agent, agents, proposal, PaxosRules(quorum, self.max_rounds, resend_ns))
        if self.algorithm == "raft":
            heartbeat_ns = max(1, resend_ns // 2)
            timing = RaftTiming(heartbeat_ns, 5 * heartbeat_ns, 10 * heartbeat_ns)
            return RaftConsensus(agent, agents, proposal, ReplicaRules(timing))
        if self.algorithm == "two-phase-commit":
            vote = None if callable(proposal) else read_vote(proposal)
            patience_ns = positive_ns(self.vote_seconds, "vote_seconds")
            rules = CommitRules(self.coordinator or agents[0], patience_ns, resend_ns)
            return TwoPhaseCommit(agent, agents, vote, rules)
        rounds = _DEFAULT_ROUNDS if self.max_rounds is None else self.max_rounds
        return Voting(agent, agents, proposal, VotingRules(quorum, rounds, resend_ns, self.revise, self.tie))

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return the agent's vote function, in a two-phase commit whose votes are functions."""
        vote = inputs["proposals"][agent]
        return {VOTE_FUNCTION: vote} if self.algorithm == "two-phase-commit" and callable(vote) else {}

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return the value that all of ``views`` hold, or ``None``."""
        values = list(views.values())
        return values[0] if values and all(value == values[0] for value in values) else None

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether somebody proposed ``value``, or a function of the user's may have produced it."""
        if value is None:
            return False
        if self.algorithm == "two-phase-commit":
            votes = inputs.get("proposals", {}).values()
            return value == ABORT or (
                value == COMMIT and all(callable(vote) or read_vote(vote) for vote in votes)
            )
        return (
            callable(self.revise) or callable(self.tie) or value in list(inputs.get("proposals", {}).values())
        )

    def leader(self, view: Any) -> str | None:
        """Return ``None``: among those who vote nobody leads."""
        return None


def _check_rounds(rounds: Any) -> None:
    if rounds is None:
        return
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ConvergenceUsageError(
            f"max_rounds must be a whole number of at least 1, or None, not {rounds!r}."
        )


def _check_rule(what: str, rule: object, names: Sequence[str]) -> None:
    if rule is not None and not callable(rule) and rule not in names:
        raise unknown_name(f"{what} rule", rule, names, fix="A function may be given too.")

"""The consensus pattern: its configuration, by voting rounds or by single-decree Paxos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.pattern import Pattern, positive_ns
from pytest_convergence._engine.patterns.paxos import Paxos, PaxosRules
from pytest_convergence._engine.patterns.quorum import Quorum, quorum_count
from pytest_convergence._engine.patterns.tally import REVISE_RULES, TIE_RULES, Revise, Tie
from pytest_convergence._engine.patterns.voting import Voting, VotingRules
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Consensus"]

ALGORITHMS: Final = ("voting", "paxos")
_INPUTS: Final = ("proposals",)
_DEFAULT_ROUNDS: Final = 10


@final
@dataclass(frozen=True, slots=True)
class Consensus(Pattern):
    """The agents agree on one of their proposals.

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
        algorithm: ``"voting"`` or ``"paxos"`` (which needs neither ``tie`` nor ``revise``: it adopts any proposal).
        resend_seconds: virtual seconds after which an unanswered message is repeated.
    """

    quorum: Quorum = None
    max_rounds: int | None = None
    tie: Tie = None
    revise: Revise = None
    algorithm: str = "voting"
    resend_seconds: float = 0.25

    @property
    def name(self) -> str:
        """``"consensus"``."""
        return "consensus"

    @property
    def properties(self) -> tuple[str, ...]:
        """What both algorithms promise."""
        return (
            "agreement",
            "integrity",
            "validity",
            "decision_stable",
            "promises_survive_restart",
            "reply_before_sync",
            "termination",
        )

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
        if self.algorithm == "paxos" and not (self.tie is None and self.revise is None):
            raise ConvergenceUsageError(
                "tie= and revise= belong to algorithm='voting': Paxos adopts whatever proposal gets through first. "
                "Leave them out, or choose the voting algorithm."
            )

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return the configured quorum as a number of agents."""
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
        rounds = _DEFAULT_ROUNDS if self.max_rounds is None else self.max_rounds
        return Voting(agent, agents, proposal, VotingRules(quorum, rounds, resend_ns, self.revise, self.tie))

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return the value that all of ``views`` hold, or ``None``."""
        values = list(views.values())
        return values[0] if values and all(value == values[0] for value in values) else None

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether somebody proposed ``value``, or a function of the user's may have produced it."""
        if value is None:
            return False
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

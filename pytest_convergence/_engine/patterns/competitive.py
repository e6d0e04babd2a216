"""The competitive pattern: its configuration and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.contract_net import ContractNet, ContractRules
from pytest_convergence._engine.patterns.pattern import Pattern, check_function, positive_ns
from pytest_convergence._engine.patterns.results import common_view
from pytest_convergence._engine.patterns.tournament import BEST
from pytest_convergence._engine.patterns.working import check_errors
from pytest_convergence._engine.state.combining import required_arguments
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Competitive"]

_INPUTS: Final = ("task", "compete", "score", "perform")
_MODES: Final = ("contract-net", "tournament")


@final
@dataclass(frozen=True, slots=True)
class Competitive(Pattern):
    """Agents compete for a task; the best result by the user's score wins it. The output is an :class:`Award`.

    Attributes:
        manager: the agent that calls for proposals and awards the contract: ``None`` for the first agent, which competes
            too; an agent that is named here only manages.
        mode: ``"contract-net"``: one call, the best bid wins; ``"tournament"``: neighbours meet, and who wins is called
            again, until one is left.
        best: whether the ``"highest"`` score wins, or the ``"lowest"``. Equal scores: the agent that is configured first.
        deadline_seconds: virtual seconds that contractors have to bid.
        award_seconds: virtual seconds that the winner has to accept before the award is revoked.
        perform_seconds: virtual seconds that it has to perform, if ``perform`` is given.
        resend_seconds: virtual seconds after which an unanswered message is repeated; they double up to 8 times that.
        errors: what happens when ``compete`` or ``perform`` raises: ``"raise"`` fails the run, ``"flag"`` takes it for a
            refusal, or a failure to perform.
    """

    manager: str | None = None
    mode: str = "contract-net"
    best: str = "highest"
    deadline_seconds: float = 60
    award_seconds: float = 60
    perform_seconds: float = 300
    resend_seconds: float = 0.25
    errors: str = "raise"

    @property
    def name(self) -> str:
        """``"competitive"``."""
        return "competitive"

    @property
    def properties(self) -> tuple[str, ...]:
        """What every contract net promises."""
        return (
            "single_award",
            "winner_rule",
            "late_bid_rejected",
            "award_known_bidder",
            "every_bidder_answered",
            "no_commit_without_accept",
            "termination",
            "promises_survive_restart",
            "reply_before_sync",
            "quiescence",
        )

    def validate(self, agents: Sequence[str]) -> None:
        """Check every option for these agents.

        Raises:
            ConvergenceUsageError: an option is unknown or out of range, or nobody is left to compete.
        """
        if not agents:
            raise ConvergenceUsageError("the competitive pattern needs at least one agent.")
        if self.manager is not None and self.manager not in agents:
            raise unknown_name("manager", self.manager, agents)
        if not self._contractors(agents):
            raise ConvergenceUsageError(
                f"nobody is left to compete: a manager that is named ({self.manager!r}) only manages. Add agents."
            )
        if self.mode not in _MODES:
            raise unknown_name("mode of the competitive pattern", self.mode, _MODES)
        if self.best not in BEST:
            raise unknown_name("best score", self.best, BEST)
        for option in ("deadline_seconds", "award_seconds", "perform_seconds", "resend_seconds"):
            positive_ns(getattr(self, option), option)
        check_errors(self.errors)

    def _contractors(self, agents: Sequence[str]) -> tuple[str, ...]:
        return tuple(agent for agent in agents if agent != self.manager)

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return the number of agents: the manager must be there, and whoever is to learn the result."""
        return len(agents)

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check the task and the functions.

        Raises:
            ConvergenceUsageError: an input is missing or unknown, or something is not a function.
        """
        for key in inputs:
            if key not in _INPUTS:
                raise unknown_name("input of the competitive pattern", key, _INPUTS)
        if "task" not in inputs:
            raise ConvergenceUsageError("the competitive pattern needs run(task=…, compete=…, score=…).")
        check_function("compete", inputs.get("compete"), "compete(agent, task)")
        check_function("score", inputs.get("score"), "score(result, agent)")
        if inputs.get("perform") is not None:
            check_function("perform", inputs["perform"], "perform(agent, task, result)")

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the machine of one life of ``agent``."""
        rules = ContractRules(
            manager=agents[0] if self.manager is None else self.manager,
            contractors=self._contractors(agents),
            task=inputs["task"],
            best=self.best,
            tournament=self.mode == "tournament",
            performs=inputs.get("perform") is not None,
            deadline_ns=positive_ns(self.deadline_seconds, "deadline_seconds"),
            award_ns=positive_ns(self.award_seconds, "award_seconds"),
            perform_ns=positive_ns(self.perform_seconds, "perform_seconds"),
            resend_ns=positive_ns(self.resend_seconds, "resend_seconds"),
            flag_errors=self.errors == "flag",
        )
        return ContractNet(agent, agents, rules)

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return ``compete``, ``score``, and ``perform`` if it is given."""
        functions: dict[str, Callable[..., Any]] = {"compete": inputs["compete"]}
        score = inputs["score"]
        functions["score"] = score if len(required_arguments(score)) != 1 else lambda result, _: score(result)
        if inputs.get("perform") is not None:
            functions["perform"] = inputs["perform"]
        return functions

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return the award that all of ``views`` hold, or ``None``."""
        return common_view(views)

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether the winner, if there is one, is an agent that competes."""
        winner = getattr(value, "winner", None)
        return value is not None and (winner is None or winner in self._contractors(agents))

    def leader(self, view: Any) -> str | None:
        """Return ``None``: the manager is configured, and nobody elects it."""
        return None

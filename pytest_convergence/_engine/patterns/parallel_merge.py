"""The parallel-merge pattern: its configuration and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.gathering import Gathering, GatherRules
from pytest_convergence._engine.patterns.pattern import Pattern, check_function, positive_ns
from pytest_convergence._engine.patterns.results import common_view
from pytest_convergence._engine.patterns.working import check_errors
from pytest_convergence._engine.state.combining import MERGES, as_function
from pytest_convergence._engine.state.patches import PATCHES
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["ParallelMerge"]

_INPUTS: Final = ("tasks", "work", "merge", "base")
VALUES: Final = "values"


@final
@dataclass(frozen=True, slots=True)
class ParallelMerge(Pattern):
    """Agents do parts of the work at the same time, and one of them merges what comes back.

    The output is what was merged. If a part is missing, failed or in conflict it is a :class:`Merged` that says so.

    Attributes:
        coordinator: the agent that hands out the parts and merges them: ``None`` for the first agent.
        deadline_seconds: virtual seconds after which a round goes on without the parts that are missing.
        resend_seconds: virtual seconds after which an unanswered question is repeated; they double up to 8 times that.
        hedge_seconds: virtual seconds after which another agent is asked for a part that is missing; ``None``: never.
        hedges: how many more agents may be asked for one part.
        errors: what happens when ``work`` raises: ``"raise"`` fails the run, ``"flag"`` names the part in the result.
        results: what ``work`` returns: ``"values"``, or a patch of ``base``, which is applied before it is merged:
            ``"merge-patch"`` (RFC 7396) or ``"json-patch"`` (RFC 6902). A patch that does not apply is an error.
    """

    coordinator: str | None = None
    deadline_seconds: float = 300
    resend_seconds: float = 0.25
    hedge_seconds: float | None = None
    hedges: int = 1
    errors: str = "raise"
    results: str = VALUES

    @property
    def name(self) -> str:
        """``"parallel-merge"``."""
        return "parallel-merge"

    @property
    def properties(self) -> tuple[str, ...]:
        """What every parallel merge promises."""
        return (
            "each_part_once",
            "hedge_idempotent",
            "round_isolation",
            "merge_order_independent",
            "merge_laws",
            "three_way_identities",
            "completeness_or_flag",
            "straggler_bound",
            "termination",
            "promises_survive_restart",
            "reply_before_sync",
            "quiescence",
        )

    def validate(self, agents: Sequence[str]) -> None:
        """Check every option for these agents.

        Raises:
            ConvergenceUsageError: an option is unknown or out of range.
        """
        if not agents:
            raise ConvergenceUsageError("the parallel-merge pattern needs at least one agent.")
        if self.coordinator is not None and self.coordinator not in agents:
            raise unknown_name("coordinator", self.coordinator, agents)
        positive_ns(self.deadline_seconds, "deadline_seconds")
        positive_ns(self.resend_seconds, "resend_seconds")
        if self.hedge_seconds is not None:
            positive_ns(self.hedge_seconds, "hedge_seconds")
        if isinstance(self.hedges, bool) or not isinstance(self.hedges, int) or self.hedges < 0:
            raise ConvergenceUsageError(f"hedges must be a whole number of at least 0, not {self.hedges!r}.")
        check_errors(self.errors)
        if self.results not in (VALUES, *PATCHES):
            raise unknown_name("kind of results", self.results, (VALUES, *PATCHES))

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return the number of agents: the coordinator must be there, and whoever is to learn the result."""
        return len(agents)

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check the tasks, the functions, and the base of a three-way merge.

        Raises:
            ConvergenceUsageError: an input is missing, unknown or out of range, or names an agent that does not exist.
        """
        for key in inputs:
            if key not in _INPUTS:
                raise unknown_name("input of the parallel-merge pattern", key, _INPUTS)
        rounds = _rounds(inputs.get("tasks"))
        if not rounds or not all(isinstance(tasks, Mapping) and tasks for tasks in rounds):
            raise ConvergenceUsageError(
                "the parallel-merge pattern needs run(tasks={agent: task}), or a list of such mappings for several rounds, "
                f"not tasks={inputs.get('tasks')!r}."
            )
        for tasks in rounds:
            for agent in tasks:
                if agent not in agents:
                    raise unknown_name("agent in tasks", agent, agents)
        check_function("work", inputs.get("work"), "work(agent, task) or work(task)")
        self._check_merge(inputs)

    def _check_merge(self, inputs: Mapping[str, Any]) -> None:
        merge = inputs.get("merge")
        if isinstance(merge, str):
            if merge not in MERGES:
                raise unknown_name("merge", merge, MERGES, fix="A function is accepted too.")
        else:
            check_function("merge", merge, "merge(results) or merge(one, other), or 'crdt' or 'three-way'")
        needs_base = merge == "three-way" or self.results != VALUES
        if needs_base and "base" not in inputs:
            raise ConvergenceUsageError(
                "a three-way merge, and results that are patches, need base=, what every agent started from: "
                "run(…, base=document)."
            )
        if "base" in inputs and not needs_base:
            raise ConvergenceUsageError(
                "base= belongs to merge='three-way' and to results that are patches; leave it out, or choose these."
            )

    def _rules(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> GatherRules:
        hedge = self.hedge_seconds
        return GatherRules(
            coordinator=agents[0] if self.coordinator is None else self.coordinator,
            rounds=tuple(dict(tasks) for tasks in _rounds(inputs["tasks"])),
            merge=inputs["merge"],
            base=inputs.get("base"),
            deadline_ns=positive_ns(self.deadline_seconds, "deadline_seconds"),
            resend_ns=positive_ns(self.resend_seconds, "resend_seconds"),
            hedge_ns=None if hedge is None else positive_ns(hedge, "hedge_seconds"),
            hedges=self.hedges,
            flag_errors=self.errors == "flag",
            understand=PATCHES.get(self.results),
        )

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the machine of one life of ``agent``."""
        return Gathering(agent, agents, self._rules(agents, inputs))

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return ``work``, and ``merge`` as a function of all parts."""
        merge = inputs["merge"]
        functions: dict[str, Callable[..., Any]] = {"work": inputs["work"]}
        if callable(merge):
            functions["merge"] = as_function(merge)
        return functions

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return the result that all of ``views`` hold, or ``None``."""
        return common_view(views)

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether there is a value: what a function of the user's makes of parts cannot be told without asking it."""
        return value is not None

    def leader(self, view: Any) -> str | None:
        """Return ``None``: the coordinator is configured, and nobody elects it."""
        return None


def _rounds(tasks: Any) -> Sequence[Any]:
    """The tasks of each round; those of the only one may be given as they are."""
    return tasks if isinstance(tasks, list | tuple) else [tasks]

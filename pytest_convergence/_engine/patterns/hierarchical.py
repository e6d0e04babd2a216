"""The hierarchical pattern: its configuration, and what a run of it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.hierarchy import GAVE_UP, RESULT, Hierarchy
from pytest_convergence._engine.patterns.pattern import Pattern, check_function, positive_ns
from pytest_convergence._engine.patterns.supervision import RESTART_STRATEGIES, Supervision
from pytest_convergence._engine.patterns.tree import tree_of
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Hierarchical"]

_INPUTS: Final = ("tree", "task", "split", "work", "combine")
_EXAMPLES: Final = {"split": "split(task)", "work": "work(part)", "combine": "combine(results)"}


@final
@dataclass(frozen=True, slots=True)
class Hierarchical(Pattern):
    """A task goes down a tree of agents in parts, and the results come up again; parents supervise their children.

    Attributes:
        restart: whom a parent restarts when a part fails: ``"one_for_one"`` (that part), ``"one_for_all"`` (all of its
            parts, finished ones too) or ``"rest_for_one"`` (that part and those after it).
        max_restarts: how many restarts a parent may need within ``within_seconds``; at one more it gives up, and its own
            parent must act.
        within_seconds: virtual seconds.
        deadline_seconds: virtual seconds that the root has for the whole task.
        share: the part of its remaining time that a parent gives each attempt of a part, greater than 0 and at most 0.9.
        silence_seconds: virtual seconds without a word of a child after which its parent holds it to have failed.
        resend_seconds: virtual seconds after which an unanswered message is repeated.
    """

    restart: str = "one_for_one"
    max_restarts: int = 3
    within_seconds: float = 5.0
    deadline_seconds: float = 600.0
    share: float = 0.5
    silence_seconds: float = 10.0
    resend_seconds: float = 0.25

    @property
    def name(self) -> str:
        """``"hierarchical"``."""
        return "hierarchical"

    @property
    def properties(self) -> tuple[str, ...]:
        """What delegation under supervision promises."""
        return (
            "one_result_per_task",
            "no_orphan_work",
            "deadline_respected",
            "cancel_propagates",
            "restart_scope",
            "restart_intensity",
            "acyclic_delegation",
            "escalation_reaches_root",
            "quiescence",
        )

    def validate(self, agents: Sequence[str]) -> None:
        """Check every option.

        Raises:
            ConvergenceUsageError: an option is unknown or out of range.
        """
        if self.restart not in RESTART_STRATEGIES:
            raise unknown_name("restart strategy", self.restart, RESTART_STRATEGIES)
        restarts: Any = self.max_restarts
        if isinstance(restarts, bool) or not isinstance(restarts, int) or restarts < 0:
            raise ConvergenceUsageError(
                f"max_restarts must be a whole number of at least 0, not {restarts!r}."
            )
        share: Any = self.share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 0.9:
            raise ConvergenceUsageError(
                f"share must be greater than 0 and at most 0.9, not {share!r}: a child that had all the time of its "
                "parent would leave it none to act."
            )
        self._supervision()

    def _supervision(self) -> Supervision:
        return Supervision(
            self.restart,
            self.max_restarts,
            positive_ns(self.within_seconds, "within_seconds"),
            positive_ns(self.deadline_seconds, "deadline_seconds"),
            self.share,
            positive_ns(self.silence_seconds, "silence_seconds"),
            positive_ns(self.resend_seconds, "resend_seconds"),
        )

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return all agents: each has a part of its own."""
        return len(agents)

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check the tree and the three functions.

        Raises:
            ConvergenceUsageError: an input is missing or unknown, the tree is none, or a function cannot be called.
        """
        for key in inputs:
            if key not in _INPUTS:
                raise unknown_name("input of the hierarchical pattern", key, _INPUTS)
        tree_of(inputs.get("tree"), agents)
        if "task" not in inputs:
            raise ConvergenceUsageError(
                "the hierarchical pattern needs run(task=…): what the root is to do. It may be any value."
            )
        for name, example in _EXAMPLES.items():
            check_function(f"{name}=", inputs.get(name), example)
        _check_split(inputs["split"])

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the machine of one life of ``agent``."""
        tree = tree_of(inputs["tree"], agents)
        return Hierarchy(agent, agents, tree, inputs["task"], self._supervision())

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return split, work and combine."""
        split = inputs["split"]
        return {
            "split": split if _takes(split, 2) else lambda task, children: split(task),
            "work": inputs["work"],
            "combine": inputs["combine"],
        }

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return the root's result, once all of ``views`` have it; ``None`` before, and if the root gave up."""
        return self._agreed(views).get(RESULT)

    def explain(self, views: Mapping[str, Any]) -> str:
        """Say why the root gave up."""
        reason = self._agreed(views).get(GAVE_UP)
        return "" if reason is None else f"the root gave up: {reason}"

    def _agreed(self, views: Mapping[str, Any]) -> Mapping[str, Any]:
        held = list(views.values())
        agreed = bool(held) and isinstance(held[0], Mapping) and all(view == held[0] for view in held)
        return held[0] if agreed else {}

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether there is a value: what ``combine`` makes of the results is for the user to say."""
        return value is not None

    def leader(self, view: Any) -> str | None:
        """Return ``None``: the root is configured, nobody elects it."""
        return None

    def observed(self, agent: str, facts: Sequence[tuple[str, Mapping[str, Any]]]) -> Any:
        """Return the value of an agent's last ``decide`` as a result."""
        decided = [data.get("value") for fact, data in facts if fact == "decide"]
        return {RESULT: decided[-1]} if decided else None


def _check_split(split: Callable[..., Any]) -> None:
    """Check that nobody takes the task for the agent: of two arguments the second are the children."""
    try:
        names = [
            each.name for each in inspect.signature(split).parameters.values() if each.default is each.empty
        ]
    except (TypeError, ValueError):  # a builtin that does not say
        return
    if names[:1] == ["agent"] and len(names) == 2:
        raise ConvergenceUsageError(
            "split= takes (agent, task), but is given the task and its children: write split(agent, task, children), "
            "split(task, children) or split(task)."
        )


def _takes(function: Callable[..., Any], given: int) -> bool:
    """Whether ``function`` can be called with so many positional arguments, or with the agent before them."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not say
        return False
    for more in (0, 1):
        try:
            signature.bind(*[None] * (given + more))
        except TypeError:
            continue
        return True
    return False

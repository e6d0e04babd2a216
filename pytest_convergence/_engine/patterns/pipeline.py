"""The pipeline pattern: its configuration, its stages, and what becomes of the items."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final, final, get_origin

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.pattern import Pattern, check_function, positive_ns
from pytest_convergence._engine.patterns.pipeline_agent import (
    UNFINISHED,
    PipelineAgent,
    PipelinePlan,
    Underway,
)
from pytest_convergence._engine.patterns.pipeline_port import Parcel
from pytest_convergence._engine.patterns.pipeline_stage import DEAD, REJECTED, StageRules
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DeadLetter", "Pipeline", "Rejected", "Stage", "Unfinished"]

MODES: Final = ("at-least-once", "effectively-once")
_INPUTS: Final = ("stages", "items")
_VALIDATOR: Final = (
    "a type such as dict (without brackets), a tuple of types, or a plain function of the value"
)


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline.

    Attributes:
        name: unique in the pipeline.
        agent: who works at it; several stages may share an agent.
        work: ``work(item)`` or ``work(agent, item)``, plain or ``async``; what it returns is the next stage's item. It may
            be called again for the same item.
        timeout: virtual seconds after which an attempt counts as failed; ``None`` for no bound.
        workers: how many items are worked on at the same time.
        credits: how many items may be in the stage at the same time: waiting, worked on, or done and not yet done by the
            next stage; ``None`` for the pipeline's.
        accepts: what items must be: a type, a tuple of types, or a plain function that raises or returns something false
            for what it refuses (``None`` is not a refusal). A refused item is rejected without an attempt.
        returns: the same for what ``work`` returns; a refusal is a failed attempt.
        max_attempts: how often an item is tried before it is a dead letter; ``None`` for the pipeline's.
    """

    name: str
    agent: str
    work: Callable[..., Any]
    timeout: float | None = None
    workers: int = 1
    credits: int | None = None
    accepts: Any = None
    returns: Any = None
    max_attempts: int | None = None


@final
@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Stands in the output for an item that was given up.

    Attributes:
        item: as the stage that gave it up was given it.
        stage: the name of that stage.
        error: what was wrong the last time, in words.
        attempts: how often it was tried.
    """

    item: Any
    stage: str
    error: str
    attempts: int


@final
@dataclass(frozen=True, slots=True)
class Rejected:
    """Stands in the output for an item that a stage did not accept.

    Attributes:
        item: as that stage was given it.
        stage: the name of that stage.
        error: what was wrong with it, in words.
    """

    item: Any
    stage: str
    error: str


@final
@dataclass(frozen=True, slots=True)
class Unfinished:
    """Stands in the output for an item that had not come out when the pipeline's time was up.

    It may have taken effect at some stages, or even at all of them.

    Attributes:
        item: as it was given.
        error: for how long it was waited for.
    """

    item: Any
    error: str


@final
@dataclass(frozen=True, slots=True)
class Pipeline(Pattern):
    """Items pass through stages; whatever crashes, none is lost.

    The result of a run is a list with one entry for each item, in the order of the items: what the last stage returned, or
    a :class:`DeadLetter`, :class:`Rejected` or :class:`Unfinished`.

    Attributes:
        mode: ``"effectively-once"`` (an item that comes again has no second effect) or ``"at-least-once"``.
        key: a function from an item to its idempotency key; items with equal keys are one item, and have one result. By
            default every item is its own. Only for ``"effectively-once"``.
        order_by: a function from an item to its order key; each stage works on items with equal keys one after the other,
            in the order in which they were given. Items with the key ``None``, and all by default, have no order.
        max_attempts: how often a stage tries an item before it is a dead letter.
        backoff_seconds: virtual seconds before the first retry; each further pause is twice as long, up to 32 times.
        credits: how many items may be in a stage at the same time: waiting, worked on, or done and not yet done by the next
            stage.
        feeder: the agent that feeds the items and collects the results; by default the first agent.
        resend_seconds: virtual seconds after which an unanswered message is repeated.
        deadline_seconds: virtual seconds after which the feeder waits no longer for what has not come out, counted from its
            last start; ``None`` for no bound.
    """

    mode: str = "effectively-once"
    key: Callable[[Any], Any] | None = None
    order_by: Callable[[Any], Any] | None = None
    max_attempts: int = 5
    backoff_seconds: float = 0.1
    credits: int = 8
    feeder: str | None = None
    resend_seconds: float = 0.25
    deadline_seconds: float | None = None

    @property
    def name(self) -> str:
        """``"pipeline"``."""
        return "pipeline"

    @property
    def properties(self) -> tuple[str, ...]:
        """What the pipeline promises; effects are unique only where that is its mode."""
        once = ("effect_at_most_once",) if self.mode == "effectively-once" else ()
        return (
            "no_acked_loss",
            *once,
            "no_unexpected",
            "per_key_order",
            "bounded_retry",
            "dlq_complete",
            "backpressure",
            "conservation",
            "reply_before_sync",
            "quiescence",
        )

    def validate(self, agents: Sequence[str]) -> None:
        """Check every option for these agents.

        Raises:
            ConvergenceUsageError: an option is unknown or out of range.
        """
        if self.mode not in MODES:
            raise unknown_name("pipeline mode", self.mode, MODES)
        if not agents:
            raise ConvergenceUsageError("the pipeline pattern needs at least one agent.")
        if self.feeder is not None and self.feeder not in agents:
            raise unknown_name("agent in feeder", self.feeder, agents)
        for name, function in (("key", self.key), ("order_by", self.order_by)):
            if function is not None:
                check_function(name, function, "lambda item: item['id']")
        if self.key is not None and self.mode != "effectively-once":
            raise ConvergenceUsageError(
                "key= makes items with equal keys have one effect, which mode='at-least-once' does not promise. Leave key= "
                "out, or choose mode='effectively-once'."
            )
        _check_count("max_attempts", self.max_attempts)
        _check_count("credits", self.credits)
        positive_ns(self.backoff_seconds, "backoff_seconds")
        positive_ns(self.resend_seconds, "resend_seconds")
        if self.deadline_seconds is not None:
            positive_ns(self.deadline_seconds, "deadline_seconds")

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return the number of agents: each may have a part that nobody else can play."""
        return len(agents)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check the stages and the items.

        Raises:
            ConvergenceUsageError: an input is missing or unknown, a stage is wrong, or an item has no usable key.
        """
        for name in inputs:
            if name not in _INPUTS:
                raise unknown_name("input of the pipeline pattern", name, _INPUTS)
        stages, items = inputs.get("stages"), inputs.get("items")
        if not isinstance(stages, list | tuple) or not stages:
            raise ConvergenceUsageError(
                "the pipeline pattern needs run(stages=[Stage(name, agent, work), …], items=[…]), not "
                f"stages={stages!r}."
            )
        names: list[str] = []
        for stage in stages:
            _check_stage(stage, agents)
            if stage.name in names:
                raise ConvergenceUsageError(f"two stages are named {stage.name!r}; names must be unique.")
            names.append(stage.name)
        if not isinstance(items, list | tuple):
            raise ConvergenceUsageError(f"items must be a list, such as items=[1, 2, 3], not {items!r}.")
        _check_keys(self.key, "key", items)
        _check_keys(self.order_by, "order_by", items)

    def _parcels(self, items: Sequence[Any]) -> tuple[list[Parcel], list[int]]:
        """Return the items to feed, and for each of the items given which of these it is."""
        first: dict[Any, int] = {}
        parcels, ids = [], []
        for place, item in enumerate(items):
            key = place if self.key is None else self.key(item)
            id = first.setdefault(key, place)
            ids.append(id)
            if id == place:
                order = None if self.order_by is None else self.order_by(item)
                parcels.append(Parcel(place, key, order, item))
        return parcels, ids

    def _plan(self, agents: Sequence[str], stages: Sequence[Stage]) -> PipelinePlan:
        return PipelinePlan(
            tuple(
                StageRules(
                    number,
                    stage.name,
                    stage.agent,
                    stage.workers,
                    stage.credits or self.credits,
                    stage.max_attempts or self.max_attempts,
                    positive_ns(self.backoff_seconds, "backoff_seconds"),
                    None if stage.timeout is None else positive_ns(stage.timeout, "timeout"),
                    stage.accepts,
                    stage.returns,
                    self.mode == "effectively-once",
                )
                for number, stage in enumerate(stages)
            ),
            self.feeder or agents[0],
            positive_ns(self.resend_seconds, "resend_seconds"),
            None if self.deadline_seconds is None else positive_ns(self.deadline_seconds, "deadline_seconds"),
        )

    # -- the protocol ----------------------------------------------------------------------------------------------

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the machine of one life of ``agent``."""
        parcels, ids = self._parcels(inputs["items"])

        def result(outcomes: Mapping[int, Sequence[Any]]) -> list[Any]:
            return [_entry(*outcomes[id]) for id in ids]

        return PipelineAgent(agent, agents, self._plan(agents, inputs["stages"]), parcels, result)

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return the work of the stages of ``agent``."""
        return {f"work {stage.name}": stage.work for stage in inputs["stages"] if stage.agent == agent}

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return the results in the order of the items, or ``None`` while an item is still under way."""
        results = list(views.values())
        agreed = bool(results) and all(result == results[0] for result in results)
        return results[0] if agreed and not isinstance(results[0], Underway) else None

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether ``value`` has one entry for each item."""
        return isinstance(value, list) and len(value) == len(inputs.get("items", ()))

    def leader(self, view: Any) -> str | None:
        """Return ``None``: in a pipeline nobody leads."""
        return None


def _entry(kind: str, value: Any, error: str, attempts: int, stage: str) -> Any:
    if kind == DEAD:
        return DeadLetter(value, stage, error, attempts)
    if kind == UNFINISHED:
        return Unfinished(value, error)
    return Rejected(value, stage, error) if kind == REJECTED else value


def _check_stage(stage: Any, agents: Sequence[str]) -> None:
    if not isinstance(stage, Stage):
        raise ConvergenceUsageError(f"stages must be Stage(name, agent, work) objects, not {stage!r}.")
    if not isinstance(stage.name, str) or not stage.name:
        raise ConvergenceUsageError(f"the name of a stage must be a non-empty string, not {stage.name!r}.")
    if stage.agent not in agents:
        raise unknown_name(f"agent of stage {stage.name!r}", stage.agent, agents)
    check_function(f"the work of stage {stage.name!r}", stage.work, "async def work(item)")
    _check_count(f"workers of stage {stage.name!r}", stage.workers)
    for what, count in (("credits", stage.credits), ("max_attempts", stage.max_attempts)):
        if count is not None:
            _check_count(f"{what} of stage {stage.name!r}", count)
    if stage.timeout is not None:
        positive_ns(stage.timeout, f"timeout of stage {stage.name!r}")
    _check_validator(f"accepts of stage {stage.name!r}", stage.accepts)
    _check_validator(f"returns of stage {stage.name!r}", stage.returns)


def _check_validator(what: str, validator: Any) -> None:
    if validator is None:
        return
    types = validator if isinstance(validator, tuple) else (validator,)
    if types and all(
        isinstance(each, type | UnionType) and get_origin(each) in (None, UnionType) for each in types
    ):
        return
    if not callable(validator) or inspect.iscoroutinefunction(validator) or get_origin(validator) is not None:
        raise ConvergenceUsageError(f"{what} must be {_VALIDATOR}, not {validator!r}.")


def _check_count(what: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConvergenceUsageError(f"{what} must be a whole number of at least 1, not {count!r}.")


def _check_keys(function: Callable[[Any], Any] | None, what: str, items: Sequence[Any]) -> None:
    if function is None:
        return
    for place, item in enumerate(items):
        try:
            hash(function(item))
        except Exception as error:
            raise ConvergenceUsageError(
                f"{what}= must give every item a hashable key, but for item {place}, {item!r}, it raised "
                f"{type(error).__name__}: {error}."
            ) from error

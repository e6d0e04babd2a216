"""The reactive pattern: its configuration, and what a run of it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.events import HandlerFailed
from pytest_convergence._engine.patterns.pattern import Pattern, check_function, positive_ns
from pytest_convergence._engine.patterns.reacting import Reactor, Rules
from pytest_convergence._engine.patterns.saga import Saga
from pytest_convergence._engine.patterns.saga_steps import do_name, undo_name
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Reactive"]

ORDERS: Final = ("fifo", "causal")
_INPUTS: Final = ("handlers", "events")


@final
@dataclass(frozen=True, slots=True)
class Reactive(Pattern):
    """Agents subscribe to topics and react to events, which may cause further events.

    Attributes:
        order: in which order an agent handles events: ``"fifo"`` (those of one publisher as they were published) or
            ``"causal"`` (also: nothing before what it may depend on).
        max_hops: how many events away from a given one another may be; beyond it handlers trigger each other.
        max_attempts: how often a handler, or a step of a saga that must succeed, is tried before it counts as failed.
        publisher: the agent that publishes the given events; the first one by default.
        step_seconds: virtual seconds without a word of a step after which a saga goes back, if it still can.
        resend_seconds: virtual seconds after which an unanswered message is repeated.
    """

    order: str = "fifo"
    max_hops: int = 16
    max_attempts: int = 3
    publisher: str | None = None
    step_seconds: float = 30.0
    resend_seconds: float = 0.25

    @property
    def name(self) -> str:
        """``"reactive"``."""
        return "reactive"

    @property
    def properties(self) -> tuple[str, ...]:
        """What publishing, handling and sagas promise."""
        return (
            "declared_order",
            "handler_idempotent",
            "saga_atomic",
            "pivot_no_undo",
            "no_feedback_loop",
            "trigger_once",
            "quiescence",
        )

    def validate(self, agents: Sequence[str]) -> None:
        """Check every option for these agents.

        Raises:
            ConvergenceUsageError: an option is unknown or out of range.
        """
        if self.order not in ORDERS:
            raise unknown_name("order of delivery", self.order, ORDERS)
        if self.publisher is not None and self.publisher not in agents:
            raise unknown_name("agent in publisher", self.publisher, agents)
        for what, number in (("max_hops", self.max_hops), ("max_attempts", self.max_attempts)):
            given: Any = number
            if isinstance(given, bool) or not isinstance(given, int) or given < 1:
                raise ConvergenceUsageError(f"{what} must be a whole number of at least 1, not {given!r}.")
        positive_ns(self.step_seconds, "step_seconds")
        positive_ns(self.resend_seconds, "resend_seconds")

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return all agents: each has a part of its own."""
        return len(agents)

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check the handlers and the events.

        Raises:
            ConvergenceUsageError: an input is missing or unknown, names an unknown agent or topic, or cannot be called.
        """
        for key in inputs:
            if key not in _INPUTS:
                raise unknown_name("input of the reactive pattern", key, _INPUTS)
        handlers = inputs.get("handlers")
        if not isinstance(handlers, Mapping) or not handlers:
            raise ConvergenceUsageError(
                f"the reactive pattern needs run(handlers={{topic: {{agent: function}}}}, …), not handlers={handlers!r}."
            )
        for topic, given in handlers.items():
            _check_topic(topic, given, agents)
        _check_events(inputs.get("events"), handlers)

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the machine of one life of ``agent``."""
        handlers = inputs["handlers"]
        subscribers = {
            topic: (given.conductor,) if isinstance(given, Saga) else tuple(given)
            for topic, given in handlers.items()
        }
        sagas = {
            topic: given.rules(self.max_attempts)
            for topic, given in handlers.items()
            if isinstance(given, Saga)
        }
        rules = Rules(
            self.publisher or agents[0],
            subscribers,
            sagas,
            self.order,
            self.max_hops,
            self.max_attempts,
            positive_ns(self.resend_seconds, "resend_seconds"),
            positive_ns(self.step_seconds, "step_seconds"),
        )
        return Reactor(agent, agents, inputs["events"], self.functions(agent, agents, inputs), rules)

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        """Return the handlers of ``agent``, and its steps of sagas."""
        found: dict[str, Callable[..., Any]] = {}
        for topic, given in inputs["handlers"].items():
            if not isinstance(given, Saga):
                if agent in given:
                    found[f"handle {topic}"] = given[agent]
                continue
            for number, step in enumerate(given.steps):
                if step.agent == agent:
                    found[do_name(topic, number)] = step.do
                    if step.undo is not None:
                        found[undo_name(topic, number)] = step.undo
        return found

    def output(self, views: Mapping[str, Any]) -> Any:
        """Return ``{topic: {agent: [results]}}``, once all of ``views`` have it."""
        held = list(views.values())
        return held[0] if held and all(view == held[0] for view in held) else None

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether every handler came to a result, and every saga to an end."""
        return isinstance(value, Mapping) and not _failures(value)

    def explain(self, views: Mapping[str, Any]) -> str:
        """Say which handler failed."""
        found = self.output(views)
        return "; ".join(_failures(found)) if isinstance(found, Mapping) else ""

    def leader(self, view: Any) -> str | None:
        """Return ``None``: among those who react nobody leads."""
        return None


def _failures(results: Mapping[str, Any]) -> list[str]:
    found = []
    for topic, by_agent in results.items():
        for agent, each in by_agent.items() if isinstance(by_agent, Mapping) else ():
            for result in each:
                if isinstance(result, HandlerFailed):
                    found.append(f"the handler of {topic!r} at {agent} failed with {result.reason}")
                elif isinstance(result, Mapping) and result.get("saga") == "stuck":
                    found.append(f"the saga of {topic!r} is stuck at {result['failed']}: {result['reason']}")
    return found


def _check_topic(topic: Any, given: Any, agents: Sequence[str]) -> None:
    if not isinstance(topic, str) or not topic:
        raise ConvergenceUsageError(f"a topic must be a non-empty string, not {topic!r}.")
    if isinstance(given, Saga):
        given.check(topic, agents)
        return
    if not isinstance(given, Mapping) or not given:
        raise ConvergenceUsageError(
            f"handlers[{topic!r}] must be {{agent: function}} with one agent at least, or a Saga, not {given!r}."
        )
    for agent, function in given.items():
        if agent not in agents:
            raise unknown_name(f"agent in handlers of {topic!r}", agent, agents)
        check_function(f"the handler of {topic!r} at {agent!r}", function, "handle(payload)")


def _check_events(events: Any, handlers: Mapping[str, Any]) -> None:
    if not isinstance(events, list | tuple) or not events:
        raise ConvergenceUsageError(
            f"the reactive pattern needs run(events=[(topic, payload), …]), not events={events!r}."
        )
    for event in events:
        if not isinstance(event, list | tuple) or len(event) != 2:
            raise ConvergenceUsageError(f"an event is a pair (topic, payload), not {event!r}.")
        if event[0] not in handlers:
            raise unknown_name("topic in events", event[0], handlers)

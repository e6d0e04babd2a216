"""Bugs in reactive agents are caught by the property that is meant for them; the reference protocol is silent."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation, Publish, Reactive, Saga, Step
from pytest_convergence._engine.base.effects import Effect
from pytest_convergence._engine.patterns.events import Event, Record
from pytest_convergence._engine.patterns.reacting import Reactor
from pytest_convergence._engine.patterns.saga import SagaRules, SagaRun
from pytest_convergence._engine.patterns.saga_steps import Steps
from tests.unit.check.planted import Planted, broken

AGENTS = ("shop", "depot", "bank", "ledger")


async def takes_a_while(agent: Any, payload: Any) -> Any:
    await asyncio.sleep(agent.random.choice([0, 0.05, 0.5]))
    return payload


def fails(payload: Any) -> Any:
    raise ValueError("no")


def nothing(payload: Any) -> None:
    return None


HANDLERS = {
    "ordered": {"depot": lambda order: Publish("packed", order), "ledger": takes_a_while},
    "packed": {
        "shop": lambda order: [Publish("sent", order), Publish("sent", -order)],
        "ledger": takes_a_while,
    },
    "sent": {"ledger": takes_a_while, "bank": takes_a_while},
}
EVENTS = {"handlers": HANDLERS, "events": [("ordered", 1), ("ordered", 2), ("ordered", 3)]}
BOOKING = Saga(
    [
        Step("reserve", "depot", takes_a_while, nothing),
        Step("charge", "bank", takes_a_while, nothing),
        Step("ship", "shop", fails),
    ]
)
REFUSED = {"handlers": {"buy": BOOKING}, "events": [("buy", 1), ("buy", 2)]}
PAID = {
    "handlers": {"buy": Saga([*BOOKING.steps[:2], Step("ship", "shop", takes_a_while)], pivot="charge")},
    "events": [("buy", 1), ("buy", 2)],
}
FIFO = Reactive()
CAUSAL = Reactive(order="causal")


class ForgetsToCompensate(Reactor):
    """23: a saga whose step fails is over."""

    def _saga_moved(self, saga: SagaRun, rules: SagaRules, *, at_once: bool) -> list[Effect]:
        if saga.backward:
            saga.how = "undone"
        return super()._saga_moved(saga, rules, at_once=at_once)


class StepsUndoneAgain(Steps):
    """Undoes a step whenever it is asked to."""

    def asked(self, sender: str, payload: Mapping[str, Any]) -> list[Effect]:
        key = f"{payload['saga']}/{payload['number']}"
        known = self.states.get(sender, {"steps": {}})["steps"]
        if payload["what"] == "undo" and known.get(key, {}).get("state") == "undone":
            known[key] = {"state": "done", "value": None}
        return super().asked(sender, payload)


class CompensatesTwice(Reactor):
    """23: every request to undo is obeyed, also one that was obeyed before."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.steps = StepsUndoneAgain(args[3], self._save, self._tell)


class CompensatesForwards(Reactor):
    """Undoes the first step first."""

    def _on_stepped(self, payload: Any) -> list[Effect]:
        saga = self.saga
        if saga is not None and not saga.backward and not payload["ok"] and saga.at == payload["number"]:
            effects = super()._on_stepped(payload)
            if self.saga is not None and self.saga.backward:
                self.saga.at = 0
                return [*self._save(), *self._ask()]
            return effects
        return super()._on_stepped(payload)


class UndoesAfterThePivot(Reactor):
    """Goes back at the end, whatever was agreed."""

    def _saga_moved(self, saga: SagaRun, rules: SagaRules, *, at_once: bool) -> list[Effect]:
        if saga.how == "done":
            saga.how, saga.backward, saga.at = "", True, len(rules.steps) - 1
        return super()._saga_moved(saga, rules, at_once=at_once)


class HandlesAsItComes(Reactor):
    """No order at all."""

    def _is_due(self, sender: str, payload: Any) -> bool:
        return True

    def _is_handled(self, sender: str, payload: Any) -> bool:
        return payload["event"] in self.handled


class HandlesInOrderOfEachSender(Reactor):
    """Fifo, where causal was promised."""

    def _is_due(self, sender: str, payload: Any) -> bool:
        return bool(payload["number"] == self.counts.get(sender, 0) + 1)


class HandlesEveryDelivery(Reactor):
    """Every copy is an event."""

    def _is_handled(self, sender: str, payload: Any) -> bool:
        return False

    def _is_due(self, sender: str, payload: Any) -> bool:
        return True


class RemembersInMemory(HandlesAsItComes):
    """What was handled is forgotten in a crash."""

    def _load(self, saved: Mapping[str, Any]) -> None:
        super()._load({**saved, "handled": [], "counts": {}, "outbox": []})


class NamesItsEventsAnew(Reactor):
    """Publishes under a fresh name whenever it starts, and so the subscribers cannot know an event again."""

    lives = 0

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        type(self).lives += 1
        return super().on_start(durable)

    def _load(self, saved: Mapping[str, Any]) -> None:
        super()._load(saved)
        renamed: list[Event] = []
        for event in self.outbox.values():
            if event.cause:
                head, _, place = event.id.rpartition(".")
                event.id, old = f"{head}.{int(place) + 1000 * self.lives}", event.id
                record: Record = self.handled[event.cause]
                record.open[record.open.index(old)] = event.id
            renamed.append(event)
        self.outbox = {event.id: event for event in renamed}

    def _publish(self, events: Any) -> list[Effect]:
        effects = super()._publish(events)
        for effect in effects:
            place = getattr(effect, "data", {}).get("place")
            if place is not None:
                effect.data["place"] = place % 1000  # type: ignore[union-attr,index]
        return effects


class LosesWhatItPublished(Reactor):
    """An event that was sent once is done."""

    def _is_waiting(self) -> bool:
        return False

    def _load(self, saved: Mapping[str, Any]) -> None:
        super()._load({**saved, "outbox": []})


def planted(machine: type[Reactor], pattern: Reactive) -> Planted:
    def make(agent: str, agents: Any, inputs: Any) -> Reactor:
        reference = pattern.machine(agent, agents, inputs)
        assert isinstance(reference, Reactor)
        functions = pattern.functions(agent, agents, inputs)
        return machine(agent, agents, inputs["events"], functions, reference.rules)

    return Planted(pattern, make)


@pytest.mark.parametrize(
    ("bug", "pattern", "inputs", "name", "at_least"),
    [
        pytest.param(ForgetsToCompensate, FIFO, REFUSED, "saga_atomic", 10, id="23 no compensation"),
        pytest.param(CompensatesTwice, FIFO, REFUSED, "saga_atomic", 3, id="23 compensation twice"),
        pytest.param(CompensatesForwards, FIFO, REFUSED, "saga_atomic", 8, id="not in reverse"),
        pytest.param(UndoesAfterThePivot, FIFO, PAID, "pivot_no_undo", 8, id="undoes after the pivot"),
        pytest.param(HandlesAsItComes, FIFO, EVENTS, "declared_order", 8, id="no order"),
        pytest.param(HandlesInOrderOfEachSender, CAUSAL, EVENTS, "declared_order", 5, id="only fifo"),
        pytest.param(HandlesEveryDelivery, FIFO, EVENTS, "handler_idempotent", 6, id="every delivery"),
        pytest.param(RemembersInMemory, FIFO, EVENTS, "handler_idempotent", 2, id="in memory"),
        pytest.param(NamesItsEventsAnew, FIFO, EVENTS, "trigger_once", 1, id="new names"),
        pytest.param(LosesWhatItPublished, FIFO, EVENTS, "trigger_once", 5, id="loses events"),
    ],
)
def test_a_bug_in_a_reactive_agent_is_caught(
    bug: type[Reactor], pattern: Reactive, inputs: Any, name: str, at_least: int
) -> None:
    found = broken(planted(bug, pattern), AGENTS, inputs, 10)
    assert found[name] >= at_least


def test_handlers_that_trigger_each_other_are_caught() -> None:
    handlers = {
        "ping": {"depot": lambda n: Publish("pong", n + 1)},
        "pong": {"bank": lambda n: Publish("ping", n + 1)},
    }
    session = ConvergenceEngine().create_session("loop", pattern="reactive", agents=list(AGENTS))
    with pytest.raises(PropertyViolation, match="handlers trigger each other: 17 events in a chain"):
        session.run(handlers=handlers, events=[("ping", 0)])


@pytest.mark.parametrize("pattern", [FIFO, CAUSAL], ids=["fifo", "causal"])
@pytest.mark.parametrize("inputs", [EVENTS, REFUSED, PAID], ids=["events", "refused", "paid"])
def test_the_reference_protocol_is_silent(pattern: Reactive, inputs: Any) -> None:
    assert not broken(pattern, AGENTS, inputs, 5)

"""Pipelines in the small world of the driver: machines, also with one planted bug each, judged by the checkers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_convergence._engine.base.effects import Effect, Observe, Sync
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.pipeline import Pipeline, Stage
from pytest_convergence._engine.patterns.pipeline_agent import PipelineAgent
from pytest_convergence._engine.patterns.pipeline_port import OK, Letter, Parcel, Port
from pytest_convergence._engine.patterns.pipeline_stage import StageDesk
from tests.unit.patterns.driver import MS, SECOND, Noise, World

AGENTS = ("a", "b", "c")
ITEMS = [{"id": number, "lane": "xyz"[number % 3]} for number in range(9)]
POISON = 4
UNLUCKY = 7
PATTERN = Pipeline(key=lambda item: item["id"], order_by=lambda item: item["lane"], max_attempts=3)


def is_lucky(item: Any) -> bool:
    return item["id"] != UNLUCKY


STAGES = [
    Stage("cut", "a", dict, workers=6, accepts=is_lucky),
    Stage("sew", "b", dict, workers=6, max_attempts=40, timeout=0.15),
    Stage("dye", "b", dict),
    Stage("iron", "c", dict, credits=1),
]
WORK = (10 * MS, 200 * MS)


def work(seed: int) -> dict[str, Callable[[Any], Any]]:
    """What the stages do: pass the item on; one fails by chance, and one item fails for good."""
    chance = random.Random(seed)

    def flaky(item: Any) -> Any:
        if chance.random() < 0.1:
            raise ConnectionError("try again")
        return item

    def firm(item: Any) -> Any:
        if item["id"] == POISON:
            raise ValueError("poison")
        return item

    return {"work cut": dict, "work sew": flaky, "work dye": firm, "work iron": dict}


def factory(machine: type[PipelineAgent], pattern: Pipeline = PATTERN) -> Callable[[str], PipelineAgent]:
    """Make machines of a class."""
    plan, (parcels, _) = pattern._plan(AGENTS, STAGES), pattern._parcels(ITEMS)
    return lambda agent: machine(agent, AGENTS, plan, parcels, dict)


def trial(machine: type[PipelineAgent], seed: int, noise: Noise, pattern: Pipeline = PATTERN) -> set[str]:
    """Run once with noise, then in peace; return the names of the properties that were broken."""
    monitor = Monitor(PropertyRegistry().find_all(pattern.properties), Scope(AGENTS, len(AGENTS)))
    world = World(
        AGENTS,
        factory(machine, pattern),
        seed=seed,
        noise=noise._replace(work=WORK),
        watch=monitor.feed,
        functions=work(seed),
    )

    def ended() -> bool:
        return bool(monitor.violations) or pattern.output(world.views()) is not None

    world.run(until=noise.until, when=lambda: bool(monitor.violations))
    world.settle(120 * SECOND, ended)
    settled = not monitor.violations
    monitor.finish(FinalState(world.now, world.live(), world.views(), settled))
    return {violation.property for violation in monitor.violations}


def caught(machine: type[PipelineAgent], name: str, noise: Noise, seeds: int) -> int:
    """Return how many of ``seeds`` runs broke the property ``name``."""
    return sum(name in trial(machine, seed, noise) for seed in range(seeds))


# -- planted bugs ------------------------------------------------------------------------------------------------------


class AcksFirst(PipelineAgent):
    """Acknowledges what it takes, and works on it then."""

    def _on_item(self, sender: str, payload: Any) -> list[Effect]:
        effects = super()._on_item(sender, payload)
        if payload["parcel"][0] in self.desks[payload["stage"]]._held:
            effects += self._acknowledge(payload["stage"], Parcel(*payload["parcel"]))
        return effects


class SyncsLast(PipelineAgent):
    """Sends all that it has to say, and then makes it durable."""

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        effects = super().on_command(name, argument)
        return sorted(effects, key=lambda effect: isinstance(effect, Sync))


class _OtherDesks(PipelineAgent):
    """Works at desks, and sends through ports, of another class."""

    desk: type[StageDesk] = StageDesk
    port: type[Port] = Port

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for number, desk in self.desks.items():
            self.desks[number] = self.desk(desk.rules, desk.port, desk._journal)

    def _port(self, source: int) -> Port:
        port = super()._port(source)
        return self.port(
            source, port.limit, self.plan.resend_ns, lambda letter: self._pass_on(source, letter)
        )


class _NoKeyDesk(StageDesk):
    def has_done(self, id: int) -> bool:
        return False


class NoKey(_OtherDesks):
    """Works on whatever comes, however often it comes."""

    desk = _NoKeyDesk


class _ForgetfulDesk(StageDesk):
    def remember_done(self, letter: Letter) -> None:
        super().remember_done(letter)
        self._done.discard(letter.parcel.id)


class DedupInMemory(_OtherDesks):
    """Remembers what it has done until it crashes."""

    desk = _ForgetfulDesk


class _LooseSend(Port):
    def add(self, letter: Letter) -> None:
        super().add(letter._replace(parcel=letter.parcel._replace(order=None)))


class SeveralInFlight(_OtherDesks):
    """Does not wait for the acknowledgement of an item before it sends the next one of the same key."""

    port = _LooseSend


class _StubbornDesk(StageDesk):
    def __init__(self, rules: Any, *more: Any) -> None:
        super().__init__(rules._replace(max_attempts=10**6), *more)
        self.bound = rules.max_attempts

    def _failure_fact(self, key: Any, error: str, number: int, **data: Any) -> Effect:
        fact = super()._failure_fact(key, error, number, **data)
        assert isinstance(fact, Observe)
        return Observe(fact.fact, {**fact.data, "of": self.bound})


class RetriesForEver(_OtherDesks):
    """Does not know when to give up."""

    desk = _StubbornDesk


class _DroppingDesk(StageDesk):
    def _give_up(self, id: int) -> list[Effect]:
        self._fresh[id] = self._held.pop(id)
        self._done.add(id)
        return []


class DropsPoison(_OtherDesks):
    """Gives up without a word."""

    desk = _DroppingDesk


class _UncountingDesk(StageDesk):
    def remember_failure(self, id: int, error: str) -> None:
        pass

    def recalled_failure(self, key: Any, id: int) -> Effect:
        return Observe("started", {})


class CountsInMemory(_OtherDesks):
    """Begins to count its attempts anew after each crash."""

    desk = _UncountingDesk


class _BottomlessDesk(StageDesk):
    @property
    def has_room(self) -> bool:
        return True


class _HeedlessPort(Port):
    def __init__(self, source: int, limit: int | None, *more: Any) -> None:
        super().__init__(source, None, *more)


class NoBackpressure(_OtherDesks):
    """Sends without asking, and takes without looking."""

    desk = _BottomlessDesk
    port = _HeedlessPort


class _OverflowingDesk(StageDesk):
    def take(self, parcel: Parcel) -> list[Effect] | None:
        effects = super().take(parcel)
        if effects is None:
            self._fresh[parcel.id] = parcel
            return []
        return effects


class DropsWhenFull(_OtherDesks):
    """Takes what it has no room for, and throws it away."""

    desk = _OverflowingDesk
    port = _HeedlessPort


class SkipsAStage(PipelineAgent):
    """Sends what comes from the first stage past the second one."""

    def _pass_on(self, source: int, letter: Letter) -> list[Effect]:
        if source == 0 and letter.kind == OK:
            return self._post("b", "item", {"stage": 2, "parcel": tuple(letter.parcel)})
        return super()._pass_on(source, letter)


class _GenerousDesk(StageDesk):
    def _give_up(self, id: int) -> list[Effect]:
        parcel = self._held[id]
        effects = super()._give_up(id)
        passed = [
            Observe("effect", {"item": parcel.key, "stage": stage.name})
            for stage in STAGES[self.rules.number :]
        ]
        return [*effects, *passed]


class CountsDeadLettersAsDone(_OtherDesks):
    """Says of an item that it gives up that it has come out, too."""

    desk = _GenerousDesk


class _MuteDesk(StageDesk):
    def outcome_fact(self, letter: Letter, *, recalled: bool = False) -> Effect:
        return super().outcome_fact(letter._replace(error=""), recalled=recalled)


class LosesTheError(_OtherDesks):
    """Puts items into the dead-letter queue without what was wrong with them."""

    desk = _MuteDesk


class ForgetsTheJournal(PipelineAgent):
    """Begins each life as if it were the first."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return super().on_start({})

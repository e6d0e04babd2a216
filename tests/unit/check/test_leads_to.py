"""Leads to: an obligation begins when the trigger becomes true, and ends when the response is true."""

import pytest

from pytest_convergence._engine.check.leads_to import LeadsTo
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.predicates import Always
from pytest_convergence._engine.check.property import FinalState, Property, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.run.known import Known
from pytest_convergence.errors import ConvergenceUsageError, PropertyViolation
from tests.unit.check.events import event
from tests.unit.sim.harness import make_session

S = 1_000_000_000


class _World:
    """A trigger and a response that a test switches, and what a monitor says of it."""

    def __init__(self, within: float | None = None) -> None:
        self.trigger = self.response = False
        prop = LeadsTo("answered", lambda world: world.trigger, lambda world: world.response, within=within)
        self._monitor = Monitor([prop], Scope(("a",), subject=self))

    def at(self, seconds: float, *, trigger: bool = False, response: bool = False) -> list[str]:
        self.trigger, self.response = trigger, response
        return [str(one) for one in self._monitor.feed(event("step", "a", at=round(seconds * S)))]

    def end(self, seconds: float, *, settled: bool = True) -> list[str]:
        final = FinalState(round(seconds * S), settled=settled)
        return [str(one) for one in self._monitor.finish(final)]


def test_a_response_may_come_at_once_or_later():
    world = _World()
    assert world.at(1, trigger=True, response=True) == []
    assert world.at(2) == world.at(3, trigger=True) == []
    assert world.at(9, response=True) == world.at(10) == world.end(11) == []


def test_a_response_before_the_trigger_does_not_count():
    world = _World()
    world.at(1, response=True)
    world.at(2, trigger=True)
    (said,) = world.end(5)
    assert said == (
        "answered: this must follow, but the trigger became true at 2 s (after an event of a), and from then until the "
        "world had settled the response did not hold (at 5 s)"
    )


def test_each_time_the_trigger_becomes_true_a_response_must_follow():
    world = _World()
    world.at(1, trigger=True)
    world.at(2, trigger=True, response=True)
    assert world.at(3, trigger=True) == []  # it has not become true: it was
    world.at(4)
    world.at(5, trigger=True)
    assert "became true at 5 s" in world.end(6)[0]


def test_one_response_meets_all_that_are_open():
    world = _World()
    world.at(1, trigger=True)
    world.at(2)
    world.at(3, trigger=True)
    assert world.at(4, response=True) == world.end(9) == []


def test_the_bound_counts_from_the_first_trigger_that_is_open():
    world = _World(within=5)
    world.at(1, trigger=True)
    world.at(2)
    world.at(3, trigger=True)
    (said,) = world.at(7)
    assert "must follow within 5 s, but the trigger became true at 1 s" in said
    assert said.endswith("until 6 s the response did not hold (at 6 s)")


def test_a_response_at_the_last_instant_is_in_time_and_one_after_it_is_not():
    world = _World(within=5)
    world.at(1, trigger=True)
    assert world.at(6, response=True) == world.end(20) == []
    late = _World(within=5)
    late.at(1, trigger=True)
    assert len(late.at(6.1, response=True)) == 1


def test_what_cannot_come_any_more_is_missed_before_its_time_is_up():
    world = _World(within=60)
    world.at(1, trigger=True)
    assert len(world.end(5)) == 1


def test_a_run_whose_time_is_up_says_nothing_of_bounds_that_reach_beyond_it():
    world = _World(within=60)
    world.at(1, trigger=True)
    assert world.end(5, settled=False) == []
    unbounded = _World()
    unbounded.at(1, trigger=True)
    assert len(unbounded.end(5, settled=False)) == 1  # as for eventually
    over = _World(within=60)
    over.at(1, trigger=True)
    assert len(over.end(100, settled=False)) == 1


async def _serve(agent):
    async for message in agent.inbox:
        if message.payload != 3:
            agent.state.set("answered", message.payload)


async def _ask(agent):
    for number in range(1, 5):
        agent.state.set("asked", number)
        await agent.send("server", number)
        await agent.session.sleep(10)


def _asked(session):
    return session.agents["client"].state.get("asked", 0) > session.agents["server"].state.get("answered", 0)


def _answered(session):
    assert not _asked(session), "the client waits"
    return True


def test_a_session_that_breaks_it_fails_and_says_what_the_response_says():
    session = make_session(agents={"server": _serve, "client": _ask})
    session.leads_to("an answer comes", _asked, _answered, within=5)
    with pytest.raises(PropertyViolation, match="the trigger became true at 20 s") as caught:
        session.run()
    (violation,) = caught.value.violations
    assert violation.at_ns == 25 * S
    assert "the client waits" in violation.message
    assert violation.facts == violation.facts | {"triggered_at": 20.0, "within": 5.0}


def test_properties_of_the_options_are_judged_like_those_of_the_session():
    slow = LeadsTo("an answer comes", _asked, _answered)
    assert make_session(agents={"server": _serve, "client": _ask}, properties=[slow]).run()
    with pytest.raises(PropertyViolation, match="an answer comes"):
        make_session(
            agents={"server": _serve, "client": _ask},
            properties=[LeadsTo("an answer comes", _asked, _answered, within=5)],
        ).run()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LeadsTo("x", 3, bool), "the property 'x' needs a function of the session, not 3"),  # type: ignore[arg-type]
        (lambda: LeadsTo("x", bool, None), "needs a function of the session, not None"),  # type: ignore[arg-type]
        (
            lambda: LeadsTo("x", bool, bool, within=-1),
            "within must be a finite number of seconds >= 0, not -1",
        ),
        (lambda: LeadsTo("x", _serve, bool), "is a coroutine function"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ConvergenceUsageError, match=words):
        make()


def test_a_name_is_given_once_in_a_session():
    session = make_session(agents=1, properties=[Always("x", bool)])
    with pytest.raises(ConvergenceUsageError, match="has a property named 'x' already"):
        session.leads_to("x", bool, bool)
    with pytest.raises(ConvergenceUsageError, match="two different properties are named 'x'"):
        make_session(agents=1, properties=[Always("x", bool), Always("x", bool)])


def test_a_property_names_patterns_that_exist():
    own = Always("x", bool, patterns=["consensuss"])
    with pytest.raises(
        ConvergenceUsageError, match="'consensuss': did you mean 'consensus'.*property 'x' names it"
    ):
        Known(properties=[own])
    assert Property("y", "always", "", lambda scope: None, patterns="pipeline").patterns == ("pipeline",)  # type: ignore[arg-type, return-value]
    assert [each.name for each in PropertyRegistry([own]).applying_to("consensuss")] == ["x"]

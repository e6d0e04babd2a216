"""Options, goals, outcomes, the engine, the lifecycle, and comparing runs."""

import contextlib
from typing import Any

import pytest

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.compare import describe_event, first_difference
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.goal import CRITERIA, Criterion, Goal
from pytest_convergence._engine.run.lifecycle import TRANSITIONS, SessionState, advance
from pytest_convergence._engine.run.options import DEFAULTS, UNSET, SessionOptions
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.run.settling import largest_group, split_views
from pytest_convergence._engine.state.sync import Delta
from pytest_convergence.errors import ConvergenceUsageError, InternalError
from tests.unit.sim.harness import make_session, run_session

# -- options -----------------------------------------------------------------------------------------------------------


class Callable:
    async def __call__(self, agent: Any) -> None: ...


async def behaviour(agent: Any) -> None: ...


async def generates(agent: Any) -> Any:
    yield


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"agent": 3}, r"unknown option 'agent': did you mean 'agents'\?"),
        ({"agents": 0}, "a session needs at least one agent"),
        ({"agents": []}, "a session needs at least one agent"),
        ({"agents": -2}, "a session needs at least one agent"),
        ({"agents": True}, "agents must be a number"),
        ({"agents": "abc"}, "agents must be a number"),
        ({"agents": 1.5}, "agents must be a number"),
        ({"agents": ["a", "a"]}, "the agent 'a' is named twice"),
        ({"agents": ["a", ""]}, "agent names must be non-empty"),
        ({"agents": ["a→b"]}, "agent names must be non-empty"),
        ({"agents": [1]}, "agent names must be non-empty"),
        ({"agents": {"a": lambda agent: None}}, "is not a coroutine function"),
        ({"agents": {"a": generates}}, "is an async generator"),
        ({"pattern": "concensus"}, r"did you mean 'consensus'\?"),
        ({"network": "los"}, "unknown network profile"),
        ({"network": 3}, "unknown network profile"),
        ({"faults": "crash"}, "faults must be a list"),
        ({"faults": 3}, "faults must be a list"),
        ({"faults": ["crush"]}, r"unknown fault 'crush': did you mean 'crash'\?"),
        ({"schedules": 0}, "schedules must be a whole number >= 1"),
        ({"schedules": True}, "schedules must be a whole number"),
        ({"max_events": 1.5}, "max_events must be a whole number"),
        ({"explore": "rand"}, "unknown explore strategy"),
        ({"noise": "swarms"}, "unknown noise profile 'swarms': did you mean 'swarm'"),
        ({"sync": "delt"}, "unknown sync strategy"),
        ({"sync": 3}, "neither the name of a strategy"),
        ({"sync": Delta}, "neither the name of a strategy"),
        ({"resolve": "last"}, "last-write"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"timeout": 0}, "timeout must be greater than 0"),
        ({"timeout": "1"}, "timeout must be"),
        ({"real_timeout": 0}, "real_timeout must be greater than 0"),
        ({"trace": 0}, "trace must be"),
        ({"trace": "yes"}, "trace must be"),
        ({"properties": "agreement"}, "properties must be a list"),
        ({"properties": ["agrement"]}, "agreement"),
        ({"schedule": "token"}, "no token"),
        ({"schedule": 3}, "schedule must be a Schedule"),
        ({"goal": 3}, "goal must be a Goal"),
    ],
)
def test_wrong_options_are_refused_with_the_nearest_match(options: dict[str, Any], words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        SessionOptions.parse(options)


@pytest.mark.parametrize(
    "options",
    [
        {"agents": None, "pattern": None, "seed": None, "schedule": None, "goal": None, "real_timeout": None},
        {"agents": {"a": behaviour, "b": None, "c": Callable()}},
        {
            "agents": iter(["a", "b"]) and ("a", "b"),
            "faults": ("crash",),
            "properties": ["agreement"],
            "goal": "win",
        },
    ],
)
def test_right_options_are_accepted(options: dict[str, Any]):
    SessionOptions.parse(options)


def test_a_partial_of_a_coroutine_function_is_a_behaviour():
    from functools import partial

    async def scaled(factor: int, agent: Any) -> int:
        return factor

    assert run_session(agents={"a": partial(scaled, 3)}).results == {"a": 3}


def test_closer_options_win_one_by_one():
    near, far = SessionOptions.parse({"seed": 1}), SessionOptions.parse({"seed": 2, "agents": 3})
    merged = near.over(far)
    assert (merged.get("seed"), merged.get("agents"), merged.get("timeout")) == (1, 3, DEFAULTS["timeout"])
    assert repr(UNSET) == "UNSET"


def test_the_window_of_the_trace_is_an_option():
    assert SessionOptions.parse({"trace": False}).trace_window() == 0
    assert SessionOptions.parse({"trace": 5}).trace_window() == 5
    assert SessionOptions.parse({}).trace_window() > 100_000
    assert len(run_session(agents={"a": behaviour}, trace=False).trace) == 0


# -- goals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Goal("g", "all agents agree"), "success_criteria must be a list"),
        (lambda: Goal("g", ["all agents agre"]), r"did you mean 'all agents agree'\?"),
        (lambda: Goal("g", timeout=0), "timeout must be greater than 0"),
        (lambda: Goal("g", max_iterations=0), "max_iterations must be"),
        (lambda: Goal("g", max_iterations=True), "max_iterations must be"),
        (lambda: Goal("g", convergence_threshold=1.1), "convergence_threshold must be"),
        (lambda: Criterion("c", "no function"), "must be a function"),  # type: ignore[arg-type]
        (lambda: Criterion("c", bool, weight=0), "the weight of criterion 'c'"),
        (lambda: Criterion("", bool), "a criterion needs a name"),
        (lambda: Criterion("c", behaviour), "is a coroutine function; a criterion is judged at one moment"),
    ],
)
def test_wrong_goals_are_refused(make: Any, words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        make()


@pytest.mark.parametrize("name", CRITERIA)
def test_every_named_criterion_can_be_met(name: str):
    outcome = run_session(agents=3, pattern="leader-follower", goal=Goal("g", [name]))
    assert [(result.name, bool(result)) for result in outcome.criteria] == [(name, True)]
    assert outcome.converged


@pytest.mark.parametrize("name", sorted({*CRITERIA} - {"no unresolved conflicts"}))
def test_every_named_criterion_can_be_missed(name: str):
    async def scenario(session: Session) -> None:
        a, b = session.agents.values()
        with session.network.partition([a]):
            a.state.set("k", 1)
            b.state.set("k", 2)
            await a.send("b", "lost")
            await session.sleep(1)
        if name == "all agents agree":
            session.network.partition([a])
            a.state.set("k", 3)
        if name in ("all agents alive", "no agent crashed"):
            b.crash()
        with contextlib.suppress(ValueError):
            async with session.phase("broken off"):
                raise ValueError
        for fact in ("handoff_requested", "dead_letter", "effect", "effect", "lost_update"):
            a.observe(fact, id=1, key=1)
        await session.sleep(5)

    async def listens(agent: SimulatedAgent) -> None:
        async for _ in agent.inbox:
            pass

    outcome = run_session(scenario, agents={"a": listens, "b": None}, goal=Goal("g", [name]), timeout=60)
    assert [result.met for result in outcome.criteria] == [False]
    assert not outcome.converged
    assert any(f"the goal 'g' was missed: {name!r}" in reason for reason in outcome.reasons)


def test_a_conflict_without_a_resolution_misses_its_criterion():
    class Conflicting:
        conflicts = (type("Conflict", (), {"resolution": None}),)

    assert not CRITERIA["no unresolved conflicts"](Conflicting())  # type: ignore[arg-type]


def test_what_is_not_required_may_be_missed_up_to_the_threshold():
    def goal(threshold: float) -> Goal:
        criteria = [
            Criterion("met", lambda s: True, weight=3),
            Criterion("missed", lambda s: False, required=False),
        ]
        return Goal("g", criteria, convergence_threshold=threshold)

    assert run_session(agents=2, goal=goal(0.75)).converged
    assert not run_session(agents=2, goal=goal(0.76)).converged
    assert run_session(agents=2, goal=Goal("nothing")).converged


def test_a_goal_may_be_its_description():
    assert make_session(agents=2, goal="win").goal == Goal("win")


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_an_outcome_explains_itself():
    async def scenario(session: Session) -> str:
        session.network.drop(where=lambda message: message.channel == "sync")
        session.agents["agent-1"].state.set("k", 1)
        await session.agents["agent-1"].send("agent-2", 1)
        return "result"

    session = ConvergenceEngine().create_session(
        "mine", agents=2, goal=Goal("g", ["all agents agree"]), timeout=5
    )
    outcome = session.run(scenario)
    text = str(outcome)
    assert text.startswith("mine: diverged after ")
    for part in (
        "because agent-1 and agent-2 expose",
        "output: 'result'",
        "messages: ",
        "criterion 'all agents agree': not met",
    ):
        assert part in text
    assert repr(outcome).startswith("<Outcome mine: diverged, calm, because agent-1 and agent-2 expose")
    assert repr(run_session(agents=2)).endswith(": converged, calm>")
    assert not outcome
    assert run_session(agents=2)
    numbers = outcome.metrics.as_dict()
    assert numbers["outcome"] == "diverged"
    assert all(isinstance(value, str | int | float | dict) for value in numbers.values())


# -- engine ------------------------------------------------------------------------------------------------------------


def test_an_engine_counts_what_its_sessions_came_to():
    ended: list[str] = []
    engine = ConvergenceEngine(finished=lambda session, outcome: ended.append(session.name))

    async def fails(session: Session) -> None:
        raise LookupError

    async def diverges(session: Session) -> None:
        session.network.drop(where=lambda message: message.channel == "sync")
        session.agents["agent-1"].state.set("k", 1)

    for name, scenario in (("one", None), ("two", diverges), ("three", fails)):
        session = engine.create_session(name, agents=2, timeout=5)
        with contextlib.suppress(LookupError):
            engine.run(session, scenario)
    engine.create_session("four", agents=2)
    stats = engine.stats()
    assert (stats.total_sessions, stats.active_sessions) == (4, 1)
    assert (stats.converged_sessions, stats.diverged_sessions, stats.failed_sessions) == (1, 1, 1)
    assert stats.messages_lost > 0
    assert ended == ["one", "two", "three"]
    assert list(engine.sessions) == ["one", "two", "three", "four"]


def test_an_engine_runs_its_own_sessions_only():
    engine = ConvergenceEngine()
    engine.create_session("s", agents=2)
    with pytest.raises(ConvergenceUsageError, match="has a session named 's' already"):
        engine.create_session("s", agents=2)
    with pytest.raises(ConvergenceUsageError, match="a session needs a name"):
        engine.create_session("", agents=2)
    with pytest.raises(ConvergenceUsageError, match="was not created by this engine"):
        engine.run(make_session(agents=2))


def test_an_engine_executes_inside_a_loop():
    from tests.unit.sim.harness import simulate

    async def main() -> bool:
        engine = ConvergenceEngine(SessionOptions.parse({"agents": 2}))
        return (await engine.execute(engine.create_session("s"))).converged

    assert simulate(main) is True


# -- lifecycle ---------------------------------------------------------------------------------------------------------


def test_only_the_transitions_of_the_table_are_legal():
    for state in SessionState:
        for to in SessionState:
            if to in TRANSITIONS[state]:
                assert advance(state, to) is to
            else:
                with pytest.raises(InternalError, match="please report this"):
                    advance(state, to)
    assert {state for state in SessionState if state.is_final} == {
        SessionState.CONVERGED,
        SessionState.DIVERGED,
        SessionState.FAILED,
    }


# -- views and comparing -----------------------------------------------------------------------------------------------


def test_the_largest_group_agrees_with_one_another():
    assert largest_group({}) == 0
    assert largest_group({"a": {"x": 1}, "b": {"x": 1}}) == 2
    assert largest_group({"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 2}}) == 2
    assert largest_group({"a": {"x": 1}, "b": {"x": 2}, "c": {}, "d": {}}) == 3


def test_only_the_connected_can_be_split():
    views = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}}
    assert split_views(views, lambda one, other: True) == ("a", "b")
    assert split_views(views, lambda one, other: "b" not in (one, other)) is None
    assert split_views({"a": {"x": {1, 2}}, "b": {"x": {2, 1}}}, lambda one, other: True) is None


def test_equal_runs_have_no_difference():
    first, second = (
        run_session(agents=3, network="lossy", seed=1, pattern="leader-follower").trace for _ in range(2)
    )
    assert first_difference(first, second) is None


def test_the_first_difference_is_named_with_time_and_values():
    def trace(text: str, **options: Any) -> Any:
        async def scenario(session: Session) -> None:
            await session.sleep(1)
            session.agents["a"].observe("fact", text=text)
            if text == "longer":
                session.agents["a"].observe("more")

        return run_session(scenario, agents=["a"], **options).trace

    assert first_difference(trace("x"), trace("y")) == (
        "at virtual time 1 s: the first run had observe by a at 1 s: {'fact': 'fact', 'text': 'x'}, "
        "the second had observe by a at 1 s: {'fact': 'fact', 'text': 'y'}"
    )


def test_a_run_that_goes_on_differs_from_one_that_ended():
    def trace(count: int) -> Any:
        async def scenario(session: Session) -> None:
            for _ in range(count):
                session.agents["a"].pause()
                session.agents["a"].resume()

        return run_session(scenario, agents=["a"]).trace

    assert "the first run had no further event, the second had pause by a" in str(
        first_difference(trace(1), trace(2))
    )


def test_a_difference_that_has_left_the_window_is_told():
    def trace(first: int) -> Any:
        async def scenario(session: Session) -> None:
            session.agents["a"].observe("fact", number=first)
            for _ in range(12_000):
                session.agents["a"].observe("fact")
                await session.sleep(0.001)

        return run_session(scenario, agents=["a"], trace=100).trace

    assert "have left the trace's window" in str(first_difference(trace(1), trace(2)))


def test_events_are_described_by_what_they_carry():
    message = Message("a", "b", [1], "hello", number=2)
    assert describe_event(TraceEvent(0, 10**6, "send", "a", message)) == "send by a at 1 ms: a→b #2 hello [1]"
    assert describe_event(TraceEvent(0, 0, "crash", "a")) == "crash by a at 0 us"

"""Phases, iterations and handlers: how a session gets on, and who hears of it."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import Consensus, Criterion, Goal, Notice, SessionEvent
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import BudgetExceeded, ConvergenceUsageError, PropertyViolation
from tests.unit.sim.harness import make_session, run_session

# -- phases --------------------------------------------------------------------------------------------------------------


def test_phases_are_in_the_outcome_in_the_metrics_and_in_the_trace():
    async def scenario(session: Session) -> None:
        async with session.phase("draft") as phase:
            await session.sleep(2)
            assert phase.ended is None
            assert "goes on" in str(phase)
        async with session.phase("review"):
            await session.sleep(3)

    outcome = run_session(scenario, agents=2)
    assert [(phase.name, phase.began, phase.ended, phase.completed) for phase in outcome.phases] == [
        ("draft", 0.0, 2.0, True),
        ("review", 2.0, 5.0, True),
    ]
    assert outcome.metrics.phases == 2
    assert "phase 'review': completed in 3 s" in str(outcome)
    noted = [event.detail for event in outcome.trace if event.kind == "session"]
    assert noted[:2] == [
        {"event": "phase_started", "phase": "draft"},
        {"event": "phase_completed", "phase": "draft", "completed": True},
    ]


def test_phases_may_be_nested():
    async def scenario(session: Session) -> None:
        async with session.phase("outer"), session.phase("inner"):
            session.iteration()
        session.iteration()

    outcome = run_session(scenario, agents=1)
    assert [(phase.name, phase.iterations) for phase in outcome.phases] == [("outer", 1), ("inner", 1)]
    assert outcome.iterations == outcome.metrics.iterations == 2


def test_a_phase_that_is_broken_off_is_not_completed():
    async def scenario(session: Session) -> None:
        async with session.phase("draft"):
            await session.sleep(1)
            raise LookupError("no draft")

    session = make_session(agents=1)
    with pytest.raises(LookupError):
        session.run(scenario)
    (phase,) = session.outcome.phases
    assert not phase.completed
    assert str(phase) == "phase 'draft': broken off after 1 s"


def test_a_phase_may_have_a_timeout():
    async def scenario(session: Session) -> None:
        with pytest.raises(TimeoutError, match="the phase 'draft' took longer than 5 virtual seconds"):
            async with session.phase("draft", timeout=5):
                await session.sleep(10)
        async with session.phase("review", timeout=5):
            await session.sleep(1)

    outcome = run_session(scenario, agents=1)
    assert [phase.completed for phase in outcome.phases] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"), [({"name": ""}, "a phase needs a name"), ({"name": "x", "timeout": 0}, "timeout")]
)
def test_a_phase_has_a_name_and_a_time_to_last(arguments: dict[str, Any], words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        make_session(agents=1).phase(**arguments)


def test_a_phase_lasts_once():
    async def scenario(session: Session) -> None:
        scope = session.phase("draft")
        async with scope:
            pass
        with pytest.raises(ConvergenceUsageError, match="has begun already"):
            async with scope:
                pass

    assert run_session(scenario, agents=1).converged


def test_there_are_no_phases_before_the_run():
    with pytest.raises(ConvergenceUsageError, match="is not running yet"):
        make_session(agents=1).iteration()
    with pytest.raises(ConvergenceUsageError, match="is not running yet"):
        make_session(agents=1).iterations()


# -- iterations ----------------------------------------------------------------------------------------------------------


def test_iterations_end_when_the_goal_is_met():
    async def scenario(session: Session) -> list[int]:
        numbers = []
        async for number in session.iterations():
            numbers.append(number)
            session.agents["agent-1"].state.increment("done", 30)
            await session.sleep(5)
        return numbers

    done = Criterion("all done", lambda session: session.agents["agent-2"].state.get("done", 0) >= 100)
    outcome = run_session(scenario, agents=2, goal=Goal("Do it all", [done], max_iterations=10))
    assert outcome.output == [1, 2, 3, 4]
    assert outcome.iterations == 4
    assert outcome.converged


def test_iterations_end_when_they_are_used_up_and_the_outcome_says_what_is_missing():
    async def scenario(session: Session) -> int:
        numbers = []
        async for number in session.iterations():
            await session.sleep(1)
            numbers.append(number)
        return len(numbers)

    never = Criterion("perfect", lambda session: False)
    outcome = run_session(scenario, agents=2, goal=Goal("Be perfect", [never], max_iterations=3))
    assert outcome.output == 3
    assert not outcome.converged
    assert outcome.reasons == ("the goal 'Be perfect' was missed: 'perfect'",)


def test_one_iteration_more_than_the_goal_allows_fails_the_run():
    async def scenario(session: Session) -> None:
        while True:
            session.iteration()
            await session.sleep(1)

    with pytest.raises(BudgetExceeded, match="iteration 4, and its goal allows max_iterations=3") as caught:
        run_session(scenario, agents=1, goal=Goal("Be quick", max_iterations=3))
    assert caught.value.outcome.iterations == 3


def test_iterations_without_an_end_are_refused():
    async def scenario(session: Session) -> None:
        session.iterations()

    with pytest.raises(ConvergenceUsageError, match="would iterate for ever"):
        run_session(scenario, agents=1)
    with pytest.raises(ConvergenceUsageError, match="would iterate for ever"):
        run_session(scenario, agents=1, goal="Just be there")


def test_iterations_let_others_take_their_steps():
    async def worker(agent: Any) -> None:
        for _ in range(3):
            agent.state.increment("steps")
            await asyncio.sleep(0)

    async def scenario(session: Session) -> None:
        async for _ in session.iterations():
            pass

    stepped = Criterion("stepped", lambda session: session.agents["a"].state.get("steps") == 3)
    outcome = run_session(scenario, agents={"a": worker}, goal=Goal("Step", [stepped], max_iterations=50))
    assert outcome.converged
    assert outcome.iterations < 50


def test_the_rounds_of_a_pattern_are_bounded_by_the_goal():
    def rounds(pattern: Consensus, limit: int) -> int:
        session = make_session(agents=["a", "b"], pattern=pattern, goal=Goal("Agree", max_iterations=limit))
        return session.run(proposals={"a": 1, "b": 2}).metrics.rounds

    assert rounds(Consensus(), 3) == 3
    assert rounds(Consensus(max_rounds=2), 3) == 2
    assert rounds(Consensus(max_rounds=5), 1) == 1


# -- goals ---------------------------------------------------------------------------------------------------------------


def test_the_score_is_the_share_of_the_weight_that_was_met():
    criteria = [
        Criterion("done", lambda session: True, weight=3, required=False),
        Criterion("elegant", lambda session: False, weight=1, required=False),
    ]
    lenient = run_session(agents=2, goal=Goal("Do it", criteria, convergence_threshold=0.75))
    strict = run_session(agents=2, goal=Goal("Do it", criteria, convergence_threshold=0.8))
    assert lenient.score == strict.score == lenient.metrics.score == 0.75
    assert lenient.converged
    assert strict.reasons == (
        "the goal 'Do it' was missed: 75% of the weight met, 80% needed; not 'elegant'",
    )


def test_weights_that_are_no_binary_fractions_add_up():
    criteria = [Criterion(f"c{n}", lambda session, n=n: n < 3, weight=0.1, required=False) for n in range(10)]
    assert run_session(agents=1, goal=Goal("Some", criteria, convergence_threshold=0.3)).converged


def test_a_criterion_that_raises_is_named():
    def broken(session: Session) -> bool:
        raise ZeroDivisionError("no budget")

    with pytest.raises(ZeroDivisionError) as caught:
        run_session(agents=1, goal=Goal("g", [Criterion("budget kept", broken)]))
    assert caught.value.__notes__ == ["(while the criterion 'budget kept' was judged)"]


def test_a_criterion_that_returns_something_to_await_is_refused():
    async def later() -> bool:
        return False

    tasks = []

    def sly(session: Session) -> Any:
        tasks.append(later())
        return tasks[-1]

    with pytest.raises(ConvergenceUsageError, match="criterion 'sly' returned something to await"):
        run_session(agents=1, goal=Goal("g", [Criterion("sly", sly)]))
    for task in tasks:
        task.close()


# -- handlers ------------------------------------------------------------------------------------------------------------


def _heard(session: Session, *events: str) -> list[tuple[Any, ...]]:
    heard: list[tuple[Any, ...]] = []
    for event in events:
        session.on(event, lambda notice: heard.append((notice.event.value, notice.at, notice.agent)))
    return heard


async def _eventful(session: Session) -> None:
    agent = session.agents["agent-1"]
    async with session.phase("only"):
        await session.sleep(1)
        agent.crash()
        await session.sleep(1)
        agent.restart()
        agent.observe("leader", term=1)
        agent.observe("handoff_requested", id=1, reason="escalation")
        agent.observe("unheard of")
        session.iteration()


def test_handlers_hear_what_happens_when_it_happens():
    session = make_session(agents=2)
    heard = _heard(session, *[event.value for event in SessionEvent if event != "state_changed"])
    session.run(_eventful)
    assert heard == [
        ("session_started", 0.0, None),
        ("phase_started", 0.0, None),
        ("agent_crashed", 1.0, "agent-1"),
        ("agent_restarted", 2.0, "agent-1"),
        ("leader_elected", 2.0, "agent-1"),
        ("handoff_requested", 2.0, "agent-1"),
        ("iteration_started", 2.0, None),
        ("phase_completed", 2.0, None),
        ("session_converged", heard[-1][1], None),
    ]


def test_a_notice_carries_what_was_said():
    session = make_session(agents=2)
    notices: list[Notice] = []
    for event in ("handoff_requested", "iteration_started"):
        session.on(event, notices.append)
    session.run(_eventful)
    assert [dict(notice.data) for notice in notices] == [
        {"id": 1, "reason": "escalation"},
        {"iteration": 1, "phase": "only"},
    ]
    assert notices[0].session is session


def test_a_conflict_is_told_once_however_many_replicas_meet_it():
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a], [b, c]):
            a.state.set("title", "mine")
            b.state.set("title", "ours")
            await session.sleep(5)

    session = make_session(agents=3)
    told: list[tuple[str, str]] = []
    for event in ("conflict_detected", "conflict_resolved"):
        session.on(event, lambda notice: told.append((notice.event.value, notice.data["conflict"].path)))
    session.run(scenario)
    assert told == [("conflict_detected", "title"), ("conflict_resolved", "title")]


def test_every_state_of_a_session_is_told():
    session = make_session(agents=2)
    states: list[tuple[str, str]] = []
    session.on("state_changed", lambda notice: states.append((notice.data["before"], notice.data["state"])))
    session.run()
    assert states == [
        ("initializing", "coordinating"),
        ("coordinating", "executing"),
        ("executing", "synchronizing"),
        ("synchronizing", "converging"),
        ("converging", "converged"),
    ]


def test_the_handlers_of_an_engine_hear_of_all_its_sessions_those_made_before_among_them():
    engine = ConvergenceEngine()
    first = engine.create_session("first", agents=1)
    heard: list[tuple[str, str]] = []
    for event in ("session_created", "session_converged", "session_failed"):
        engine.on(event, lambda notice: heard.append((notice.session.name, notice.event.value)))
    second = engine.create_session("second", agents=1)

    async def fails(session: Session) -> None:
        raise LookupError

    engine.run(first)
    with pytest.raises(LookupError):
        engine.run(second, fails)
    assert heard == [
        ("second", "session_created"),
        ("first", "session_converged"),
        ("second", "session_failed"),
    ]


def test_the_session_s_own_handlers_come_first_and_one_can_be_taken_away():
    engine = ConvergenceEngine()
    session = engine.create_session("s", agents=1)
    heard: list[str] = []
    engine.on("session_converged", lambda notice: heard.append("engine"))
    session.on("session_converged", lambda notice: heard.append("session"))
    remove = session.on("session_converged", lambda notice: heard.append("removed"))
    remove()
    remove()
    session.run()
    assert heard == ["session", "engine"]


def test_a_handler_may_act_on_the_world():
    async def scenario(session: Session) -> bool:
        agent = session.agents["agent-1"]
        agent.crash()
        await session.sleep(1)
        return agent.is_alive

    session = make_session(agents=2)
    session.on("agent_crashed", lambda notice: session.agents[notice.agent].restart())
    assert session.run(scenario).output is True


def test_handlers_may_be_added_while_the_session_runs():
    heard: list[str] = []

    async def scenario(session: Session) -> None:
        session.on("agent_crashed", lambda notice: heard.append(notice.agent or ""))
        session.agents["agent-2"].crash()

    run_session(scenario, agents=2)
    assert heard == ["agent-2"]


@pytest.mark.parametrize("event", ["phase_started", "agent_crashed", "session_converged", "state_changed"])
def test_what_a_handler_raises_fails_the_run(event: str):
    session = make_session(agents=2)
    called: list[str] = []

    def broken(notice: Notice) -> None:
        raise LookupError("the handler is broken")

    session.on(event, broken)
    session.on(event, lambda notice: called.append(notice.event.value))
    with pytest.raises(LookupError) as caught:
        session.run(_eventful)
    assert caught.value.__notes__ == [f"(in a handler of {event!r} of session {session.name!r})"]
    assert event in called


def test_what_a_handler_raises_before_the_run_is_raised_at_once():
    engine = ConvergenceEngine()

    def broken(notice: Notice) -> None:
        raise LookupError("not today")

    engine.on("session_created", broken)
    with pytest.raises(LookupError):
        engine.create_session("s", agents=1)


def test_a_handler_of_the_end_knows_the_outcome_and_does_not_hide_what_went_wrong_before():
    session = make_session(agents=1)
    seen: list[Any] = []

    def look(notice: Notice) -> None:
        assert notice.session.outcome is not None
        seen.append(notice.session.state.value)
        raise LookupError("in the handler")

    async def violates(session: Session) -> None:
        session.never("anything", lambda session: True)
        await session.sleep(1)

    session.on("session_failed", look)
    with pytest.raises(PropertyViolation):
        session.run(violates)
    assert seen == ["failed"]


def test_a_violation_in_a_handler_of_the_end_has_the_outcome():
    session = make_session(agents=1)

    def object_to(notice: Notice) -> None:
        raise PropertyViolation("not good enough")

    session.on("session_converged", object_to)
    with pytest.raises(PropertyViolation) as caught:
        session.run()
    assert caught.value.outcome is session.outcome


async def _async_handler(notice: Notice) -> None: ...


@pytest.mark.parametrize(
    ("event", "handler", "words"),
    [
        (
            "session_convergd",
            print,
            r"unknown session event 'session_convergd': did you mean 'session_converged'\?",
        ),
        ("session_converged", "print", "must be a function of the notice, not 'print'"),
        ("session_converged", _async_handler, "is a coroutine function; a handler is a plain function"),
    ],
)
def test_wrong_handlers_are_refused(event: str, handler: Any, words: str):
    for owner in (make_session(agents=1), ConvergenceEngine()):
        with pytest.raises(ConvergenceUsageError, match=words):
            owner.on(event, handler)


def test_a_handler_that_returns_something_to_await_fails_the_run():
    async def later() -> None: ...

    made: list[Any] = []

    def sly(notice: Notice) -> Any:
        made.append(later())
        return made[-1]

    session = make_session(agents=1)
    session.on(SessionEvent.SESSION_STARTED, sly)
    with pytest.raises(ConvergenceUsageError, match="returned something to await"):
        session.run()
    made[0].close()


# -- statistics and filters ------------------------------------------------------------------------------------------------


def _busy_engine() -> ConvergenceEngine:
    engine = ConvergenceEngine()
    create = engine.create_session
    create("agrees", pattern="consensus", agents=3).run(
        proposals=dict.fromkeys(["agent-1", "agent-2", "agent-3"], 1)
    )
    create("parts", pattern=Consensus(max_rounds=2), agents=["a", "b"]).run(proposals={"a": 1, "b": 2})
    create("plain", agents=2, goal=Goal("g", ["one leader"])).run(_eventful)
    create("waits", agents=2)
    return engine


def test_sessions_are_chosen_by_state_pattern_and_outcome():
    sessions = _busy_engine().sessions

    def names(**wanted: Any) -> list[str]:
        return list(sessions(**wanted))

    assert names() == ["agrees", "parts", "plain", "waits"] == list(sessions)
    assert names(state="diverged") == ["parts", "plain"]
    assert names(state=sessions["waits"].state) == ["waits"]
    assert names(pattern="consensus") == ["agrees", "parts"]
    assert names(pattern="none") == ["plain", "waits"]
    assert names(converged=True) == ["agrees"]
    assert names(converged=False) == ["parts", "plain"]
    assert names(converged=False, pattern="consensus") == ["parts"]
    assert names(where=lambda session: len(session.agents) == 3) == ["agrees"]
    assert list(sessions(pattern="consensus")(converged=True)) == ["agrees"]
    assert repr(sessions(state="initializing")) == "<Sessions 'waits'>"
    assert repr(sessions(state="failed")) == "<Sessions none>"
    assert len(sessions) == 4
    with pytest.raises(
        ConvergenceUsageError, match=r"unknown session state 'convergd': did you mean 'converged'\?"
    ):
        sessions(state="convergd")


def test_statistics_tell_what_the_sessions_came_to():
    stats = _busy_engine().stats()
    assert stats.by_state == {"converged": 1, "diverged": 2, "initializing": 1}
    assert stats.by_pattern == {"consensus": 2, "none": 2}
    assert (stats.total_sessions, stats.active_sessions) == (4, 1)
    assert stats.convergence_rate == pytest.approx(1 / 3)
    assert stats.mean_seconds_to_converge == stats.longest_seconds_to_converge > 0
    assert stats.mean_score == pytest.approx(1 / 3)
    assert 0 < stats.mean_agreement <= 1
    assert (stats.phases, stats.iterations, stats.crashes, stats.elections) == (1, 1, 1, 1)
    assert (stats.handoffs_requested, stats.handoffs_completed, stats.handoffs_pending) == (1, 0, 1)
    assert stats.messages_received == stats.messages_sent > 0
    assert stats.rounds == 3


def test_an_engine_without_sessions_has_statistics_too():
    stats = ConvergenceEngine().stats()
    assert stats.total_sessions == 0
    assert stats.convergence_rate == stats.mean_score == stats.mean_seconds_to_converge == 0.0

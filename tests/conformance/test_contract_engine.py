"""Section 6 of the usage contract in words: the engine, goals and criteria."""

import pytest

from pytest_convergence import Consensus, ConvergenceUsageError, Criterion, DeadlockError, Goal


def test_stats_count_how_sessions_came_out(convergence_engine):
    async def stuck(agent):
        await agent.receive()

    create = convergence_engine.create_session
    create("agree", pattern="consensus", agents=["a", "b"]).run(proposals={"a": 1, "b": 1})
    create("part", pattern=Consensus(max_rounds=1), agents=["a", "b"]).run(proposals={"a": 1, "b": 2})
    with pytest.raises(DeadlockError):
        create("stuck", agents={"a": stuck}).run()
    create("waiting", agents=2)
    stats = convergence_engine.stats()
    assert (stats.total_sessions, stats.active_sessions) == (4, 1)
    assert (stats.converged_sessions, stats.diverged_sessions, stats.failed_sessions) == (1, 1, 1)
    assert stats.messages_sent > 0
    assert list(convergence_engine.sessions) == ["agree", "part", "stuck", "waiting"]


def test_a_goal_has_the_fields_of_the_contract():
    goal = Goal("Agree", success_criteria=["all agents agree"])
    assert goal.description == "Agree"
    assert goal.timeout is None
    assert goal.max_iterations is None
    assert goal.convergence_threshold == 1.0


def test_a_goal_may_be_given_by_its_description(convergence_engine):
    session = convergence_engine.create_session("described", agents=2, goal="Just be there")
    assert session.goal == Goal("Just be there")
    assert session.run().converged


def test_a_goal_that_is_missed_makes_the_outcome_diverge_and_says_which_criterion(convergence_engine):
    goal = Goal(
        "Be perfect", success_criteria=["all agents agree", Criterion("perfect", lambda session: False)]
    )
    outcome = convergence_engine.create_session("missed", agents=2, goal=goal).run()
    assert not outcome.converged
    assert [(result.name, result.met) for result in outcome.criteria] == [
        ("all agents agree", True),
        ("perfect", False),
    ]
    assert outcome.reasons == ("the goal 'Be perfect' was missed: 'perfect'",)


def test_a_criterion_that_is_not_required_counts_by_its_weight(convergence_engine):
    def outcome(name, threshold):
        criteria = [
            Criterion("done", lambda session: True, weight=3.0),
            Criterion("elegant", lambda session: False, weight=1.0, required=False),
        ]
        goal = Goal("Get it done", success_criteria=criteria, convergence_threshold=threshold)
        return convergence_engine.create_session(name, agents=2, goal=goal).run()

    assert outcome("lenient", 0.75).converged
    assert not outcome("strict", 0.8).converged


@pytest.mark.parametrize(
    ("name", "met"),
    [
        ("all agents agree", True),
        ("no unresolved conflicts", True),
        ("no conflicts", True),
        ("all agents alive", False),
        ("no messages lost", True),
        ("one leader", False),
    ],
)
def test_registered_criteria_are_evaluated(convergence_engine, name, met):
    async def scenario(session):
        session.agents["c"].crash()

    session = convergence_engine.create_session("judged", agents=["a", "b", "c"], goal=Goal("x", [name]))
    assert [result.met for result in session.run(scenario).criteria] == [met]


def test_the_timeout_of_a_goal_bounds_the_session(convergence_engine):
    async def scenario(session):
        await session.sleep(100)

    goal = Goal("Be quick", timeout=10)
    session = convergence_engine.create_session("slow", agents=2, goal=goal)
    with pytest.raises(Exception, match="timeout=10"):
        session.run(scenario)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"success_criteria": "all agents agree"}, "success_criteria must be a list"),
        ({"timeout": 0}, "timeout must be greater than 0"),
        ({"max_iterations": 0}, "max_iterations must be a whole number >= 1"),
        ({"convergence_threshold": 1.5}, "convergence_threshold must be from 0 to 1"),
    ],
)
def test_a_goal_out_of_range_is_refused(options, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        Goal("bad", **options)


def test_a_criterion_needs_a_function_and_a_positive_weight():
    with pytest.raises(ConvergenceUsageError, match="must be a function of the session"):
        Criterion("bad", "not a function")  # type: ignore[arg-type]
    with pytest.raises(ConvergenceUsageError, match="must be > 0"):
        Criterion("bad", lambda session: True, weight=0)


def test_an_outcome_explains_itself_when_it_is_printed(convergence_engine):
    session = convergence_engine.create_session("budget", pattern="consensus", agents=["a", "b"])
    printed = str(session.run(proposals={"a": "A", "b": "B"}))
    assert "budget: diverged after" in printed
    assert "because" in printed
    assert "messages:" in printed


def test_an_outcome_that_an_assertion_shows_says_why_it_is_what_it_is(convergence_engine):
    session = convergence_engine.create_session("tie", pattern=Consensus(max_rounds=2), agents=["a", "b"])
    shown = repr(session.run(proposals={"a": "A", "b": "B"}))
    assert shown == (
        "<Outcome tie: diverged, calm, because the consensus pattern came to no result in 2 rounds: "
        "a voted for 'A'; b voted for 'B'; a quorum is 2 of 2>"
    )

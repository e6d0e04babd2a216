"""Conflicts in a run: arbitration and voting by messages, escalation, and handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_convergence import (
    DELETED,
    AgentError,
    ByArbitration,
    ByVote,
    Conflict,
    ConvergenceEngine,
    ConvergenceUsageError,
    Goal,
    Outcome,
    Resolution,
    Resolve,
    Session,
    SimulatedAgent,
)

Then = Callable[[Session], Awaitable[None]]


def session_of(resolve: Any, agents: Any = ("a", "b", "c"), **options: Any) -> Session:
    return ConvergenceEngine().create_session("session", agents=list(agents), resolve=resolve, **options)


async def rivals(session: Session, seconds: float = 1.0) -> None:
    """a and b write to one path while they cannot talk; b writes later."""
    agents = session.agents
    with session.network.partition([agents["a"]]):
        agents["a"].state.set("x", "from a")
        await session.sleep(0.1)
        agents["b"].state.set("x", "from b")
        await session.sleep(seconds)


def conflicting(resolve: Any, then: Then | None = None, **options: Any) -> tuple[Session, Outcome]:
    session = session_of(resolve, **options)

    async def scenario(running: Session) -> None:
        await rivals(running)
        if then is not None:
            await then(running)

    return session, session.run(scenario)


def read(session: Session) -> list[Any]:
    return [agent.state.get("x") for agent in session.agents.values() if agent.is_alive]


def kinds(outcome: Outcome) -> list[str]:
    return [message.type for message in outcome.trace.messages if message.channel == "conflict"]


# -- arbitration ---------------------------------------------------------------------------------------------------------


def test_an_arbiter_decides_for_all_and_is_asked_by_message() -> None:
    session, outcome = conflicting(ByArbitration(arbiter="c", decide=lambda conflict: conflict.values["a"]))
    assert outcome.converged
    assert read(session) == ["from a"] * 3
    (conflict,) = outcome.conflicts
    assert conflict.resolution == Resolution("arbitration", "from a", "a")
    assert conflict.values == {"a": "from a", "b": "from b"}
    assert set(kinds(outcome)) == {"conflict_detected", "conflict_resolved"}


def test_without_a_function_the_first_agent_keeps_the_last_write() -> None:
    session, outcome = conflicting("arbitration")
    assert read(session) == ["from b"] * 3
    assert outcome.conflicts[0].winner == "b"
    verdicts = [
        event for event in outcome.trace if event.kind == "observe" and event.detail["fact"] == "verdict"
    ]
    assert [event.agent for event in verdicts] == ["a"]


def test_an_arbiter_may_think_for_long_ask_its_agent_and_answer_with_anything() -> None:
    asked: list[str] = []

    async def decide(agent: SimulatedAgent, conflict: Conflict) -> Any:
        asked.append(agent.name)
        await asyncio.sleep(40)
        return Resolution("whatever", f"{agent.name} says", None)

    session, outcome = conflicting(ByArbitration(arbiter="b", decide=decide))
    assert outcome.converged
    assert asked == ["b"]
    assert read(session) == ["b says"] * 3
    assert outcome.conflicts[0].resolution == Resolution("arbitration", "b says")


def test_an_arbiter_may_delete() -> None:
    session, outcome = conflicting(ByArbitration(decide=lambda conflict: DELETED))
    assert outcome.converged
    assert read(session) == [None] * 3


def test_while_the_arbiter_is_down_the_conflict_is_pending_and_nobody_guesses() -> None:
    async def crash(session: Session) -> None:
        session.agents["c"].crash()
        await rivals(session)

    session = session_of(
        ByArbitration(arbiter="c"), goal=Goal("agree", success_criteria=["no unresolved conflicts"])
    )
    outcome = session.run(crash)
    assert not outcome.converged
    (conflict,) = outcome.conflicts
    assert conflict.resolution is None
    assert conflict.status == "pending"
    assert str(conflict) == "x: a wrote 'from a', b wrote 'from b'; pending, waits for arbitration by 'c'"
    assert not outcome.criteria[0].met
    assert outcome.agreement == 1.0
    assert read(session) == ["from b"] * 2, "the last write is read meanwhile"
    assert outcome.metrics.unresolved == 1


def test_an_arbiter_that_comes_back_is_asked_again() -> None:
    async def scenario(session: Session) -> None:
        session.agents["c"].crash()
        await rivals(session)
        await session.sleep(100)
        assert session.conflicts[0].status == "pending"
        session.agents["c"].restart()

    session = session_of(ByArbitration(arbiter="c", decide=lambda conflict: "decided"))
    outcome = session.run(scenario)
    assert outcome.converged
    assert outcome.conflicts[0].resolution is not None
    assert read(session) == ["decided"] * 3


def test_a_verdict_survives_the_crash_of_the_arbiter() -> None:
    asked: list[str] = []

    def decide(conflict: Conflict) -> str:
        asked.append(conflict.id)
        return f"verdict {len(asked)}"

    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a], [b, c]):
            a.state.set("x", 1)
            b.state.set("x", 2)
            await session.sleep(1)
        with session.network.partition([b], [a, c]):  # b does not hear the verdict
            await session.sleep(5)
            assert asked
            c.crash()
            c.restart()
            await session.sleep(5)

    session = session_of(ByArbitration(arbiter="c", decide=decide))
    outcome = session.run(scenario)
    assert outcome.converged
    assert read(session) == ["verdict 1"] * 3
    assert len(asked) == 1


def test_who_knows_a_verdict_passes_it_on_when_the_arbiter_is_gone() -> None:
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a], [b, c]):
            a.state.set("x", 1)
            b.state.set("x", 2)
            await session.sleep(1)
        with session.network.partition([b], [a, c]):
            await session.sleep(5)
            assert session.conflicts[0].resolution is not None
            c.crash()

    session = session_of(ByArbitration(arbiter="c", decide=lambda conflict: "decided"))
    outcome = session.run(scenario)
    assert outcome.converged, str(outcome)
    assert read(session) == ["decided"] * 2


def test_an_asker_that_crashes_knows_the_verdict_in_its_next_life() -> None:
    async def again(session: Session) -> None:
        await session.sleep(5)
        session.agents["b"].crash()
        session.agents["c"].crash()
        session.agents["b"].restart()

    session, outcome = conflicting(ByArbitration(arbiter="c", decide=lambda conflict: "decided"), again)
    assert outcome.converged
    assert read(session) == ["decided"] * 2


def test_an_arbiter_that_raises_fails_the_run_with_its_name() -> None:
    def decide(conflict: Conflict) -> None:
        raise LookupError("no such rule")

    with pytest.raises(AgentError, match="agent 'c' raised LookupError: no such rule"):
        conflicting(ByArbitration(arbiter="c", decide=decide))


def test_no_verdict_leaves_the_conflict_unresolved() -> None:
    session, outcome = conflicting(ByArbitration(decide=lambda conflict: None))
    assert outcome.conflicts[0].status == "unresolved"
    assert read(session) == ["from b"] * 3


def test_a_conflict_that_grows_is_decided_anew() -> None:
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a, b], [c]):
            with session.network.partition([a], [b]):
                a.state.set("x", 1)
                b.state.set("x", 2)
                await session.sleep(1)
            await session.sleep(5)
            assert session.conflicts[0].resolution is not None
            c.state.set("x", 3)
            await session.sleep(1)

    session = session_of(ByArbitration(decide=lambda conflict: sum(conflict.values.values())))
    outcome = session.run(scenario)
    assert outcome.converged
    assert [conflict.agents for conflict in outcome.conflicts] == [("a", "b", "c")]
    assert read(session) == [6] * 3


# -- voting --------------------------------------------------------------------------------------------------------------


def test_agents_vote_by_messages_and_the_majority_wins() -> None:
    ballots = {"a": "a", "b": "b", "c": "a", "d": "a", "e": None}
    resolve = ByVote(vote=lambda agent, conflict: ballots[agent.name])
    session, outcome = conflicting(resolve, agents="abcde")
    assert outcome.converged
    assert read(session) == ["from a"] * 5
    assert outcome.conflicts[0].resolution == Resolution("voting", "from a", "a")
    assert {"vote_request", "vote_response"} < set(kinds(outcome))


def test_authors_vote_for_themselves_and_others_for_the_last_write() -> None:
    session, outcome = conflicting("voting")
    assert read(session) == ["from b"] * 3
    (verdict,) = [
        event.detail
        for event in outcome.trace
        if event.kind == "observe" and event.detail["fact"] == "verdict"
    ]
    assert verdict["votes"] == {"a": "a", "b": "b", "c": "b"}


def test_votes_weigh_what_was_declared() -> None:
    session, _ = conflicting(ByVote(weights={"a": 3}))
    assert read(session) == ["from a"] * 3


def test_no_votes_elect_nobody() -> None:
    session, outcome = conflicting(ByVote(vote=lambda conflict: None))
    assert outcome.conflicts[0].status == "unresolved"
    assert outcome.conflicts[0].winner is None
    assert read(session) == ["from b"] * 3


def test_a_tie_is_unresolved_unless_a_rule_breaks_it() -> None:
    _, outcome = conflicting(ByVote(voters=["a", "b"]))
    assert outcome.conflicts[0].status == "unresolved"
    session, outcome = conflicting(ByVote(voters=["a", "b"], tie="first-come"))
    assert read(session) == ["from a"] * 3
    assert outcome.conflicts[0].winner == "a"


def _with_two_down(resolve: Any) -> tuple[Session, Outcome]:
    async def scenario(session: Session) -> None:
        for name in ("d", "e"):
            session.agents[name].crash()
        await rivals(session)

    session = session_of(resolve, agents="abcde")
    return session, session.run(scenario)


def test_the_deadline_closes_a_vote_that_has_a_quorum() -> None:
    session, outcome = _with_two_down(ByVote(vote=lambda agent, conflict: "a" if agent.name == "c" else None))
    assert outcome.converged
    assert read(session) == ["from a"] * 3


def test_without_a_quorum_a_vote_is_repeated_and_then_unresolved() -> None:
    _, outcome = _with_two_down(ByVote(quorum=0.8, rounds=3, deadline=2))
    assert outcome.conflicts[0].status == "unresolved"
    rounds = [
        event for event in outcome.trace if event.kind == "observe" and event.detail["fact"] == "poll_again"
    ]
    assert len(rounds) == 2


def test_a_teller_that_crashes_asks_again_and_counts_the_same_votes() -> None:
    cast: list[str] = []

    async def vote(agent: SimulatedAgent, conflict: Conflict) -> str:
        cast.append(agent.name)
        await asyncio.sleep(2)
        return conflict.agents[len(cast) % 2]

    async def crash(session: Session) -> None:
        await session.sleep(2.5)
        session.agents["c"].crash()
        session.agents["c"].restart()

    _, outcome = conflicting(ByVote(vote=vote, teller="c", deadline=20, tie="last-write"), crash)
    assert outcome.converged
    assert outcome.conflicts[0].resolution is not None
    assert sorted(cast) in (["a", "b", "c"], ["a", "b", "c", "c"])


@pytest.mark.parametrize(("vote", "message"), [("z", "'z'"), (7, "is 7; return the name")])
def test_a_vote_for_nobody_who_stands_fails_the_run(vote: Any, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        conflicting(ByVote(vote=lambda conflict: vote))


# -- escalation ----------------------------------------------------------------------------------------------------------


def test_an_unresolved_vote_goes_to_the_arbiter() -> None:
    arbiter = ByArbitration(arbiter="c", decide=lambda conflict: "decided")
    session, outcome = conflicting(Resolve(ByVote(vote=lambda conflict: None), escalate_to=arbiter))
    assert outcome.converged
    assert read(session) == ["decided"] * 3
    assert outcome.conflicts[0].resolution == Resolution("arbitration", "decided", None, ("voting",))


def test_an_arbiter_that_is_down_for_long_is_replaced_by_the_next_strategy() -> None:
    async def scenario(session: Session) -> None:
        session.agents["c"].crash()
        await rivals(session)

    session = session_of(Resolve(ByArbitration(arbiter="c", attempts=2), escalate_to="first-come"))
    outcome = session.run(scenario)
    assert outcome.converged
    assert read(session) == ["from a"] * 2
    (conflict,) = outcome.conflicts
    assert conflict.resolution == Resolution("first-come", "from a", "a", ("arbitration",))
    assert conflict.waits_for == "arbitration by 'c'", "its verdict would still count"


def test_the_verdict_counts_when_the_arbiter_comes_back_after_all() -> None:
    async def scenario(session: Session) -> None:
        session.agents["c"].crash()
        await rivals(session)
        await session.sleep(60)
        assert session.agents["a"].state.get("x") == "from a"
        session.agents["c"].restart()

    arbiter = ByArbitration(arbiter="c", attempts=2, decide=lambda conflict: "decided")
    session = session_of(Resolve(arbiter, escalate_to="first-come"))
    outcome = session.run(scenario)
    assert outcome.converged
    assert read(session) == ["decided"] * 3
    assert outcome.conflicts[0].resolution == Resolution("arbitration", "decided")


def test_each_type_of_conflict_has_its_own_judge() -> None:
    resolve = {
        "task overlap": ByArbitration(arbiter="b", decide=lambda conflict: "by b"),
        "default": ByArbitration(arbiter="c", decide=lambda conflict: "by c"),
    }

    async def scenario(session: Session) -> None:
        a, b, _ = session.agents.values()
        with session.network.partition([a], [b]):
            for path in ("task.owner", "title"):
                a.state.set(path, 1)
                b.state.set(path, 2)
            await session.sleep(1)

    session = session_of(resolve)
    outcome = session.run(scenario)
    assert outcome.converged
    assert session.agents["a"].state.as_dict() == {"task": {"owner": "by b"}, "title": "by c"}


# -- handlers ------------------------------------------------------------------------------------------------------------


def test_a_handler_hears_of_each_conflict_once_and_of_its_end() -> None:
    heard: list[tuple[str, str]] = []
    session = session_of(ByArbitration(arbiter="c"))
    session.on_conflict(lambda conflict: heard.append((conflict.path, conflict.status)))
    session.run(rivals)
    assert heard == [("x", "pending"), ("x", "resolved")]


def test_a_handler_may_be_async_and_cannot_change_the_conflict() -> None:
    seen: list[float] = []

    async def handler(conflict: Conflict) -> None:
        conflict.values["a"] = "changed"  # type: ignore[index]  # on purpose
        await asyncio.sleep(0.5)
        seen.append(session.now)

    session = session_of("last-write")
    session.on_conflict(handler)
    outcome = session.run(rivals)
    assert len(seen) == 1
    assert outcome.conflicts[0].values["a"] == "from a"


def test_an_error_of_a_handler_fails_the_test() -> None:
    def broken(conflict: Conflict) -> None:
        raise ZeroDivisionError("in the handler")

    async def broken_later(conflict: Conflict) -> None:
        await asyncio.sleep(0.1)
        raise ZeroDivisionError("in the handler")

    for handler in (broken, broken_later):
        session = session_of("last-write")
        session.on_conflict(handler)
        with pytest.raises(ZeroDivisionError, match="in the handler"):
            session.run(rivals)


def test_a_handler_must_be_a_function() -> None:
    with pytest.raises(ConvergenceUsageError, match="a function of the conflict"):
        session_of("last-write").on_conflict("handler")  # type: ignore[arg-type]


def test_a_judge_that_is_no_agent_is_refused_when_the_session_is_made() -> None:
    with pytest.raises(ConvergenceUsageError, match="did you mean 'judge'"):
        session_of(ByArbitration(arbiter="jugde"), agents=["judge", "a"])


def test_sessions_whose_conflicts_need_nobody_send_nothing_about_them() -> None:
    for resolve in ("last-write", "first-come", "priority", "merge", "rollback"):
        _, outcome = conflicting(resolve)
        assert outcome.converged
        assert len(outcome.conflicts) == 1
        assert not kinds(outcome)

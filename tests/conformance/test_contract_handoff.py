"""Section 5 of the usage contract: handing a task off, to a named agent or to whoever can do it."""

from __future__ import annotations

import asyncio

import pytest

from pytest_convergence import (
    ConvergenceUsageError,
    FencingToken,
    HandoffReason,
    HandoffState,
    PropertyViolation,
    StaleTokenError,
)


@pytest.mark.convergence(agents=["author", "reviewer"])
def test_a_task_is_handed_off_as_the_contract_has_it(convergence_session):
    async def scenario(session):
        agent, task = session.agents["author"], {"chapter": 3}
        return await agent.hand_off(task, to="reviewer")

    result = convergence_session.run(scenario).output
    assert result
    assert result.outcome is HandoffState.TRANSFERRED
    assert result.owner == "reviewer"
    assert result.reason is HandoffReason.DELEGATION


@pytest.mark.convergence(agents=["author", "reviewer", "typist"])
def test_a_task_is_handed_off_by_capability_and_reason_as_the_contract_has_it(convergence_session):
    async def scenario(session):
        session.agents["reviewer"].offers({"review"})
        session.agents["typist"].offers({"type"})
        agent, task = session.agents["author"], "chapter 3"
        return await agent.hand_off(task, capabilities={"review"}, reason=HandoffReason.ESCALATION)

    result = convergence_session.run(scenario).output
    assert (result.owner, result.reason) == ("reviewer", HandoffReason.ESCALATION)


async def author(agent):
    state = {"draft": "Once upon a time"}
    result = await agent.hand_off({"chapter": 3}, to="reviewer", state=state, timeout=120, id="chapter 3")
    return await result.finished()


async def reviewer(agent):
    agent.offers({"review"}, capacity=2)

    @agent.on_handoff
    async def review(handoff):
        await asyncio.sleep(5)
        return f"{handoff.state['draft']}: fine"


@pytest.mark.convergence(agents={"author": author, "reviewer": reviewer})
def test_the_result_of_the_work_comes_back(convergence_session):
    outcome = convergence_session.run()
    assert outcome.results["author"] == "Once upon a time: fine"
    assert outcome.metrics.handoffs == 1
    assert outcome.duration >= 5


async def taker(agent):
    done = []
    async for handoff in agent.handoffs:
        done.append(handoff.task)
        handoff.complete(len(done))
        if handoff.task == "last":
            return done


async def giver(agent):
    for task, priority in (("low", 0), ("high", 5), ("middle", 1)):
        await agent.hand_off(task, to="taker", priority=priority)
    agent.session.agents["taker"].resume()
    await asyncio.sleep(10)
    await agent.hand_off("last", to="taker")


@pytest.mark.convergence(agents={"giver": giver, "taker": taker})
def test_works_are_taken_from_a_queue_the_most_urgent_first(convergence_session):
    outcome = convergence_session.run()
    assert sorted(outcome.results["taker"]) == ["high", "last", "low", "middle"]


@pytest.mark.convergence(
    agents={"author": author, "reviewer": reviewer, "other": reviewer},
    network="flaky",
    faults=["crash", "partition"],
    schedules=15,
)
def test_hand_offs_keep_their_promises_under_faults(convergence_session):
    outcome = convergence_session.run()
    assert outcome.converged
    assert outcome.violations == ()
    assert outcome.results["author"] == "Once upon a time: fine"


@pytest.mark.convergence(agents=["a", "b", "c", "d"])
def test_another_agent_takes_over_when_the_owner_has_failed(convergence_session):
    async def scenario(session):
        a, b, c, d = session.agents.values()
        for agent in (b, c, d):
            agent.offers({"work"})
        handed = await a.hand_off("task", capabilities={"work"})
        session.agents[handed.owner].crash()
        await session.sleep(60)
        stats = session.handoffs.stats()
        assert stats.by_reason["failure-recovery"]["transferred"] == 1
        assert stats.by_reason["capability"]["transferred"] == 1
        return handed.owner

    outcome = convergence_session.run(scenario)
    assert outcome.converged
    assert outcome.output == "b"


@pytest.mark.convergence(agents=["a", "b"])
def test_a_resource_refuses_the_token_of_a_former_owner(convergence_session):
    async def scenario(session):
        store = session.resource("store")
        store.apply("by the second", token=FencingToken(0, 2, "w"))
        with pytest.raises(StaleTokenError, match=r"0\.1"):
            store.apply("by the first", token=FencingToken(0, 1, "w"))
        assert store.values == ["by the second"]

    assert convergence_session.run(scenario).converged


async def unfenced(agent):
    agent.observe("access", resource="store", task="w", token=2)
    agent.observe("access", resource="store", task="w", token=1)


@pytest.mark.convergence(agents={"a": unfenced}, properties=["no_stale_effect"])
def test_own_agents_are_judged_by_what_they_observe(convergence_session):
    with pytest.raises(PropertyViolation, match="no_stale_effect"):
        convergence_session.run()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "who is to take the task"),
        ({"to": "reviewr"}, "did you mean 'reviewer'"),
        ({"to": "author"}, "to itself"),
        ({"to": "reviewer", "reason": "escalate"}, "did you mean 'escalation'"),
        ({"capabilities": "review"}, "set of names"),
        ({"capabilities": {""}}, "non-empty string"),
        ({"to": "reviewer", "timeout": 0}, "timeout must be greater than 0"),
        ({"to": "reviewer", "max_hops": 0}, "max_hops must be a whole number >= 1"),
        ({"to": "reviewer", "priority": "high"}, "priority must be a whole number"),
        ({"to": "reviewer", "id": ""}, "non-empty string"),
        ({"to": "reviewer", "state": object()}, "not plain data"),
    ],
)
@pytest.mark.convergence(agents=["author", "reviewer"])
def test_wrong_arguments_are_refused_in_words(convergence_session, options, said):
    async def scenario(session):
        with pytest.raises(ConvergenceUsageError, match=said):
            await session.agents["author"].hand_off("task", **options)

    convergence_session.run(scenario)

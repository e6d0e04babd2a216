"""The examples of the usage contract, section by section, as a user would write them.

Each stands here as the contract has it; imports are filled in at the top, and names that an example leaves open just before
it. What the contract says in words around its examples is tested in the modules beside this one.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence import (
    Criterion,
    Goal,
    HandoffReason,
    Message,
    Stage,
    VectorClock,
    assert_merge_laws,
)
from pytest_convergence import strategies as cst

# -- 1. fixtures and marker -------------------------------------------------------------------------------------------


@pytest.mark.convergence(
    pattern="consensus",
    agents=3,
    network="lossy",
    faults=["crash", "partition"],
    schedules=5,
    explore="random",
    sync="delta",
    resolve="last-write",
    seed=7,
    timeout=60,
)
def test_the_marker_takes_every_option_of_the_contract(convergence_session):
    proposals = dict.fromkeys(convergence_session.agents, "A")
    assert convergence_session.run(proposals=proposals).output == "A"


# -- 2. a pattern with its reference agents ----------------------------------------------------------------------------


@pytest.mark.convergence(pattern="consensus", agents=["planner", "coder", "reviewer"])
def test_agents_agree_on_a_plan(convergence_session):
    outcome = convergence_session.run(proposals={"planner": "A", "coder": "A", "reviewer": "B"})
    assert outcome.converged
    assert outcome.output == "A"


@pytest.mark.convergence(pattern="leader-follower", agents=3)
def test_a_leader_does_a_task_with_its_followers(convergence_session):
    async def async_fn(leader, followers):
        return leader.name, sorted(follower.name for follower in followers)

    outcome = convergence_session.run(task=async_fn)
    leader, followers = outcome.output
    assert outcome.converged
    assert sorted([leader, *followers]) == ["agent-1", "agent-2", "agent-3"]


@pytest.mark.convergence(agents=["a", "b", "c"], pattern="pipeline")
def test_a_pipeline_runs_as_written(convergence_session):
    async def parse(agent, item):
        return int(item)

    stages = [Stage("parse", "a", parse), Stage("double", "b", lambda item: 2 * item)]
    assert convergence_session.run(stages=stages, items=["1", "2"]).output == [2, 4]


@pytest.mark.convergence(agents=["a", "b", "c"], pattern="parallel-merge")
def test_a_parallel_merge_runs_as_written(convergence_session):
    outcome = convergence_session.run(
        tasks={"a": 1, "b": 2},
        work=lambda agent, task: task * 10,
        merge=lambda results: sum(results.values()),
    )
    assert outcome.output == 30


@pytest.mark.convergence(agents=["a", "b", "c"], pattern="competitive")
def test_a_competition_runs_as_written(convergence_session):
    outcome = convergence_session.run(
        task="T",
        compete=lambda agent, task: f"{task} by {agent.name}",
        score=lambda result, agent: {"a": 1, "b": 3, "c": 2}[agent.name],
    )
    assert (outcome.output.winner, outcome.output.result) == ("b", "T by b")


@pytest.mark.convergence(agents=["parent", "b", "c"], pattern="hierarchical")
def test_a_hierarchy_runs_as_written(convergence_session):
    outcome = convergence_session.run(
        tree={"parent": ["b", "c"]}, task=[3, 4], split=list, work=lambda part: part * part, combine=sum
    )
    assert outcome.output == 25


@pytest.mark.convergence(agents=["a", "b"], pattern="reactive")
def test_reactions_run_as_written(convergence_session):
    outcome = convergence_session.run(
        handlers={"topic": {"b": lambda payload: payload + 1}}, events=[("topic", 1), ("topic", 2)]
    )
    assert outcome.output == {"topic": {"b": [2, 3]}}


# -- 3. your own agents ------------------------------------------------------------------------------------------------


async def server(agent):
    async for message in agent.inbox:
        await agent.reply(message, message.payload.upper())


async def client(agent):
    await asyncio.sleep(30)  # virtual: takes no time
    return await agent.request("server", "hello", timeout=5)


@pytest.mark.convergence(agents={"server": server, "client": client})
def test_request_and_reply(convergence_session):
    outcome = convergence_session.run()
    assert outcome.results["client"] == "HELLO"
    assert outcome.duration >= 30  # virtual seconds


# -- 4. a scenario that drives the world -------------------------------------------------------------------------------


@pytest.mark.convergence(pattern="leader-follower", agents=5)
def test_a_new_leader_after_a_partition(convergence_session):
    async def scenario(session):
        first = await session.wait_for_leader()
        with session.network.partition([first]):  # the rest are the other side
            second = await session.wait_for_leader(other_than=first, timeout=30)
        assert second.name != first.name

    outcome = convergence_session.run(scenario)
    assert outcome.converged  # the old leader has stepped down and follows


@pytest.mark.convergence(pattern="leader-follower", agents=5)
async def test_a_new_leader_after_a_partition_in_an_async_test(convergence_session):
    async def scenario(session):
        first = await session.wait_for_leader()
        with session.network.partition([first]):
            second = await session.wait_for_leader(other_than=first, timeout=30)
        assert second.name != first.name

    outcome = await convergence_session.execute(scenario)
    assert outcome.converged


# -- 5. state, conflicts -----------------------------------------------------------------------------------------------


@pytest.mark.convergence(agents=["a", "b", "c"], sync="delta", resolve="last-write")
def test_replicas_meet_after_a_partition(convergence_session):
    async def scenario(session):
        a, b, c = session.agents.values()
        with session.network.partition([a], [b, c]):
            a.state.set("plan.title", "from a")
            b.state.set("plan.title", "from b")
            await session.sleep(5)

    outcome = convergence_session.run(scenario)
    assert outcome.converged
    assert [c.path for c in outcome.conflicts] == ["plan.title"]
    assert outcome.conflicts[0].resolution is not None


@pytest.mark.convergence(agents=["a", "b"])
def test_everything_that_a_replica_offers(convergence_session):
    async def scenario(session):
        state = session.agents["a"].state
        state.set("plan.title", "one")
        before = state.version
        assert state.get("plan.title") == "one"
        assert state.increment("count") == 1
        state.append("log", "entry")
        state.merge({"plan": {"size": 2}})
        assert state.as_dict() == {"plan": {"title": "one", "size": 2}, "count": 1, "log": ["entry"]}
        state.delete("log")
        assert isinstance(state.clock, VectorClock)
        assert len(state.checksum) == 64
        assert len(state.history) == state.version == 5
        state.rollback(before)
        assert state.as_dict() == {"plan": {"title": "one"}}

    assert convergence_session.run(scenario).converged


def test_a_vector_clock_is_a_value():
    a, b = VectorClock().tick("a"), VectorClock().tick("b")
    assert a < (a | b)
    assert a.concurrent_with(b)
    assert len({a, VectorClock({"a": 1})}) == 1


async def giver(agent):
    task = "a text"
    result = await agent.hand_off(task, to="reviewer")
    other = await agent.hand_off(task, capabilities={"review"}, reason=HandoffReason.ESCALATION)
    return result.owner, other.owner


async def reviewer(agent):
    agent.offers({"review"})
    async for handoff in agent.handoffs:
        handoff.complete(f"reviewed {handoff.task}")


@pytest.mark.convergence(agents={"giver": giver, "reviewer": reviewer})
def test_a_task_is_handed_off(convergence_session):
    assert convergence_session.run().results["giver"] == ("reviewer", "reviewer")


# -- 6. the engine, as the original system has it ----------------------------------------------------------------------


def test_coordination(convergence_engine):
    session = convergence_engine.create_session(
        "test-session",
        agents=["agent-1", "agent-2", "agent-3"],
        goal=Goal("Test coordination", success_criteria=["all agents agree"]),
    )

    async def work(session):
        for agent in session.agents.values():
            agent.state.set("status", "done")
        return {"status": "simulated"}

    outcome = convergence_engine.run(session, work)
    assert outcome.converged
    assert outcome.output == {"status": "simulated"}
    assert convergence_engine.stats().converged_sessions == 1


def test_a_criterion_of_my_own(convergence_engine):
    session = convergence_engine.create_session(
        "budget",
        agents=2,
        goal=Goal(
            "Stay cheap",
            success_criteria=[
                Criterion("budget kept", lambda session: session.now < 1, weight=2.0, required=True)
            ],
        ),
    )
    outcome = convergence_engine.run(session)
    assert [(result.name, result.met) for result in outcome.criteria] == [("budget kept", True)]


# -- 9. Hypothesis -----------------------------------------------------------------------------------------------------


@given(schedule=cst.schedules(faults=["loss", "duplicate", "delay"]), states=cst.conflicting_states(agents=3))
def test_documents_converge(convergence_session_factory, schedule, states):
    session = convergence_session_factory(agents=states.agents, states=states, sync="crdt", schedule=schedule)
    assert session.run().converged


messages: list[Message | tuple[str, Any]] = [Message("a", "b", "first"), ("a", "second"), ("b", {"third": 3})]


@given(cst.message_orderings(messages, order="causal"))
def test_order_does_not_matter(ordering):
    assert all(isinstance(message, Message) for message in ordering)
    from_a = [message.payload for message in ordering if message.sender == "a"]
    assert from_a == ["first", "second"]
    assert len(ordering) == 3


def my_merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Keep the greater value of each field: a join, whatever the field's type."""
    return {key: max(state[key] for state in (one, other) if key in state) for key in sorted({*one, *other})}


@given(cst.conflicting_states(agents=3, fields={"title": st.text(), "count": st.integers()}))
def test_my_merge_is_a_join(states):
    assert_merge_laws(my_merge, states)

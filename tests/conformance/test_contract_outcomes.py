"""Section 3 of the usage contract in words: when a run ends, what its outcome tells, and what agents must agree on."""

import asyncio

import pytest

from pytest_convergence import (
    AgentError,
    ConvergenceUsageError,
    DeadlockError,
    Message,
    Schedule,
    SessionState,
)


async def listen(agent):
    async for _ in agent.inbox:
        pass


async def echo(agent):
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


# -- when a run ends ---------------------------------------------------------------------------------------------------


def test_without_a_scenario_a_run_ends_when_all_have_returned_crashed_or_wait_in_their_inbox(
    convergence_session_factory,
):
    async def leaves(agent):
        agent.crash()
        await asyncio.sleep(1)

    async def sends(agent):
        await asyncio.sleep(50)
        await agent.send("listens", 1)
        return "sent"

    outcome = convergence_session_factory(agents={"leaves": leaves, "sends": sends, "listens": listen}).run()
    assert outcome.converged
    assert outcome.results == {"sends": "sent"}
    assert outcome.duration == pytest.approx(50.001)


def test_a_scenarios_return_ends_the_work_and_stops_behaviours_without_a_result(convergence_session_factory):
    async def endless(agent):
        while True:
            await asyncio.sleep(1)

    async def scenario(session):
        await session.sleep(3)
        return "enough"

    outcome = convergence_session_factory(agents={"endless": endless}).run(scenario)
    assert outcome.output == "enough"
    assert "endless" not in outcome.results


def test_finished_waits_for_the_behaviours(convergence_session_factory):
    async def slow(agent):
        await asyncio.sleep(1000)
        return "done"

    async def scenario(session):
        return await session.finished()

    outcome = convergence_session_factory(agents={"slow": slow}).run(scenario)
    assert outcome.output == {"slow": "done"}


def test_a_wait_that_can_never_end_is_a_deadlock_that_says_what_each_agent_awaits(
    convergence_session_factory,
):
    async def left(agent):
        await agent.receive(sender="right")

    async def right(agent):
        await asyncio.Event().wait()

    session = convergence_session_factory(agents={"left": left, "right": right, "third": listen})
    with pytest.raises(DeadlockError) as caught:
        session.run()
    said = str(caught.value).splitlines()
    assert any("left waits" in line and "receive" in line for line in said)
    assert any("right waits" in line and "Event" in line for line in said)


def test_the_output_is_what_the_scenario_returns_and_else_what_the_pattern_came_to(
    convergence_session_factory,
):
    async def says_nothing(session):
        await session.wait_for_leader()

    async def says_something(session):
        await session.wait_for_leader()
        return "something"

    quiet = convergence_session_factory(pattern="leader-follower", agents=3).run(says_nothing)
    loud = convergence_session_factory(pattern="leader-follower", agents=3).run(says_something)
    assert quiet.output in {"agent-1", "agent-2", "agent-3"}
    assert loud.output == "something"


# -- the outcome and its trace -----------------------------------------------------------------------------------------


def test_an_outcome_has_everything_that_the_contract_lists(convergence_session_factory):
    async def asker(agent):
        return await agent.request("echo", "hello")

    outcome = convergence_session_factory(agents={"asker": asker, "echo": echo}).run()
    assert outcome.converged is True
    assert outcome.state is SessionState.CONVERGED
    assert outcome.output is None
    assert outcome.results == {"asker": "hello"}
    assert outcome.agreement == 1.0
    assert outcome.criteria == ()
    assert outcome.conflicts == ()
    assert outcome.violations == ()
    assert outcome.duration == pytest.approx(0.002)
    assert outcome.metrics.sent == 2
    assert outcome.schedule == Schedule.calm()
    assert len(outcome.trace) > 0


def test_a_trace_is_a_sequence_of_events_with_the_messages_among_them(convergence_session_factory):
    async def asker(agent):
        await agent.request("echo", "hello", type="greeting")

    trace = convergence_session_factory(agents={"asker": asker, "echo": echo}).run().trace
    assert [event.kind for event in trace if event.message is not None] == [
        "send",
        "receive",
        "send",
        "receive",
    ]
    assert trace[0] == next(iter(trace))
    assert all(isinstance(message, Message) for message in trace.messages)
    assert [(message.id, message.type) for message in trace.messages] == [
        ("asker→echo #1", "greeting"),
        ("echo→asker #1", "reply"),
    ]


def test_equal_runs_have_equal_digests_and_other_runs_have_others(convergence_session_factory):
    async def chatter(agent):
        for _ in range(5):
            await agent.broadcast(agent.random.randrange(100))
            await asyncio.sleep(agent.random.random())

    def digest(seed):
        session = convergence_session_factory(agents={"a": chatter, "b": chatter}, network="chaos", seed=seed)
        return session.run().trace.digest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)
    assert len(digest(1)) == 64
    assert int(digest(1), 16) >= 0


def test_render_draws_the_messages_between_the_agents(convergence_session_factory):
    async def asker(agent):
        await agent.request("echo", "hello")

    drawn = convergence_session_factory(agents={"asker": asker, "echo": echo}).run().trace.render()
    assert "asker" in drawn
    assert "echo" in drawn
    assert "reply" in drawn


# -- views -------------------------------------------------------------------------------------------------------------


def test_agents_converge_when_what_they_expose_is_equal(convergence_session_factory):
    async def learner(agent):
        known = {agent.name}
        agent.expose(lambda: sorted(known))
        await agent.broadcast(agent.name)
        async for message in agent.inbox:
            known.add(message.payload)

    assert convergence_session_factory(agents={"a": learner, "b": learner, "c": learner}).run().converged


def test_agents_diverge_when_what_they_expose_differs_and_the_outcome_shows_both(convergence_session_factory):
    async def stubborn(agent):
        agent.expose(lambda: f"{agent.name} is right")

    outcome = convergence_session_factory(agents={"a": stubborn, "b": stubborn}).run()
    assert not outcome.converged
    assert outcome.reasons == ("a and b expose different views: 'a is right' and 'b is right'",)
    assert outcome.agreement == 0.5


def test_agents_that_work_in_rounds_get_another_round_before_the_verdict(convergence_session_factory):
    async def gossip(agent):
        known = {agent.name}
        agent.expose(lambda: sorted(known))

        async def tell():
            while True:
                await asyncio.sleep(10)
                await agent.broadcast(sorted(known))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell())
            async for message in agent.inbox:
                known.update(message.payload)

    async def scenario(session):
        pass  # over before anybody has told anything

    assert convergence_session_factory(agents={"a": gossip, "b": gossip}).run(scenario).converged


def test_a_view_is_a_function_and_lasts_as_long_as_the_life_that_exposed_it(convergence_session_factory):
    async def forgetful(agent):
        if agent.session.now == 0:
            with pytest.raises(
                ConvergenceUsageError, match="give a function that returns what the agent holds now"
            ):
                agent.expose(["not", "a", "function"])
            agent.expose(lambda: agent.name)

    async def scenario(session):
        for agent in session.agents.values():
            await session.sleep(1)
            agent.crash()
            agent.restart()

    assert convergence_session_factory(agents={"a": forgetful, "b": forgetful}).run(scenario).converged


def test_an_exception_in_a_view_is_the_agents(convergence_session_factory):
    async def clumsy(agent):
        agent.expose(lambda: 1 / 0)

    with pytest.raises(AgentError, match="agent 'a' raised ZeroDivisionError"):
        convergence_session_factory(agents={"a": clumsy}).run()

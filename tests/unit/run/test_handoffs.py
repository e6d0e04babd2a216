"""Hand-offs as agents' code meets them: handlers, queues, forwarding, saving, failing, waiting, counting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_convergence import (
    AgentCrashedError,
    AgentError,
    ConvergenceEngine,
    ConvergenceUsageError,
    DeadlockError,
    FencingToken,
    HandoffState,
    StaleTokenError,
)


def session_of(agents: Any, **options: Any) -> Any:
    return ConvergenceEngine().create_session("work", agents=agents, **options)


def run(agents: Any, scenario: Any = None, **options: Any) -> Any:
    session = session_of(agents, **options)
    return session.run(scenario)


async def idle(agent: Any) -> None:
    async for _ in agent.inbox:
        pass


# -- taking work -------------------------------------------------------------------------------------------------------


def test_a_handler_may_be_a_plain_function_declared_by_the_test_before_the_run():
    session = session_of(["a", "b"])
    session.agents["b"].on_handoff(lambda handoff: handoff.task * 2)

    async def scenario(session):
        return await (await session.agents["a"].hand_off(21, to="b")).finished()

    assert session.run(scenario).output == 42


def test_what_the_test_declares_outlives_a_crash_and_what_the_behaviour_declares_does_not():
    async def declares(agent):
        if agent.storage.get("lives") is None:
            agent.storage.put("lives", 1)
            await agent.storage.sync()
            agent.offers({"once"})
        async for _ in agent.inbox:
            pass

    async def scenario(session):
        a, b, c = session.agents.values()
        c.offers({"always"})
        await session.sleep(1)
        first = await a.hand_off("x", capabilities={"once"})
        for agent in (b, c):
            agent.crash()
            agent.restart()
        await session.sleep(1)
        second = await a.hand_off("y", capabilities={"once"})
        third = await a.hand_off("z", capabilities={"always"})
        return first.owner, second.why, third.owner

    owner, why, third = run({"a": idle, "b": declares, "c": None}, scenario).output
    assert (owner, third) == ("b", "c")
    assert why == "no other agent offers once"


def test_work_that_came_before_the_handler_is_done_when_there_is_one():
    async def scenario(session):
        a, b = session.agents.values()
        handed = await a.hand_off("x", to="b")
        await session.sleep(5)
        b.on_handoff(lambda handoff: "done")
        return await handed.finished()

    assert run(["a", "b"], scenario).output == "done"


def test_an_agent_that_waits_for_work_for_ever_is_no_deadlock():
    async def worker(agent):
        async for handoff in agent.handoffs:
            handoff.complete(handoff.task)

    async def giver(agent):
        return await (await agent.hand_off("x", to="b")).finished()

    assert run({"a": giver, "b": worker}).results["a"] == "x"


def test_what_a_handler_raises_fails_the_run_with_its_agents_name():
    async def giver(agent):
        await (await agent.hand_off("x", to="b")).finished()

    async def worker(agent):
        @agent.on_handoff
        async def work(handoff):
            raise LookupError("no such chapter")

    with pytest.raises(AgentError, match="agent 'b' raised LookupError: no such chapter"):
        run({"a": giver, "b": worker})


def test_a_handler_that_never_ends_is_a_deadlock_that_names_the_work():
    async def giver(agent):
        await (await agent.hand_off("x", to="b", id="the work")).finished()

    async def worker(agent):
        @agent.on_handoff
        async def work(handoff):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match="b runs 'b work work the work' that was handed to it"):
        run({"a": giver, "b": worker})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda agent: agent.offers({"x"}, capacity=0), "capacity must be a whole number >= 1"),
        (lambda agent: agent.offers("review"), "set of names"),
        (lambda agent: agent.offers({"x"}, priority=1.5), "priority must be a whole number"),
        (lambda agent: agent.on_handoff("x"), "on_handoff takes a function"),
        (lambda agent: agent.handoffs, "before the session runs"),
        (lambda agent: agent.session.resource(""), "a resource needs a name"),
        (lambda agent: agent.session.resource("r").apply(1, token=1), "before the session runs"),
    ],
)
def test_wrong_declarations_are_refused_in_words(call, said):
    with pytest.raises(ConvergenceUsageError, match=said):
        call(session_of(["a", "b"]).agents["a"])


def test_nobody_is_there_to_hand_a_task_to():
    async def scenario(session):
        with pytest.raises(ConvergenceUsageError, match="alone"):
            await session.agents["a"].hand_off("x", capabilities={"y"})
        with pytest.raises(ConvergenceUsageError, match="before the session runs"):
            await session_of(["a", "b"]).agents["a"].hand_off("x", to="b")

    run(["a"], scenario)


# -- how a hand-off ends -----------------------------------------------------------------------------------------------


def test_an_offer_that_nobody_answers_expires():
    async def scenario(session):
        a, b = session.agents.values()
        with session.network.partition([a], [b]):
            return await a.hand_off("x", to="b", timeout=10)

    result = run(["a", "b"], scenario).output
    assert result.outcome is HandoffState.EXPIRED
    assert result.owner == "a"
    assert result.duration == pytest.approx(10)
    assert not result


def test_an_agent_without_the_capability_or_without_room_refuses():
    async def scenario(session):
        a, b = session.agents.values()
        b.offers({"type"}, capacity=1)
        first = await a.hand_off("x", to="b", capabilities={"type"})
        full = await a.hand_off("y", to="b", capabilities={"type"})
        unable = await a.hand_off("z", to="b", capabilities={"paint"})
        return [(each.outcome.value, each.why) for each in (first, full, unable)]

    assert run(["a", "b"], scenario).output == [
        ("transferred", ""),
        ("refused", "b: full"),
        ("refused", "b: cannot do paint"),
    ]


def test_a_work_waits_for_somebody_who_is_full_to_have_room():
    async def worker(agent):
        agent.offers({"work"}, capacity=1)

        @agent.on_handoff
        async def work(handoff):
            await asyncio.sleep(8)
            return agent.now()

        await idle(agent)

    async def giver(agent):
        works = [await agent.hand_off(number, capabilities={"work"}) for number in range(3)]
        assert all(works)
        return [round(await work.finished()) for work in works]

    assert run({"a": giver, "b": worker}).results["a"] == [8, 16, 24]


def test_the_least_loaded_is_asked_first_then_the_higher_priority_then_the_name():
    async def scenario(session):
        a, b, c, d = session.agents.values()
        for agent, priority in ((b, 0), (c, 1), (d, 1)):
            agent.offers({"work"}, priority=priority)
        return [(await a.hand_off(number, capabilities={"work"})).owner for number in range(4)]

    assert run(["a", "b", "c", "d"], scenario).output == ["c", "d", "b", "c"]


def test_who_waits_for_a_work_that_was_not_handed_off_is_told_so():
    async def scenario(session):
        a, b = session.agents.values()
        b.offers(capacity=1)
        await a.hand_off("x", to="b")
        refused = await a.hand_off("y", to="b")
        with pytest.raises(ConvergenceUsageError, match="was not handed off"):
            await refused.finished()

    run(["a", "b"], scenario)


def test_waiting_for_a_result_has_a_bound_if_one_is_given():
    async def scenario(session):
        handed = await session.agents["a"].hand_off("x", to="b", id="w")
        with pytest.raises(TimeoutError, match="'w' that agent 'a' handed off was not done within 3 s"):
            await handed.finished(timeout=3)

    run(["a", "b"], scenario)


def test_a_giver_that_crashes_fails_whoever_waits_for_it_outside():
    async def scenario(session):
        a, b = session.agents.values()
        with session.network.partition([a], [b]):
            waiting = asyncio.ensure_future(a.hand_off("x", to="b"))
            await session.sleep(1)
            a.crash()
            with pytest.raises(AgentCrashedError):
                await waiting
        with pytest.raises(AgentCrashedError):
            await a.hand_off("y", to="b")

    run(["a", "b"], scenario)


def test_a_giver_that_crashed_goes_on_offering_in_its_next_life():
    async def scenario(session):
        a, b = session.agents.values()
        with session.network.partition([a], [b]):
            waiting = asyncio.ensure_future(a.hand_off("x", to="b", id="w"))
            await session.sleep(1)
            a.crash()
            with pytest.raises(AgentCrashedError):
                await waiting
            a.restart()
        b.on_handoff(lambda handoff: f"did {handoff.task}")
        again = await a.hand_off("x", to="b", id="w")
        return await again.finished()

    assert run(["a", "b"], scenario).output == "did x"


def test_the_same_id_once_more_is_the_same_work():
    async def scenario(session):
        a, b = session.agents.values()
        b.on_handoff(lambda handoff: "done")
        first, second = await asyncio.gather(*(a.hand_off("x", to="b", id="w") for _ in range(2)))
        third = await a.hand_off("x", to="b", id="w")
        stats = session.handoffs.stats()
        return first == second, third.outcome.value, stats.requested

    assert run(["a", "b"], scenario).output == (True, "transferred", 1)


def test_a_withdrawn_work_may_be_handed_off_again_under_its_name():
    async def scenario(session):
        a, b, _ = session.agents.values()
        b.offers(capacity=1)
        await a.hand_off("block", to="b")
        refused = await a.hand_off("x", to="b", id="w")
        taken = await a.hand_off("x", to="c", id="w")
        return refused.outcome.value, taken.outcome.value, taken.token > refused.token

    assert run(["a", "b", "c"], scenario).output == ("refused", "transferred", True)


def test_a_continuation_is_good_in_a_later_life():
    async def giver(agent):
        token = agent.storage.get("continuation")
        if token is None:
            handed = await agent.hand_off("x", to="b")
            agent.storage.put("continuation", handed.continuation)
            await agent.storage.sync()
            agent.crash()
        return await agent.resume_handoff(token)

    async def worker(agent):
        @agent.on_handoff
        async def work(handoff):
            await asyncio.sleep(20)
            return "result"

        await idle(agent)

    async def scenario(session):
        await session.sleep(3)
        session.agents["a"].restart()
        await session.finished()

    assert run({"a": giver, "b": worker}, scenario).results["a"] == "result"


# -- forwarding, saving, losing ----------------------------------------------------------------------------------------


def test_a_work_is_handed_on_with_a_later_state_and_its_path():
    async def editor(agent):
        @agent.on_handoff
        async def edit(handoff):
            on = await handoff.hand_off(to="c", state=[*handoff.state, "edited"], reason="pipeline-step")
            assert not handoff.is_owned
            assert on

    async def printer(agent):
        @agent.on_handoff
        async def write(handoff):
            return handoff.state, handoff.path, handoff.sender, handoff.reason.value

    async def giver(agent):
        return await (await agent.hand_off("x", to="b", state=["draft"])).finished()

    outcome = run({"a": giver, "b": editor, "c": printer})
    assert outcome.results["a"] == (["draft", "edited"], ("a", "b", "c"), "b", "pipeline-step")


def test_a_hop_budget_ends_a_chain():
    async def hot(agent):
        @agent.on_handoff
        async def pass_on(handoff):
            result = await handoff.hand_off(to=handoff.sender, max_hops=4)
            return None if result else (result.why, len(handoff.path))

    async def giver(agent):
        await hot(agent)
        return await (await agent.hand_off("potato", to="b", max_hops=4)).finished()

    why, length = run({"a": giver, "b": hot}).results["a"]
    assert "hop budget" in why
    assert length == 5


def test_the_hop_budget_of_the_giver_holds_for_all_who_hand_the_work_on():
    async def hot(agent):
        @agent.on_handoff
        async def pass_on(handoff):
            result = await handoff.hand_off(to=handoff.sender)
            return None if result else (result.why, len(handoff.path))

    async def giver(agent):
        await hot(agent)
        return await (await agent.hand_off("potato", to="b", max_hops=3)).finished()

    why, length = run({"a": giver, "b": hot}).results["a"]
    assert why == "it has changed hands 3 times, which is its hop budget"
    assert length == 4


def test_a_refused_forward_leaves_the_work_where_it_is():
    async def worker(agent):
        @agent.on_handoff
        async def work(handoff):
            refused = await handoff.hand_off(capabilities={"nobody"})
            return refused.outcome.value, handoff.is_owned, handoff.may_act

    async def giver(agent):
        return await (await agent.hand_off("x", to="b")).finished()

    assert run({"a": giver, "b": worker}).results["a"] == ("refused", True, True)


def test_a_saved_state_is_where_the_next_owner_begins():
    async def scenario(session):
        a, *others = session.agents.values()

        async def work(handoff):
            for step in range(handoff.state, 10):
                handoff.save(step)
                await asyncio.sleep(1)
            return [*handoff.path], handoff.task

        for agent in others:
            agent.offers({"work"})
            agent.on_handoff(work)
        handed = await a.hand_off("count", capabilities={"work"}, state=0)
        await session.sleep(5.5)
        session.agents[handed.owner].crash()
        begun = session.now
        path, task = await handed.finished()
        return path, task, session.now - begun

    path, task, seconds = run(["a", "b", "c", "d"], scenario).output
    assert path[:2] == ["a", "b"]
    assert len(path) == 3
    assert task == "count"
    assert seconds < 5 + 12  # five of ten steps were done already


def test_the_handler_of_an_owner_that_was_replaced_is_cancelled():
    async def scenario(session):
        a, *others = session.agents.values()
        seen: list[Any] = []

        async def work(handoff):
            token = handoff.token
            try:
                await asyncio.sleep(50)
                session.resource("store").apply(handoff.path[-1], token=token)
                await asyncio.sleep(50)
                return handoff.path[-1]
            except asyncio.CancelledError:
                seen.append((handoff.path[-1], handoff.is_owned))
                raise

        for agent in others:
            agent.offers({"work"})
            agent.on_handoff(work)
        handed = await a.hand_off("x", capabilities={"work"})
        first = session.agents[handed.owner]
        await session.sleep(1)
        with session.network.partition([first]):
            await session.sleep(70)
        await session.sleep(5)
        return await handed.finished(), seen, session.resource("store").values

    result, seen, values = run(["a", "b", "c", "d"], scenario).output
    assert result != "b"
    assert seen == [("b", False)]
    assert values == ["b", result]


def test_what_a_former_owner_completes_does_not_count():
    async def scenario(session):
        a, b = session.agents.values()
        handed = await a.hand_off("x", to="b")
        await session.sleep(1)
        queue = session.handoffs.of(b).queue
        handoff = queue.take_all()[0]
        await handoff.hand_off(to="a")
        handoff.complete("too late")
        handoff.save("too late")
        with pytest.raises(ConvergenceUsageError, match="does not belong to agent 'b'"):
            await handoff.hand_off(to="a")
        await session.sleep(1)
        taken = session.handoffs.of(a).queue.take_all()[0]
        assert taken.state is None
        taken.complete("in time")
        return await handed.finished(), repr(handoff)

    value, text = run(["a", "b"], scenario).output
    assert value == "in time"
    assert text == "<Handoff 'a-1' of 'b', token 0.2>"


def test_a_work_of_many_agents_has_five_guardians_and_survives_its_owner():
    names = [f"agent-{number}" for number in range(1, 13)]

    async def scenario(session):
        giver, *others = session.agents.values()
        for agent in others[:6]:
            agent.offers({"work"})
            agent.on_handoff(lambda handoff: asyncio.sleep(6, "done"))
        works = [await giver.hand_off(number, capabilities={"work"}) for number in range(3)]
        session.agents[works[0].owner].crash()
        return [await work.finished() for work in works]

    assert run(names, scenario).output == ["done"] * 3


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_statistics_tell_by_reason_and_outcome_how_many_and_how_long():
    async def scenario(session):
        a, b, c = session.agents.values()
        b.offers({"work"}, capacity=2)
        for _ in range(2):
            await a.hand_off("x", capabilities={"work"}, reason="load-balancing")
        await a.hand_off("y", to="b")
        with session.network.partition([c]):
            await a.hand_off("z", to="c", timeout=5, reason="timeout")
        return session.handoffs.stats()

    outcome = run(["a", "b", "c"], scenario)
    stats = outcome.output
    assert (stats.requested, stats.transferred, stats.refused, stats.expired, stats.pending) == (
        4,
        2,
        1,
        1,
        0,
    )
    assert stats.by_reason == {
        "load-balancing": {"transferred": 2},
        "delegation": {"refused": 1},
        "timeout": {"expired": 1},
    }
    assert 0 < stats.mean_seconds < 1
    assert set(stats.mean_seconds_by_reason) == {"load-balancing"}
    assert outcome.metrics.handoffs == 2
    assert outcome.metrics.handoffs_requested == 4


def test_a_session_without_hand_offs_has_none_of_this():
    session = session_of({"a": idle, "b": idle})
    outcome = session.run()
    assert session.handoffs.stats().requested == 0
    assert all(session.handoffs.of(agent).machine() is None for agent in session.agents.values())
    assert outcome.metrics.handoffs == 0


# -- resources ---------------------------------------------------------------------------------------------------------


def test_a_resource_remembers_what_was_done_by_whom_and_what_was_refused():
    async def worker(agent):
        store = agent.session.resource("store")
        store.apply("one", token=5)
        with pytest.raises(StaleTokenError, match="'store' refuses token 4: 5 has been here"):
            store.apply("two", token=4)
        store.apply("three", token=FencingToken(0, 1, "another work"))
        with pytest.raises(ConvergenceUsageError, match="fencing token"):
            store.apply("four", token="5")

    session = session_of({"a": worker})
    session.run()
    store = session.resource("store")
    assert list(store) == ["one", "three"]
    assert len(store) == 2
    assert [effect.agent for effect in store.effects] == ["a", "a"]
    assert [effect.value for effect in store.refused] == ["two"]
    assert repr(store) == "<FencedResource 'store': 2 accepted, 1 refused>"

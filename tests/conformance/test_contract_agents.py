"""Section 3 of the usage contract in words: what an agent can do, and what becomes of it."""

import asyncio

import pytest

from pytest_convergence import (
    AgentCrashedError,
    ConvergenceUsageError,
    Schedule,
    SimulatedAgent,
)


async def listen(agent):
    async for _ in agent.inbox:
        pass


async def echo(agent):
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


# -- messages ----------------------------------------------------------------------------------------------------------


def test_an_agent_knows_its_name_its_session_and_its_peers(convergence_session_factory):
    seen = {}

    async def look(agent):
        seen[agent.name] = (agent.session, agent.peers, isinstance(agent, SimulatedAgent))

    session = convergence_session_factory(agents={"a": look, "b": look, "c": look})
    session.run()
    assert seen["b"] == (session, ("a", "c"), True)


def test_send_takes_a_payload_and_a_type(convergence_session_factory):
    async def giver(agent):
        await agent.send("taker", {"n": 1}, type="offer")

    async def taker(agent):
        message = await agent.receive()
        return message.sender, message.recipient, message.payload, message.type

    outcome = convergence_session_factory(agents={"giver": giver, "taker": taker}).run()
    assert outcome.results["taker"] == ("giver", "taker", {"n": 1}, "offer")


def test_an_agent_may_be_named_by_itself_or_by_its_name(convergence_session_factory):
    async def giver(agent):
        await agent.send(agent.session.agents["taker"], "hello")

    async def taker(agent):
        return (await agent.receive(sender=agent.session.agents["giver"])).payload

    outcome = convergence_session_factory(agents={"giver": giver, "taker": taker}).run()
    assert outcome.results["taker"] == "hello"


def test_an_agent_may_send_to_itself(convergence_session_factory):
    async def lonely(agent):
        await agent.send(agent.name, "note to self")
        return (await agent.receive()).payload

    assert convergence_session_factory(agents={"a": lonely}).run().results["a"] == "note to self"


def test_broadcast_reaches_everybody_else(convergence_session_factory):
    async def speaker(agent):
        await agent.broadcast("news", type="headline")

    async def reader(agent):
        return (await agent.receive(type="headline")).payload

    outcome = convergence_session_factory(agents={"speaker": speaker, "x": reader, "y": reader}).run()
    assert outcome.results == {"speaker": None, "x": "news", "y": "news"}


def test_receive_can_wait_for_one_sender_and_leaves_the_rest(convergence_session_factory):
    async def talker(agent):
        await agent.send("judge", agent.name)

    async def judge(agent):
        second = await agent.receive(sender="b")
        first = await agent.receive()
        return second.payload, first.payload

    outcome = convergence_session_factory(agents={"a": talker, "b": talker, "judge": judge}).run()
    assert outcome.results["judge"] == ("b", "a")


def test_receive_can_wait_for_one_type(convergence_session_factory):
    async def talker(agent):
        await agent.send("judge", 1, type="question")
        await agent.send("judge", 2, type="answer")

    async def judge(agent):
        return (await agent.receive(type="answer")).payload, (await agent.receive()).payload

    outcome = convergence_session_factory(agents={"a": talker, "judge": judge}).run()
    assert outcome.results["judge"] == (2, 1)


def test_receive_raises_timeout_error_after_virtual_seconds(convergence_session_factory):
    async def patient(agent):
        with pytest.raises(TimeoutError, match="'patient' received no message from 'mute' within 90 s"):
            await agent.receive(timeout=90, sender="mute")
        return agent.now()

    outcome = convergence_session_factory(agents={"patient": patient, "mute": listen}).run()
    assert outcome.results["patient"] == pytest.approx(90)


def test_request_raises_timeout_error_if_nobody_answers(convergence_session_factory):
    async def asker(agent):
        with pytest.raises(TimeoutError, match="'asker' had no reply from 'mute' within 5 s"):
            await agent.request("mute", "anybody?", timeout=5)

    assert convergence_session_factory(agents={"asker": asker, "mute": listen}).run().converged


def test_replies_find_their_requests_whatever_the_order(convergence_session_factory):
    async def slow_first(agent):
        first, second = await agent.receive(), await agent.receive()
        await agent.reply(second, second.payload)
        await agent.reply(first, first.payload)

    async def asker(agent):
        return await asyncio.gather(agent.request("server", "one"), agent.request("server", "two"))

    outcome = convergence_session_factory(agents={"server": slow_first, "asker": asker}).run()
    assert outcome.results["asker"] == ["one", "two"]


# -- what else an agent has --------------------------------------------------------------------------------------------


def test_an_agents_clock_is_its_own_and_may_be_skewed(convergence_session_factory):
    async def look(agent):
        await asyncio.sleep(10)
        return agent.now(), agent.session.now

    async def scenario(session):
        session.agents["fast"].skew_clock(offset=60, drift=1)
        await session.finished()

    outcome = convergence_session_factory(agents={"exact": look, "fast": look}).run(scenario)
    assert outcome.results["exact"] == pytest.approx((10, 10))
    # A minute ahead and twice as fast: what it holds to be ten seconds are five.
    assert outcome.results["fast"] == pytest.approx((70, 5))


def test_an_agents_random_numbers_follow_from_the_seed_and_its_name(convergence_session_factory):
    async def draw(agent):
        return [agent.random.random() for _ in range(3)]

    def results(seed):
        return convergence_session_factory(agents={"a": draw, "b": draw}, seed=seed).run().results

    assert results(1) == results(1)
    assert results(1) != results(2)
    assert results(1)["a"] != results(1)["b"]


def test_storage_puts_gets_and_deletes(convergence_session_factory):
    async def keeper(agent):
        agent.storage.put("plan", {"version": 1})
        before = agent.storage.get("plan")
        agent.storage.delete("plan")
        await agent.storage.sync()
        return before, agent.storage.get("plan"), agent.storage.get("plan", "none left")

    outcome = convergence_session_factory(agents={"a": keeper}).run()
    assert outcome.results["a"] == ({"version": 1}, None, "none left")


def test_synced_writes_survive_a_crash_and_unsynced_ones_are_lost_under_calm(convergence_session_factory):
    async def keeper(agent):
        if agent.storage.get("kept") is not None:
            return agent.storage.get("kept"), agent.storage.get("lost")
        agent.storage.put("kept", 1)
        await agent.storage.sync()
        agent.storage.put("lost", 2)
        agent.crash()

    async def scenario(session):
        await session.sleep(1)
        session.agents["a"].restart()
        await session.finished()

    outcome = convergence_session_factory(agents={"a": keeper}).run(scenario)
    assert outcome.results["a"] == (1, None)


def test_other_schedules_choose_which_unsynced_writes_survive(convergence_session_factory):
    async def keeper(agent):
        if agent.storage.get("lives", 0):
            return tuple(agent.storage.get(key) for key in ("one", "two"))
        agent.storage.put("lives", 1)
        await agent.storage.sync()
        agent.storage.put("one", "1111")
        agent.storage.put("two", "2222")
        agent.crash()

    async def scenario(session):
        await session.sleep(1)
        session.agents["a"].restart()
        await session.finished()

    ends = {
        convergence_session_factory(agents={"a": keeper}, schedule=Schedule.seeded(seed))
        .run(scenario)
        .results["a"]
        for seed in range(200)
    }
    assert {(None, None), ("1111", None), ("1111", "2222")} <= ends
    assert ("11", None) in ends  # torn in the middle
    assert (None, "2222") not in ends  # a prefix, never a later write without the earlier one


# -- lives -------------------------------------------------------------------------------------------------------------


def test_a_restarted_behaviour_starts_from_the_top_and_results_hold_the_last_life(
    convergence_session_factory,
):
    lives = []

    async def worker(agent):
        lives.append(len(lives) + 1)
        return lives[-1]

    async def scenario(session):
        await session.sleep(1)
        session.agents["worker"].crash()
        session.agents["worker"].restart()
        await session.finished()

    outcome = convergence_session_factory(agents={"worker": worker}).run(scenario)
    assert lives == [1, 2]
    assert outcome.results["worker"] == 2


def test_a_crash_is_not_a_cancellation(convergence_session_factory):
    touched = []

    async def careful(agent):
        try:
            await asyncio.sleep(100)
        finally:
            await agent.send("b", "goodbye")
            touched.append("the world")

    async def scenario(session):
        await session.sleep(1)
        session.agents["a"].crash()
        assert not session.agents["a"].is_alive
        await session.sleep(1)

    outcome = convergence_session_factory(agents={"a": careful, "b": listen}).run(scenario)
    assert touched == []
    assert len(outcome.trace.messages) == 0


def test_a_paused_agent_takes_no_step_until_it_is_resumed(convergence_session_factory):
    async def ticker(agent):
        for _ in range(3):
            await asyncio.sleep(1)
        return agent.now()

    async def scenario(session):
        await session.sleep(1.5)
        session.agents["ticker"].pause()
        assert session.agents["ticker"].is_alive
        await session.sleep(10)
        session.agents["ticker"].resume()
        await session.finished()

    outcome = convergence_session_factory(agents={"ticker": ticker}).run(scenario)
    assert outcome.results["ticker"] == pytest.approx(12.5)


def test_isolate_cuts_an_agent_off_until_it_heals(convergence_session_factory):
    async def asker(agent):
        with agent.isolate(), pytest.raises(TimeoutError):
            await agent.request("echo", 1, timeout=1)
        return await agent.request("echo", 2, timeout=1)

    outcome = convergence_session_factory(agents={"asker": asker, "echo": echo}).run()
    assert outcome.results["asker"] == 2


def test_a_crashed_agent_cannot_act(convergence_session_factory):
    async def scenario(session):
        a = session.agents["a"]
        a.crash()
        with pytest.raises(
            AgentCrashedError, match=r"'a' has crashed and cannot send; call restart\(\) first"
        ):
            await a.send("b", "from the grave")
        with pytest.raises(AgentCrashedError, match="cannot crash"):
            a.crash()
        with pytest.raises(AgentCrashedError, match="cannot write to storage"):
            a.storage.put("key", 1)

    assert convergence_session_factory(agents=["a", "b"]).run(scenario).converged


def test_an_agent_that_is_alive_cannot_be_restarted(convergence_session_factory):
    async def scenario(session):
        with pytest.raises(ConvergenceUsageError, match="'a' is alive; only a crashed agent can restart"):
            session.agents["a"].restart()

    convergence_session_factory(agents=["a"]).run(scenario)


def test_what_arrives_for_a_protocol_while_an_agent_is_paused_never_reaches_its_behaviour(
    convergence_session_factory,
):
    heard = []

    async def eavesdrop(agent):
        async for message in agent.inbox:
            heard.append(message)

    async def scenario(session):
        await session.wait_for_leader()
        for agent in session.agents.values():
            agent.pause()
            await session.sleep(2)
            agent.resume()

    names = ["a", "b", "c"]
    session = convergence_session_factory(pattern="leader-follower", agents=dict.fromkeys(names, eavesdrop))
    assert session.run(scenario).converged
    assert heard == []

"""Section 4 of the usage contract in words: scenarios, async tests, and the rules of the network."""

import asyncio

import pytest


async def listen(agent):
    async for _ in agent.inbox:
        pass


def heard_under(factory, rule, *, send=("one", "two", "three"), options=None):
    """Let agent a tell agent b something while ``rule(session.network)`` holds, and return what b heard, and when."""
    heard = []

    async def teller(agent):
        for word in send:
            await agent.send("b", word)
            await asyncio.sleep(1)

    async def hearer(agent):
        async for message in agent.inbox:
            heard.append((message.payload, round(agent.now())))

    async def scenario(session):
        with rule(session.network):
            await session.sleep(10)
        await session.sleep(10)

    factory(agents={"a": teller, "b": hearer}, **(options or {})).run(scenario)
    return heard


# -- rules -------------------------------------------------------------------------------------------------------------


def test_without_a_rule_everything_arrives_once_and_in_order(convergence_session_factory):
    heard = heard_under(convergence_session_factory, lambda network: network.delay(0))
    assert heard == [("one", 0), ("two", 1), ("three", 2)]


def test_a_partition_loses_what_is_sent_across_it(convergence_session_factory):
    assert heard_under(convergence_session_factory, lambda network: network.partition(["a"])) == []


def test_a_one_way_partition_loses_only_what_goes_its_way(convergence_session_factory):
    assert heard_under(convergence_session_factory, lambda network: network.one_way_partition(["a"])) == []
    assert (
        len(heard_under(convergence_session_factory, lambda network: network.one_way_partition(["b"]))) == 3
    )


def test_drop_loses_the_messages_that_it_names(convergence_session_factory):
    assert heard_under(convergence_session_factory, lambda network: network.drop("a", "b")) == []
    assert len(heard_under(convergence_session_factory, lambda network: network.drop("b", "a"))) == 3
    rest = heard_under(
        convergence_session_factory,
        lambda network: network.drop(where=lambda message: message.payload == "two"),
    )
    assert [word for word, _ in rest] == ["one", "three"]


def test_drop_may_lose_a_share_of_the_messages(convergence_session_factory):
    words = tuple(range(400))
    heard = heard_under(
        convergence_session_factory,
        lambda network: network.drop(odds=0.5),
        send=words,
        options={"timeout": 10_000},
    )
    assert 0 < len([word for word, at in heard if at < 10]) < 10


def test_delay_makes_messages_late(convergence_session_factory):
    heard = heard_under(convergence_session_factory, lambda network: network.delay(5))
    assert heard == [("one", 5), ("two", 6), ("three", 7)]


def test_duplicate_delivers_more_than_once(convergence_session_factory):
    heard = heard_under(convergence_session_factory, lambda network: network.duplicate(copies=2))
    assert [word for word, _ in heard] == ["one"] * 3 + ["two"] * 3 + ["three"] * 3


def test_hold_keeps_messages_back_until_it_is_healed_and_then_lets_them_go_in_order(
    convergence_session_factory,
):
    heard = heard_under(convergence_session_factory, lambda network: network.hold())
    assert heard == [("one", 10), ("two", 10), ("three", 10)]


@pytest.mark.parametrize(
    "rule",
    [
        lambda network: network.partition(["a"]),
        lambda network: network.one_way_partition(["a"]),
        lambda network: network.drop(),
        lambda network: network.delay(1),
        lambda network: network.duplicate(),
        lambda network: network.hold(),
    ],
    ids=["partition", "one_way_partition", "drop", "delay", "duplicate", "hold"],
)
def test_a_rule_is_a_context_manager_and_can_also_be_healed(convergence_session_factory, rule):
    async def scenario(session):
        with rule(session.network) as inside:
            assert session.network.rules == (inside,)
        assert session.network.rules == ()
        kept = rule(session.network)
        assert session.network.rules == (kept,)
        kept.heal()
        kept.heal()  # twice does nothing
        assert session.network.rules == ()

    convergence_session_factory(agents=["a", "b"]).run(scenario)


def test_rules_add_up_and_can_all_be_healed_at_once(convergence_session_factory):
    async def scenario(session):
        session.network.delay(1)
        session.network.drop("a", "b")
        assert len(session.network.rules) == 2
        session.network.heal()
        assert session.network.rules == ()

    convergence_session_factory(agents=["a", "b"]).run(scenario)


def test_rules_of_a_scenario_hold_for_the_first_messages_too(convergence_session_factory):
    async def teller(agent):
        await agent.send("b", "at once")

    async def hearer(agent):
        return (await agent.receive(timeout=5)).payload

    async def scenario(session):
        with session.network.delay(3):
            await session.finished()

    outcome = convergence_session_factory(agents={"a": teller, "b": hearer}).run(scenario)
    assert outcome.results["b"] == "at once"
    assert outcome.duration == pytest.approx(3.001)


# -- scenarios ---------------------------------------------------------------------------------------------------------


def test_a_scenario_that_ends_in_a_partition_diverges_only_where_agents_reach_one_another(
    convergence_session_factory,
):
    async def scenario(session):
        session.network.partition(["a"])
        session.agents["a"].state.set("title", "from a")
        session.agents["b"].state.set("title", "from b")

    outcome = convergence_session_factory(agents=["a", "b", "c"]).run(scenario)
    assert outcome.converged  # a is alone; b and c agree
    assert outcome.agreement == pytest.approx(2 / 3)


def test_waiting_for_a_leader_times_out_in_virtual_seconds(convergence_session_factory):
    async def scenario(session):
        for name in ("agent-1", "agent-2"):
            session.agents[name].crash()
        with pytest.raises(TimeoutError, match="no leader within 30 virtual seconds"):
            await session.wait_for_leader(timeout=30)
        assert session.now == pytest.approx(30)

    convergence_session_factory(pattern="leader-follower", agents=3).run(scenario)


# -- async tests -------------------------------------------------------------------------------------------------------


@pytest.mark.convergence(agents={"a": listen})
async def test_async_tests_run_in_virtual_time(convergence_session):
    loop = asyncio.get_running_loop()
    before = loop.time()
    await asyncio.sleep(3600)
    assert loop.time() - before == 3600
    assert (await convergence_session.execute()).converged


@pytest.mark.convergence(agents=2)
async def test_sessions_that_are_executed_one_after_another_share_their_time(convergence_session_factory):
    async def nap(session):
        await session.sleep(100)
        return session.now

    first = await convergence_session_factory().execute(nap, timeout=200)
    await asyncio.sleep(1000)  # what the first session's timeout was does not matter any more
    second = await convergence_session_factory().execute(nap, timeout=200)
    assert first.output == pytest.approx(100)
    assert second.output == pytest.approx(1200, abs=1)


@pytest.mark.convergence(agents=2)
async def test_the_engine_can_execute_too(convergence_engine):
    session = convergence_engine.create_session("inside", agents=2)
    assert (await convergence_engine.execute(session)).converged


@pytest.mark.convergence(agents=2)
class TestOnAClass:
    """The marker works on classes; the closest wins, option by option."""

    async def test_its_async_methods_run_on_the_simulated_loop(self, convergence_session):
        assert (await convergence_session.execute()).converged
        assert len(convergence_session.agents) == 2

    @pytest.mark.convergence(agents=4)
    def test_a_method_may_say_otherwise(self, convergence_session):
        assert len(convergence_session.agents) == 4

    @pytest.mark.parametrize("number", [1, 2])
    async def test_it_works_with_parametrize(self, convergence_session, number, tmp_path):
        assert tmp_path.exists()
        assert number in {1, 2}
        assert (await convergence_session.execute()).converged

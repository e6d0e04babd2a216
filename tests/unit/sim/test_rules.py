"""Rules that a scenario lays over the network."""

from typing import Any

import pytest

from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import make_session, run_session


async def inbox(session: Session, name: str, patience: float = 10) -> list[Any]:
    """What arrives at an agent until nothing came for a while."""
    received = []
    try:
        while True:
            received.append((await session.agents[name].receive(timeout=patience)).payload)
    except TimeoutError:
        return received


def under(drive: Any, agents: Any = ("a", "b", "c"), **options: Any) -> Any:
    return run_session(drive, agents=list(agents), **options).output


def test_a_partition_cuts_both_ways_and_leaving_it_heals():
    async def drive(session: Session) -> list[Any]:
        a, b, _ = session.agents.values()
        with session.network.partition([a]):
            await a.send("b", "cut")
            await b.send("a", "cut")
            await session.sleep(1)
        await a.send("b", "healed")
        await b.send("a", "healed")
        return [await inbox(session, "a"), await inbox(session, "b")]

    assert under(drive) == [["healed"], ["healed"]]


def test_agents_that_no_group_names_are_one_group():
    async def drive(session: Session) -> list[Any]:
        with session.network.partition(["a"], ["b"]):
            await session.agents["c"].send("d", "together")
            await session.agents["a"].send("c", "apart")
            return [await inbox(session, "c"), await inbox(session, "d")]

    assert under(drive, agents="abcd") == [[], ["together"]]


def test_a_message_in_flight_is_lost_at_a_cut():
    async def drive(session: Session) -> list[Any]:
        await session.agents["a"].send("b", "in flight")
        with session.network.partition(["a"]):
            await session.sleep(1)
        return await inbox(session, "b")

    assert under(drive) == []


def test_a_message_passes_if_the_cut_is_healed_before_it_arrives():
    async def drive(session: Session) -> list[Any]:
        with session.network.partition(["a"]):
            await session.agents["a"].send("b", "slow")
        return await inbox(session, "b")

    assert under(drive, network=Network(latency=1)) == ["slow"]


def test_a_one_way_partition_leaves_the_way_back_open():
    async def drive(session: Session) -> list[Any]:
        with session.network.one_way_partition(["a"], ["b"]):
            await session.agents["a"].send("b", "cut")
            await session.agents["b"].send("a", "open")
            await session.agents["a"].send("c", "open")
            return [await inbox(session, name) for name in "abc"]

    assert under(drive) == [["open"], [], ["open"]]


def test_a_one_way_partition_without_targets_cuts_the_way_to_everybody():
    async def drive(session: Session) -> list[Any]:
        with session.network.one_way_partition("a"):
            await session.agents["a"].send("b", "cut")
            await session.agents["a"].send("c", "cut")
            await session.agents["c"].send("b", "open")
            return [await inbox(session, name) for name in "bc"]

    assert under(drive) == [["open"], []]


def test_nested_cuts_hold_until_the_last_is_healed():
    async def drive(session: Session) -> list[Any]:
        first = session.network.partition(["a"])
        second = session.network.one_way_partition(["a"], ["b"])
        first.heal()
        await session.agents["a"].send("b", "cut by the second")
        await session.agents["b"].send("a", "open")
        await session.sleep(1)
        second.heal()
        await session.agents["a"].send("b", "open")
        return [await inbox(session, "a"), await inbox(session, "b")]

    assert under(drive) == [["open"], ["open"]]


def test_healing_twice_does_nothing():
    async def drive(session: Session) -> list[Any]:
        with session.network.partition(["a"]) as rule:
            rule.heal()
            rule.heal()
            assert session.network.rules == ()
        return [event.detail["what"] for event in session._running().fabric.trace if event.kind == "rule"]

    assert under(drive) == ["began", "healed"]


def test_everything_can_be_healed_at_once():
    async def drive(session: Session) -> int:
        net = session.network
        net.partition(["a"])
        net.drop()
        net.delay(1)
        before = len(net.rules)
        net.heal()
        assert net.rules == ()
        await session.agents["a"].send("b", "open")
        assert await inbox(session, "b") == ["open"]
        return before

    assert under(drive) == 3


def test_drop_loses_what_it_covers():
    async def drive(session: Session) -> list[Any]:
        with session.network.drop("a", "b", where=lambda message: message.payload % 2 == 0):
            for number in range(6):
                await session.agents["a"].send("b", number)
                await session.agents["a"].send("c", number)
            return [await inbox(session, "b"), await inbox(session, "c")]

    assert under(drive) == [[1, 3, 5], [0, 1, 2, 3, 4, 5]]


def test_drop_with_odds_loses_about_that_share():
    async def drive(session: Session) -> int:
        with session.network.drop("a", odds=0.3):
            for number in range(2_000):
                await session.agents["a"].send("b", number)
            return len(await inbox(session, "b"))

    assert 1_300 <= under(drive) <= 1_500


def test_delay_adds_to_the_latency_and_lets_others_overtake():
    async def drive(session: Session) -> list[Any]:
        with session.network.delay(2, "a", where=lambda message: message.payload == "slow"):
            await session.agents["a"].send("b", "slow")
            await session.agents["a"].send("b", "fast")
            return [await inbox(session, "b"), [message.sent_at_ns for message in ()]]

    assert under(drive)[0] == ["fast", "slow"]


def test_messages_that_are_delayed_by_the_same_keep_their_order():
    async def drive(session: Session) -> list[Any]:
        with session.network.delay(0.5):
            for number in range(50):
                await session.agents["a"].send("b", number)
            return await inbox(session, "b")

    assert under(drive, network=Network(latency=(0.001, 0.1)), seed=1) == list(range(50))


def test_delays_add_up():
    async def drive(session: Session) -> float:
        with session.network.delay(1), session.network.delay(2, "a"):
            await session.agents["a"].send("b", "x")
            await session.agents["b"].receive()
        return session.now

    assert under(drive, network=Network(latency=0.5)) == 3.5


def test_duplicate_delivers_more_often():
    async def drive(session: Session) -> list[Any]:
        with session.network.duplicate("a", copies=2):
            await session.agents["a"].send("b", "three times")
            return await inbox(session, "b")

    outcome = run_session(drive, agents=["a", "b"])
    assert outcome.output == ["three times"] * 3
    assert outcome.metrics.duplicated == 2


def test_a_copy_is_a_snapshot_of_its_own():
    async def drive(session: Session) -> Any:
        with session.network.duplicate("a"):
            await session.agents["a"].send("b", [1])
        (await session.agents["b"].receive()).payload.append(2)
        return (await session.agents["b"].receive()).payload

    assert under(drive) == [1]


def test_what_was_held_goes_on_in_order():
    async def drive(session: Session) -> list[Any]:
        with session.network.hold("a"):
            for number in range(20):
                await session.agents["a"].send("b", number)
                await session.sleep(0.01)
            assert await inbox(session, "b") == []
        return await inbox(session, "b")

    assert under(drive, network=Network(latency=(0.001, 0.1)), seed=2) == list(range(20))


def test_what_one_rule_lets_go_may_be_held_by_a_younger_one():
    async def drive(session: Session) -> list[Any]:
        first = session.network.hold("a")
        second = session.network.hold(target="b")
        await session.agents["a"].send("b", "held twice")
        first.heal()
        assert await inbox(session, "b") == []
        second.heal()
        return await inbox(session, "b")

    assert under(drive) == ["held twice"]


def test_rules_before_and_after_a_hold_each_decide_once():
    decided: list[str] = []

    def once(name: str) -> Any:
        return lambda message: decided.append(name) or False

    async def drive(session: Session) -> float:
        net = session.network
        net.delay(2)
        net.drop(where=once("before"))
        hold = net.hold()
        net.drop(where=once("after"))
        net.delay(1)
        await session.agents["a"].send("b", "x")
        await session.sleep(5)
        hold.heal()
        await session.agents["b"].receive()
        return session.now

    assert under(drive, network=Network(latency=0.5)) == 8.5
    assert decided == ["before", "after"]


def test_a_hold_that_is_released_into_a_partition_loses_its_messages():
    async def drive(session: Session) -> list[Any]:
        with session.network.partition(["a"]):
            with session.network.hold():
                await session.agents["a"].send("b", "x")
            await session.sleep(1)
        return await inbox(session, "b")

    assert under(drive) == []


def test_rules_cover_protocols_too():
    async def drive(session: Session) -> None:
        a, b = session.agents.values()
        with session.network.drop("a", where=lambda message: message.channel == "sync"):
            a.state.set("k", 1)
            await session.sleep(1)
            assert b.state.get("k") is None

    assert run_session(drive, agents=["a", "b"]).converged


def test_an_isolated_agent_reaches_nobody():
    async def drive(session: Session) -> list[Any]:
        with session.agents["a"].isolate() as rule:
            assert repr(rule) == "<Rule partition a | b, c>"
            await session.agents["a"].send("b", "cut")
            await session.agents["c"].send("b", "open")
            return await inbox(session, "b")

    assert under(drive) == ["open"]


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda net: net.partition(), "agents on both sides"),
        (lambda net: net.partition(["a", "b", "c"]), "agents on both sides"),
        (lambda net: net.partition(["a"], ["a", "b"]), "'a' stands on two sides"),
        (lambda net: net.partition(["x"]), "unknown agent 'x'"),
        (lambda net: net.drop(odds=0), "odds must be"),
        (lambda net: net.drop(odds=True), "odds must be"),
        (lambda net: net.drop(odds="half"), "odds must be"),
        (lambda net: net.delay(-1), "delay must be"),
        (lambda net: net.duplicate(copies=0), "copies must be"),
        (lambda net: net.hold("nobody"), "unknown agent 'nobody'"),
    ],
)
def test_wrong_rules_are_refused(use: Any, words: str):
    async def drive(session: Session) -> None:
        with pytest.raises(ConvergenceUsageError, match=words):
            use(session.network)

    run_session(drive, agents=["a", "b", "c"])


def test_rules_need_a_run():
    with pytest.raises(ConvergenceUsageError, match="not running yet"):
        make_session(agents=2).network.partition(["agent-1"])

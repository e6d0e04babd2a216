"""Deletes are kept as long as somebody may not know of them, and no longer."""

import pytest

from pytest_convergence import Session
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Update
from tests.unit.sim.harness import run_session

SYNCS = ("full", "delta", "event", "crdt", "vector-clock")
NAMES = ["a", "b", "c"]


def kept(session: Session) -> dict[str, list[str]]:
    """The paths of the deletes that each replica still keeps."""
    return {
        name: [update.path for update in agent.state.updates if update.operation == "delete"]
        for name, agent in session.agents.items()
    }


async def writes_and_deletes(session: Session) -> None:
    for turn in range(30):
        name = NAMES[turn % 3]
        state = session.agents[name].state
        state.set(f"plan.step {turn}", turn)
        await session.sleep(3)
        state.delete(f"plan.step {turn}")
        await session.sleep(3)


@pytest.mark.parametrize("network", ["perfect", "lossy", "flaky"])
@pytest.mark.parametrize("sync", SYNCS)
def test_deletes_that_everybody_knows_are_dropped(sync: str, network: str) -> None:
    most = 0

    async def scenario(session: Session) -> None:
        nonlocal most
        await writes_and_deletes(session)
        await session.sleep(60)
        most = max(map(len, kept(session).values()))

    outcome = run_session(scenario, agents=NAMES, sync=sync, network=network, seed=5)
    assert outcome.converged
    assert most <= 6, "of thirty"
    views = outcome.views or {}
    for name, agent in views.items():
        assert agent["state"] == views["a"]["state"], name


@pytest.mark.parametrize("sync", SYNCS)
def test_a_delete_is_kept_while_somebody_is_cut_off_and_what_that_one_wrote_meanwhile_does_not_revive_what_was_deleted(
    sync: str,
) -> None:
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        a.state.set("x", 1)
        await session.sleep(10)
        with session.network.partition([c]):
            c.state.set("y", 1)
            b.state.delete("x")
            await session.sleep(20)
            assert kept(session)["b"] == ["x"], "c does not know"
            assert c.state.get("x") == 1
        await session.sleep(30)
        assert [agent.state.as_dict() for agent in (a, b, c)] == [{"y": 1}] * 3
        assert kept(session)["b"] == []

    assert run_session(scenario, agents=NAMES, sync=sync, resolve="last-write").converged


@pytest.mark.parametrize("sync", SYNCS)
def test_who_restarts_does_not_bring_back_what_was_deleted(sync: str) -> None:
    async def scenario(session: Session) -> None:
        a, b, c = session.agents.values()
        for turn in range(8):
            a.state.set("x", turn)
            await session.sleep(5)
            b.state.delete("x")
            await session.sleep(5)
            session.agents[NAMES[turn % 3]].crash()
            await session.sleep(1)
            session.agents[NAMES[turn % 3]].restart()
            await session.sleep(5)
            assert [agent.state.as_dict() for agent in (a, b, c)] == [{}] * 3

    assert run_session(scenario, agents=NAMES, sync=sync).converged


async def churn(session: Session) -> None:
    """A set and lists that always hold little, and through which much passes; and values that come and go."""
    for turn in range(40):
        state = session.agents[NAMES[turn % 3]].state
        state.add("tags", turn)
        state.append("queue", turn)
        state.insert("text", 0, *f"line {turn}")
        state.set("value", turn)
        await session.sleep(3)
        state = session.agents[NAMES[(turn + 1) % 3]].state
        state.discard("tags", turn - 2)
        if turn >= 2:
            state.erase("queue", 0)
        state.erase("text", 0, len(state.get("text")))
        state.delete("value")
        await session.sleep(3)


@pytest.mark.parametrize("resolve", ["last-write", "rollback", "voting"])
@pytest.mark.parametrize("sync", SYNCS)
def test_what_passes_through_sets_lists_and_texts_leaves_nothing_behind(sync: str, resolve: str) -> None:
    sizes: list[int] = []

    async def scenario(session: Session) -> None:
        await churn(session)
        await session.sleep(60)
        sizes.extend(len(agent.state.updates) for agent in session.agents.values())
        assert all(agent.state.get("queue") == [38, 39] for agent in session.agents.values())
        assert all(agent.state.get("tags") == {38, 39} for agent in session.agents.values())

    assert run_session(scenario, agents=NAMES, sync=sync, resolve=resolve, network="lossy", seed=3).converged
    assert max(sizes) <= 25, "240 writes, of which some ten say what there is"


# -- one replica ---------------------------------------------------------------------------------------------------------


def everything(dot: object) -> bool:
    return True


def paths(replica: Replica) -> list[tuple[str, str]]:
    return [(update.operation, update.path) for update in replica.updates]


def test_a_delete_that_hides_a_part_of_an_older_value_is_no_mere_tombstone() -> None:
    replica = Replica("a")
    replica.set("plan", {"x": 1, "y": 2})
    replica.delete("plan.x")
    replica.drop_tombstones(everything)
    assert replica.as_dict() == {"plan": {"y": 2}}
    assert paths(replica) == [("set", "plan"), ("delete", "plan.x")]


def test_a_delete_beside_a_write_that_it_may_win_over_is_kept() -> None:
    one, other = Replica("a", now_ns=lambda: 5), Replica("b", now_ns=lambda: 1)
    one.set("x", 0)
    other.join(one.delta_since(other.clock))
    one.delete("x")
    other.set("x", 1)
    one.join(other.delta_since(one.clock))
    before = one.as_dict()
    one.drop_tombstones(everything)
    assert one.as_dict() == before
    assert ("delete", "x") in paths(one)


def test_deletes_at_the_same_time_go_together_and_older_versions_stay_readable() -> None:
    one, other = Replica("a"), Replica("b")
    one.set("x", 1)
    other.join(one.delta_since(other.clock))
    other.delete("x")
    one.delete("x")
    one.join(other.delta_since(one.clock))
    dropped: list[tuple[Update, ...]] = []
    one.on_drop = dropped.append
    checksum, clock, version = one.checksum, one.clock, one.version
    one.drop_tombstones(everything)
    assert [len(each) for each in dropped] == [2]
    assert (one.updates, one.checksum, one.clock, one.version) == ((), checksum, clock, version)
    assert [one.as_dict(number) for number in range(4)] == [{}, {"x": 1}, {}, {}]
    one.set("x", 2)
    assert [one.as_dict(number) for number in (1, 3, 4)] == [{"x": 1}, {}, {"x": 2}]
    one.rollback(1)
    assert one.get("x") == 1
    assert not one.has_tombstones


def test_an_empty_set_and_an_empty_list_stay_and_items_of_a_whole_value_do_not_come_back() -> None:
    replica = Replica("a")
    replica.set("whole", {"tags": {1, 2}, "list": [1, 2]})
    replica.discard("whole.tags", 1)
    replica.erase("whole.list", 0)
    for number in range(9):
        replica.add("tags", number)
        replica.append("list", number)
        replica.discard("tags", number)
        replica.erase("list", 0)
    before = replica.as_dict()
    assert before == {"whole": {"tags": {2}, "list": [2]}, "tags": set(), "list": []}
    replica.drop_tombstones(everything)
    assert replica.as_dict() == before
    assert replica.as_dict() == before
    assert len(replica.updates) == 3 + 2
    assert not replica.has_tombstones, "what is left is needed"
    replica.restore(replica.updates, replica.clock)
    assert replica.as_dict() == before


def test_items_beside_which_others_stand_are_kept() -> None:
    replica = Replica("a")
    replica.insert("text", 0, "a")
    replica.insert("text", 1, "b")
    replica.erase("text", 0)
    replica.drop_tombstones(everything)
    assert [each.operation for each in replica.updates] == ["insert", "insert", "erase"]
    replica.erase("text", 0)
    replica.drop_tombstones(everything)
    assert [each.operation for each in replica.updates] == ["erase"]
    assert replica.get("text") == []

"""Durable storage: what was synced survives a crash, the rest is lost, kept in part, or torn, as the schedule says."""

from typing import Any

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.storage import CrashDomain
from tests.unit.sim.harness import run_session


def _after_a_crash(option: int, writes: Any, keys: str = "abcd") -> dict[str, Any]:
    """What ``storage`` reads after a crash that keeps what ``option`` says."""

    async def scenario(session: Session) -> dict[str, Any]:
        agent = session.agents["x"]
        await writes(agent.storage)
        agent.crash()
        agent.restart()
        return {key: value for key in keys if (value := agent.storage.get(key)) is not None}

    schedule = Schedule.of({"storage x #1": option}) if option else Schedule.calm()
    result: dict[str, Any] = run_session(scenario, agents=["x"], schedule=schedule).output
    return result


async def _two_synced_three_not(storage: Any) -> None:
    storage.put("a", "old a")
    storage.put("b", "old b")
    await storage.sync()
    storage.put("a", "new a")
    storage.delete("b")
    storage.put("c", [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        (0, {"a": "old a", "b": "old b"}),
        (2, {"a": "new a", "b": "old b"}),
        (4, {"a": "new a"}),
        (5, {"a": "new a", "c": [1, 2]}),
        (6, {"a": "new a", "c": [1, 2, 3, 4]}),
        (15, {"a": "new a", "c": [1, 2, 3, 4]}),
    ],
)
def test_a_crash_keeps_a_prefix_of_the_unsynced_writes_and_may_tear_the_next(
    option: int, kept: dict[str, Any]
):
    assert _after_a_crash(option, _two_synced_three_not) == kept


@pytest.mark.parametrize("option", [1, 3])
def test_a_torn_write_spoils_nothing_that_was_synced(option: int):
    kept = _after_a_crash(option, _two_synced_three_not)
    assert kept["b"] == "old b"
    assert kept["a"] == ("old a" if option == 1 else "new a")


@pytest.mark.parametrize(
    ("value", "half"),
    [
        ("abcd", "ab"),
        (b"abcd", b"ab"),
        ([1, 2, 3], [1]),
        ((1, 2), (1,)),
        ({"x": 1, "y": 2}, {"x": 1}),
        (42, None),
        ("a", None),
        ([], None),
        ({"x": 1}, None),
        (None, None),
    ],
)
def test_half_of_a_value_is_what_was_written_first(value: Any, half: Any):
    async def writes(storage: Any) -> None:
        storage.put("a", value)

    assert _after_a_crash(1, writes) == ({} if half is None else {"a": half})


def test_a_delete_is_torn_by_not_happening():
    async def writes(storage: Any) -> None:
        storage.put("a", "kept")
        await storage.sync()
        storage.delete("a")

    assert _after_a_crash(1, writes) == {"a": "kept"}


def test_a_crash_without_unsynced_writes_asks_nothing():
    async def writes(storage: Any) -> None:
        storage.put("a", 1)
        await storage.sync()
        await storage.sync()

    assert _after_a_crash(3, writes) == {"a": 1}


def test_syncing_nothing_leaves_no_mark():
    async def scenario(session: Session) -> list[str]:
        storage = session.agents["x"].storage
        await storage.sync()
        storage.put("a", 1)
        await storage.sync()
        await storage.sync()
        return [event.kind for event in session._running().fabric.trace]

    assert run_session(scenario, agents=["x"]).output == ["persist", "sync"]


def test_a_crash_may_come_between_a_write_and_its_sync():
    async def scenario(session: Session) -> Any:
        import asyncio

        storage = session.agents["x"].storage
        storage.put("a", 1)
        syncing = asyncio.create_task(storage.sync())
        session.agents["x"].crash()
        with pytest.raises(Exception, match="has crashed and cannot sync storage"):
            await syncing
        session.agents["x"].restart()
        return storage.get("a")

    assert run_session(scenario, agents=["x"]).output is None


def test_half_of_the_crashes_lose_everything():
    domain = CrashDomain()
    options = [domain.decode(step / 1_000) for step in range(1_000)]
    assert options.count(0) == pytest.approx(500, abs=40)
    assert set(options) == set(range(16))
    assert domain.describe(4) == "kept the first 2 unsynced writes"
    assert domain.describe(5) == "kept the first 2 unsynced writes and tore the next one"

"""A walk through a finished run knows at each event what is under way, who held what, and who knows of whom."""

import pytest

from pytest_convergence._engine.check.property import Violation
from pytest_convergence._engine.run.session import Session
from pytest_convergence.explore.walk import Walk, changes_told, words_of
from tests.unit.sim.harness import make_session


async def sender(agent):
    await agent.send("b", 1)
    await agent.send("b", 2)
    await agent.session.sleep(1)
    await agent.send("b", 3)


async def receiver(agent):
    agent.storage.put("life", 1)
    agent.storage.put("gone", 1)
    agent.storage.delete("gone")
    async for _ in agent.inbox:
        pass


def _walk(rule: str, *, takes_snapshots: bool = True) -> Walk:
    async def scenario(session: Session) -> None:
        b = session.agents["b"]
        if rule == "crash":
            await session.sleep(0.5)
            b.crash()
            await session.sleep(1)
            b.restart()
            b.pause()
            b.resume()
        else:
            with getattr(session.network, rule)("a", "b"):
                await session.sleep(0.5)
        await session.sleep(2)

    session = make_session(agents={"a": sender, "b": receiver})
    session.takes_snapshots = takes_snapshots
    outcome = session.run(scenario)
    snapshots = session.snapshots
    return Walk(
        outcome.trace, changes=tuple(changes_told(outcome.trace)) if snapshots is None else snapshots.taken
    )


def _under_way(walk: Walk, seconds: float) -> list[int]:
    """The numbers of the messages under way after all that had happened by then."""
    last = max(place for place, event in enumerate(walk.events) if event.at <= seconds)
    walk.go(last)
    return [message.number for message in walk.in_flight()]


@pytest.mark.parametrize(
    ("rule", "at_once", "after_a_while", "in_the_end"),
    [
        ("drop", [], [], []),
        ("duplicate", [1, 1, 2, 2], [], []),
        ("hold", [1, 2], [1, 2], []),
        ("crash", [1, 2], [], []),
    ],
)
def test_what_is_under_way(
    rule: str, at_once: list[int], after_a_while: list[int], in_the_end: list[int]
) -> None:
    walk = _walk(rule)
    assert _under_way(walk, 0) == at_once
    assert _under_way(walk, 0.4) == after_a_while
    assert _under_way(walk, 1) == [3]
    assert _under_way(walk, 99) == in_the_end


def test_every_event_is_said_in_words() -> None:
    said = "\n".join(
        words_of(event) for rule in ("drop", "duplicate", "hold", "crash") for event in _walk(rule).events
    )
    for words in (
        "the network: drop a → b began",
        "a starts\n",
        "a sends message a→b #1 message 1 (sent 0 us)",
        "message a→b #1 message 1 (sent 0 us) is lost",
        "is duplicated",
        "is held back",
        "b receives message a→b #3",
        "b crashes (step ",
        "b restarts",
        "b is paused",
        "b goes on",
        "a has returned\n",
        "b is stopped",
        "b writes to its storage (",
    ):
        assert words in said


def test_what_agents_held_is_known_at_every_event() -> None:
    walk = _walk("crash")
    _under_way(walk, 0)
    views = walk.views()
    assert views["a"]["waits/line"] == "await agent.session.sleep(1)"
    assert views["b"]["storage/life"] == "1"
    _under_way(walk, 0.7)
    assert "waits/line" not in walk.views()["b"]  # it has crashed
    _under_way(walk, 99)
    assert "waits/line" not in walk.views()["a"]  # it has returned


def test_without_snapshots_the_events_tell_what_was_stored_until_it_was_deleted() -> None:
    walk = _walk("crash", takes_snapshots=False)
    _under_way(walk, 0)
    assert walk.views() == {"b": {"storage/life": "1"}}


def test_clocks_are_those_of_the_causal_order() -> None:
    walk = _walk("crash")
    _under_way(walk, 0.4)
    clocks = walk.clocks()
    assert clocks["a"] < clocks["b"]
    assert clocks["b"]["a"] == 3  # it has started, and sent twice


def test_one_goes_from_violation_to_violation_and_round() -> None:
    trace = _walk("drop")._trace
    walk = Walk(trace, [Violation("late", "x", 10**9), Violation("early", "x", 0)])
    assert [walk.go_to_violation().property for _ in range(3)] == ["early", "late", "early"]  # type: ignore[union-attr]
    assert Walk(trace).go_to_violation() is None
    assert not Walk(trace).go_to_error()


def test_a_diagram_says_where_one_is_even_if_there_is_little_to_draw() -> None:
    walk = _walk("crash")
    assert walk.diagram(1) == "(nothing to draw)"
    walk.go(next(place for place, event in enumerate(walk.events) if event.kind == "receive"))
    lines = walk.diagram(2).splitlines()
    assert [place for place, line in enumerate(lines) if line.startswith("you are here ┄")] == [2]
    assert "#1 message 1" in lines[1]
    assert "#2 message 2" in lines[3]

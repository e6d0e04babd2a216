"""The space-time diagram in text."""

import asyncio
from typing import Any

from pytest_convergence import ConvergenceEngine, SimulatedAgent
from pytest_convergence._engine.base.diagram import Notes, render, with_asides
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.packets import Packet
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.trace import Aside, TraceEvent
from pytest_convergence._engine.run.session import Session
from tests.unit.sim.harness import run_session


def _drawn(*events: TraceEvent, agents: tuple[str, ...] = ("a", "b"), **options: Any) -> str:
    return "\n".join(line.rstrip() for line in render(events, agents, **options).splitlines())


def test_a_run_is_drawn_lane_by_lane():
    async def scenario(session: Session) -> None:
        a, b, _ = session.agents.values()
        await a.send("b", "hello")
        await b.receive()
        await b.send("a", {"answer": 1})
        await a.send("b", "lost")
        await a.receive()
        with session.network.partition([a]):
            b.crash()
        b.restart()
        a.pause()
        a.resume()
        a.observe("leader", term=3)

    outcome = run_session(scenario, agents=["a", "b", "unseen"], schedule=Schedule.of({"deliver a→b #2": 1}))
    assert outcome.trace.render().splitlines() == [
        "                  a             b",
        "      1 ms         ├────────────>│   #1 message 'hello', sent 0 us",
        "                   ├────────────✗│   #2 message 'lost' LOST, sent 1 ms",
        "      2 ms         │<────────────┤   #1 message {'answer': 1}, sent 1 ms",
        "            ────────────────────────────  partition a | b, unseen began",
        "                   │             ✗   b: crash",
        "            ────────────────────────────  partition a | b, unseen healed",
        "                   │             ●   b: restart",
        "                   ‖             │   a: pause",
        "                   ▶             │   a: resume",
        "                   ◆             │   a: leader(term=3)",
    ]


def test_nothing_is_drawn_of_nothing():
    assert _drawn() == "(nothing to draw)"
    assert _drawn(TraceEvent(0, 0, "send", "a", Message("a", "b", 1))) == "(nothing to draw)"


def test_messages_of_other_channels_are_drawn_on_demand():
    event = TraceEvent(0, 0, "receive", "b", Message("a", "b", 1, "vote", 4, channel="pattern"))
    assert _drawn(event) == "(nothing to draw)"
    assert "#4 vote 1" in _drawn(event, channels=("pattern",))


def test_a_message_passes_the_lanes_between():
    event = TraceEvent(0, 0, "receive", "c", Message("a", "c", 1, "x", 1))
    other = TraceEvent(1, 0, "crash", "b")
    assert "├─────────────┼────────────>│" in _drawn(event, other, agents=("a", "b", "c"))


def test_a_message_to_oneself_stays_in_its_lane():
    assert "↻" in _drawn(TraceEvent(0, 0, "receive", "a", Message("a", "a", 1, "note", 1)))


def test_long_payloads_are_cut_and_facts_put_in_words():
    text = _drawn(
        TraceEvent(0, 0, "receive", "b", Message("a", "b", "x" * 100, "m", 1)),
        TraceEvent(1, 0, "decide", "a", None, {"value": 3}),
        TraceEvent(2, 0, "observe", "a", None, {"fact": "alone"}),
        TraceEvent(3, 0, "conflict", "b", None, "path"),
        TraceEvent(4, 0, "session", "b", None, None),
        TraceEvent(5, 0, "rule", "a", None, None),
    )
    assert f"{'x' * 30}…{'x' * 15}" in text
    for words in ("a: decide(value=3)", "a: alone", "b: conflict 'path'", "b: session"):
        assert words in text


def test_a_lane_stops_at_a_crash_and_is_dotted_while_its_agent_is_paused():
    other = [TraceEvent(number, 0, "observe", "b", None, {"fact": "x", "n": number}) for number in range(9)]
    text = _drawn(
        TraceEvent(0, 0, "observe", "a", None, {"fact": "y"}),
        TraceEvent(0, 0, "crash", "a"),
        other[0],
        TraceEvent(0, 0, "restart", "a"),
        other[1],
        TraceEvent(0, 0, "pause", "a"),
        other[2],
        TraceEvent(0, 0, "resume", "a"),
        other[3],
    )
    lanes = [line.split("◆")[0].strip() for line in text.splitlines() if "b: x" in line]
    assert lanes == ["", "│", "┆", "│"]


def test_messages_that_say_the_same_are_folded():
    beats = [
        TraceEvent(number, number, "receive", "b", Message("a", "b", None, "beat", number))
        for number in (1, 2, 3)
    ]
    other = TraceEvent(4, 4, "receive", "b", Message("a", "b", 1, "beat", 4))
    rows = _drawn(*beats, other).splitlines()[1:]
    assert [row.split("   ")[-1] for row in rows] == [
        "#1 beat None, sent 0 us (and 2 more like it)",
        "#4 beat 1, sent 0 us",
    ]


def test_the_oldest_rows_are_left_out_where_there_are_too_many():
    events = [TraceEvent(number, 0, "observe", "a", None, {"fact": f"f{number}"}) for number in range(5)]
    first, *rest = _drawn(TraceEvent(0, 0, "crash", "b"), *events, most=2).splitlines()
    assert first == "  … 4 earlier events are left out"
    assert [row.split()[-1] for row in rest[1:]] == ["f3", "f4"]
    assert all("│" not in row for row in rest[1:]), "b crashed before the first row that is shown"


def test_a_message_that_was_overtaken_says_by_which():
    async def sender(agent: SimulatedAgent) -> None:
        for number in range(3):
            await agent.send("b", number)
            await asyncio.sleep(0.01)

    async def receiver(agent: SimulatedAgent) -> None:
        async for _ in agent.inbox:
            pass

    session = ConvergenceEngine().create_session(
        "late",
        agents={"a": sender, "b": receiver},
        network="lossy",
        schedule=Schedule.of({"deliver a→b #1": 3 | 50_000_000 << 2}),
    )
    drawn = session.run().trace.render().splitlines()
    assert [line.split("   ")[-1] for line in drawn if "OVERTAKEN" in line] == [
        "#1 message 0, sent 0 us, OVERTAKEN by #3"
    ]


def _explained(*events: TraceEvent, notes: Notes | None = None, most: int | None = None) -> list[str]:
    return render(events, ("a", "b"), notes=notes or Notes(), most=most).splitlines()


def test_evidence_is_numbered_and_drawn_however_old_it_is():
    events = [TraceEvent(number, number, "observe", "a", None, {"fact": f"f{number}"}) for number in range(6)]
    rows = _explained(*events, most=2, notes=Notes({1: 1, 5: 2}))
    assert [row.split("   ")[-1].strip() for row in rows] == [
        "… 1 earlier event is left out",
        "a",
        "a: f1 ⏱ after 1 ns  ◀①",
        "… 2 earlier events are left out",
        "a: f4 ⏱ after 1 ns",
        "a: f5 ⏱ after 1 ns  ◀②",
        "key: ◆ what an agent says of itself; ⏱ woken by time (timer, sleep, timeout)",
    ]


def test_what_a_way_of_synchronising_keeps_account_of_is_drawn_only_where_it_proves_something():
    of_the_system = {"fact": "joined", "way": "delta", "seen": {}}
    events = [
        TraceEvent(0, 0, "observe", "a", None, of_the_system),
        TraceEvent(1, 1, "observe", "b", None, {"fact": "joined", "room": "hall"}),
        TraceEvent(2, 2, "observe", "b", None, of_the_system),
    ]
    assert [row.partition("joined")[2] for row in _explained(*events) if "joined" in row] == ["(room='hall')"]
    assert sum("joined" in row for row in _explained(*events, notes=Notes({2: 1}))) == 2


def test_the_key_explains_what_is_drawn_and_what_is_not():
    events = (
        TraceEvent(1, 1, "receive", "b", Message("a", "b", 1, "say", 1)),
        TraceEvent(2, 1, "receive", "b", Message("a", "b", 1, "ack", 2, channel="ack")),
        TraceEvent(3, 2, "crash", "b"),
    )
    assert _explained(*events, notes=Notes(hidden=4))[-2:] == [
        "key: ├──> message, where it arrives; ✗ crash, or message lost",
        "not drawn: 5 messages that nobody concerned could know of, or of other kinds",
    ]


def test_what_time_has_woken_says_so_and_how_long_it_had_waited():
    said = Message("a", "b", 1, "say", 1, sent_at_ns=9_000_000, uid=7)
    events = (
        TraceEvent(0, 0, "start", "a"),
        TraceEvent(1, 0, "observe", "a", None, {"fact": "asks"}),
        TraceEvent(2, 9_000_000, "observe", "a", None, {"fact": "gives up"}),
        TraceEvent(3, 9_000_000, "send", "a", said),
        TraceEvent(4, 9_500_000, "receive", "b", said),
        TraceEvent(5, 9_500_000, "observe", "b", None, {"fact": "hears"}),
        TraceEvent(6, 9_600_000, "stall", "b", None, {"step": 3, "us": 100}),
        TraceEvent(7, 9_700_000, "observe", "b", None, {"fact": "goes on"}),
    )
    assert [row.split("   ")[-1] for row in _explained(*events)[1:-1]] == [
        "a: asks",
        "a: gives up ⏱ after 9 ms",
        "#1 say 1, sent 9 ms ⏱",
        "b: hears",
        "b: goes on",
    ]


def test_what_is_told_beside_a_trace_is_drawn_at_its_place() -> None:
    events = [
        TraceEvent(0, 0, "start", "a"),
        TraceEvent(1, 1_000_000, "cancel", "a", None, {"task": "a/b", "step": 1}),
        TraceEvent(2, 2_000_000, "error", "a", None, "ValueError: seven\nof nine"),
        TraceEvent(3, 3_000_000, "error", "b", None, "KeyError: "),
        TraceEvent(4, 4_000_000, "error", "b", None, None),
    ]
    asides = [Aside(3, 2_000_000, "a", "late"), Aside(2, 1_000_000, "a", "cancelled here", instead=True)]
    drawn = [" ".join(line.split()) for line in render(with_asides(events, asides), ["a", "b"]).splitlines()]
    assert drawn == [
        "a b",
        "1 ms ✂ │ a: cancelled here",
        "2 ms ! │ a: ValueError: seven",
        "✂ │ a: late",
        "3 ms │ ! b: KeyError",
        "4 ms │ ! b: error",
    ]
    assert [event.index for event in with_asides(events, asides, until=1)] == [0, 1, 2, 3, 4]


def test_a_packet_is_told_with_its_connection_however_long_it_is() -> None:
    packet = Packet("data", ("10.0.0.1", 32768), ("10.0.0.2", 80), 0, b"x" * 100, 1)
    message = Message("a", "b", packet, "tcp data", number=1, uid=1, channel="net")
    drawn = render([TraceEvent(0, 1_000_000, "receive", "b", message)], ["a", "b"], channels=["net"])
    assert "#1 tcp data :32768 → :80 100 bytes b'xxxxxxxxxxxxxxxxxxx… (sent again, 1), sent" in drawn
    assert repr(Packet("reset", ("10.0.0.2", 80), ("10.0.0.1", 32768))) == ":80 → :32768"

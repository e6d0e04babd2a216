"""Hosting protocol machines: timers, storage, messages, lives."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import (
    CancelTimer,
    Decide,
    Effect,
    Observe,
    Persist,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.conduct import Conduct
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError, PropertyViolation
from tests.unit.run.test_failures import Quiet
from tests.unit.sim.harness import run_session

SECOND = 10**9


def conduct_of(session: Session) -> Conduct:
    assert session._conduct is not None
    return session._conduct


def events_of(outcome: Any, *kinds: str) -> list[tuple[float, str, str, Any]]:
    return [
        (event.at, event.agent, event.kind, event.detail) for event in outcome.trace if event.kind in kinds
    ]


class Timers(Quiet):
    """Sets the timers that ``plan`` lists, by what happens: start, or the firing of a timer."""

    plan: Mapping[str, Iterable[Effect]] = {}

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        return self.plan.get("start", ())

    def on_timer(self, name: str) -> Iterable[Effect]:
        return self.plan.get(name, ())


def timers(**plan: Iterable[Effect]) -> type[Timers]:
    return type("Planned", (Timers,), {"plan": plan})


def fired(outcome: Any) -> list[tuple[float, str]]:
    return [(at, detail) for at, _, _, detail in events_of(outcome, "timer")]


def test_timers_fire_in_order_at_their_time():
    machine = timers(start=[SetTimer("b", 2 * SECOND), SetTimer("a", SECOND)])
    assert fired(run_session(agents={"m": machine})) == [(1, "a"), (2, "b")]


def test_arming_an_armed_name_replaces_it():
    machine = timers(start=[SetTimer("a", SECOND), SetTimer("a", 3 * SECOND)])
    assert fired(run_session(agents={"m": machine})) == [(3, "a")]


def test_a_cancelled_timer_does_not_fire_nor_keep_the_world_awake():
    machine = timers(
        start=[SetTimer("a", 100 * SECOND), SetTimer("b", SECOND), CancelTimer("never armed")],
        b=[CancelTimer("a")],
    )
    outcome = run_session(agents={"m": machine})
    assert fired(outcome) == [(1, "b")]
    assert outcome.duration == 1


def test_a_timer_can_arm_itself_again():
    class Ticks(Quiet):
        ticks = 0

        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            return [SetTimer("tick", SECOND)]

        def on_timer(self, name: str) -> Iterable[Effect]:
            self.ticks += 1
            return [SetTimer("tick", SECOND)] if self.ticks < 3 else ()

    assert fired(run_session(agents={"m": Ticks})) == [(1, "tick"), (2, "tick"), (3, "tick")]


def test_a_background_timer_does_not_keep_the_world_awake():
    machine = timers(
        start=[SetTimer("beat", SECOND, background=True), SetTimer("work", 3 * SECOND + 1)],
        beat=[SetTimer("beat", SECOND, background=True)],
    )
    outcome = run_session(agents={"m": machine})
    assert [name for _, name in fired(outcome)][:4] == ["beat", "beat", "beat", "work"]
    assert outcome.duration < 4


def test_many_disarmed_timers_are_swept_out():
    class Rearms(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            for _ in range(5_000):
                yield SetTimer("election", 1_000 * SECOND, background=True)
                yield SetTimer("retry", 1_000 * SECOND)
            yield CancelTimer("retry")
            yield SetTimer("soon", SECOND)

    sizes = []

    async def scenario(session: Session) -> None:
        world = conduct_of(session).world
        await session.sleep(2)
        sizes.append(len(world.events))
        assert world.background == len(world.events)

    run_session(scenario, agents={"m": Rearms})
    assert sizes[0] < 250


def test_timers_of_a_dead_life_neither_fire_nor_keep_the_world_awake():
    machine = timers(start=[SetTimer("long", 1_000 * SECOND)])

    async def crashes(agent: Any) -> None:
        await asyncio.sleep(5)
        agent.session.agents["m"].crash()

    outcome = run_session(agents={"m": machine, "c": crashes})
    assert fired(outcome) == []
    assert outcome.duration == 5


def test_a_timer_that_came_due_while_its_node_was_paused_fires_when_it_goes_on():
    machine = timers(start=[SetTimer("a", SECOND)])

    async def scenario(session: Session) -> None:
        agent = session.agents["m"]
        agent.pause()
        await session.sleep(5)
        agent.resume()
        await session.sleep(1)

    assert fired(run_session(scenario, agents={"m": machine})) == [(5, "a")]


def test_a_timer_that_came_due_in_a_pause_is_lost_in_a_crash_and_nothing_miscounts():
    machine = timers(start=[SetTimer("a", SECOND), SetTimer("b", SECOND, background=True)])

    async def scenario(session: Session) -> None:
        agent = session.agents["m"]
        agent.pause()
        await session.sleep(5)
        agent.crash()
        world = conduct_of(session).world
        assert world.background == world.inert == len(world.events) == 0
        await session.sleep(1)

    outcome = run_session(scenario, agents={"m": machine})
    assert fired(outcome) == []
    assert outcome.converged


def test_under_calm_each_rank_has_its_own_place_in_a_spread():
    machine = timers(start=[SetTimer("t", SECOND, spread_ns=64 * SECOND)])
    outcome = run_session(agents={"a": machine, "b": machine, "c": machine})
    assert [(at, agent) for at, agent, _, _ in events_of(outcome, "timer")] == [
        (1, "a"),
        (22, "b"),
        (43, "c"),
    ]


def test_a_schedule_chooses_inside_the_spread():
    machine = timers(start=[SetTimer("t", SECOND, spread_ns=64 * SECOND)])
    outcome = run_session(agents={"a": machine}, schedule=Schedule.of({"timer a/t #1": 10}))
    assert fired(outcome) == [(11, "t")]


def test_a_clock_that_drifts_makes_timers_early_or_late():
    class Late(Quiet):
        def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
            return [SetTimer("t", SECOND)]

    async def scenario(session: Session) -> None:
        session.agents["fast"].skew_clock(drift=1.0)
        session.agents["slow"].skew_clock(drift=-0.5)
        for name in ("fast", "slow"):
            await session.agents["starter"].send(name, None)
        await session.sleep(5)

    outcome = run_session(scenario, agents={"fast": Late, "slow": Late, "starter": None})
    assert [(round(at, 9), agent) for at, agent, _, _ in events_of(outcome, "timer")] == [
        (0.501, "fast"),
        (2.001, "slow"),
    ]


class Keeper(Quiet):
    """Counts its lives durably."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        lives = durable.get("lives", 0) + 1
        return [
            Persist("lives", lives),
            Sync(),
            Persist("unsynced", lives),
            Observe("life", {"number": lives, **durable}),
        ]


def test_a_machine_is_made_anew_with_what_was_synced():
    async def scenario(session: Session) -> None:
        for _ in range(2):
            session.agents["m"].crash()
            session.agents["m"].restart()
            await session.sleep(1)

    outcome = run_session(scenario, agents={"m": Keeper})
    facts = [detail for _, _, _, detail in events_of(outcome, "observe")]
    assert facts == [
        {"fact": "life", "number": 1},
        {"fact": "life", "number": 2, "lives": 1},
        {"fact": "life", "number": 3, "lives": 2},
    ]


def test_a_decision_is_forgotten_with_the_life_that_made_it():
    machine = timers(start=[Decide("yes")])

    async def scenario(session: Session) -> list[Any]:
        host = conduct_of(session).cast.user_hosts["m"]
        seen = [(host.decided, host.decision)]
        session.agents["m"].crash()
        seen.append((host.decided, host.decision))
        return seen

    assert run_session(scenario, agents={"m": machine}).output == [(True, "yes"), (False, None)]


def test_a_send_before_a_sync_is_noticed():
    class Early(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            return [Persist("k", 1), Send("b", "hello", None), Sync(), Send("b", "hello", None)]

    with pytest.raises(
        PropertyViolation, match="a sent 'hello' to b before its own writes were synced"
    ) as caught:
        run_session(agents={"a": Early, "b": Quiet})
    assert events_of(caught.value.outcome, "observe")[0][3] == {
        "fact": "unsynced_send",
        "to": "b",
        "kind": "hello",
        "channel": "user",
    }


def test_the_plain_parts_of_a_send_stand_for_it():
    got = []

    def machine(form: Any) -> type[Quiet]:
        class Speaks(Quiet):
            def on_start(self, durable: Mapping[str, Any]) -> Iterable[Any]:
                return [form("b", "hello", [1])]

            def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Any]:
                return (
                    [] if len(payload) > 1 else [form(sender, "back", [*payload, 2]), form(sender, "on", 3)]
                )

        return Speaks

    class Answers(Quiet):
        def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Any]:
            got.append((sender, kind, payload))
            return [(sender, kind, payload)] if kind == "hello" else []

    digests = []
    for form in (Send, lambda *parts: parts):
        outcome = run_session(agents={"a": machine(form), "b": Answers})
        digests.append(outcome.trace.digest())
    assert digests[0] == digests[1]
    assert got[:3] == [("a", "hello", [1]), ("a", "back", [1, 2]), ("a", "on", 3)]


@pytest.mark.parametrize("effect", [("b", "hello"), ("b", "hello", 1, 2), (), "b"])
@pytest.mark.parametrize("when", ["on_start", "on_message"])
def test_what_is_no_effect_is_named(effect: Any, when: str):
    class Wrong(Quiet):
        pass

    setattr(Wrong, when, lambda self, *event: [effect])

    async def scenario(session: Session) -> None:
        await session.agents["s"].send("m", "go")
        await session.sleep(1)

    with pytest.raises(
        AgentError, match="which is no effect; effects are Send .or a plain tuple of its three"
    ) as caught:
        run_session(scenario, agents={"m": Wrong, "s": None})
    assert f"the machine of m returned {effect!r}" in str(caught.value)


def test_messages_to_a_paused_machine_wait_in_order():
    class Logs(Quiet):
        def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
            return [Observe("got", {"payload": payload})]

    async def scenario(session: Session) -> None:
        m, s = session.agents["m"], session.agents["s"]
        m.pause()
        for number in range(5):
            await s.send("m", number)
            await session.sleep(0.01)
        m.resume()
        await session.sleep(1)

    outcome = run_session(scenario, agents={"m": Logs, "s": None})
    assert [detail["payload"] for _, _, _, detail in events_of(outcome, "observe")] == list(range(5))


def test_a_payload_that_a_machine_changes_after_sending_does_not_change_under_way():
    class Mutates(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            payload = [1]
            yield Send("b", "list", payload)
            payload.append(2)

    class Logs(Quiet):
        def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
            return [Observe("got", {"payload": payload})]

    outcome = run_session(agents={"a": Mutates, "b": Logs})
    assert [detail["payload"] for _, _, _, detail in events_of(outcome, "observe")] == [[1]]


def test_a_machine_that_sends_to_nobody_there_is_its_agents_error():
    class Lost(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
            return [Send("nobody", "hello", None)]

    with pytest.raises(AgentError, match="agent 'a' raised .*nobody"):
        run_session(agents={"a": Lost})


def test_a_machine_may_return_none_for_nothing():
    class Silent(Quiet):
        def on_start(self, durable: Mapping[str, Any]) -> Any:
            return [SetTimer("t", SECOND)] if self.name == "a" else None

        def on_timer(self, name: str) -> Any:
            return [Send("b", "hello", None)]

        def on_message(self, sender: str, kind: str, payload: Any) -> Any:
            return None

    assert run_session(agents={"a": Silent, "b": Silent}).metrics.sent == 1

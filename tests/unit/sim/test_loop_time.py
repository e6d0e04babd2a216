"""Virtual time on the loop: timers, their order, how they end, and when time may move."""

import asyncio
import contextlib
import math
from collections.abc import Iterable
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import Effect, Send
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.loop import WorldLoop
from pytest_convergence.errors import BudgetExceeded, DeadlockError, LivelockError
from tests.unit.run.test_failures import Quiet
from tests.unit.sim.harness import run_session, running_loop, simulate


def test_sleeping_takes_virtual_time_only():
    async def main() -> float:
        await asyncio.sleep(3600)
        return running_loop().time()

    assert simulate(main) == 3600


def test_timers_fire_in_the_order_of_their_time():
    async def main() -> list[Any]:
        loop, log = running_loop(), []
        loop.call_later(3, log.append, "third")
        loop.call_at(2, log.append, "second")
        loop.call_later(1, log.append, "first")
        await asyncio.sleep(4)
        return log

    assert simulate(main) == ["first", "second", "third"]


def test_timers_of_the_same_time_fire_in_the_order_in_which_they_were_set():
    async def main() -> list[int]:
        loop, log = running_loop(), []
        for number in range(20):
            (loop.call_later if number % 2 else loop.call_at)(1, log.append, number)
        await asyncio.sleep(2)
        return log

    assert simulate(main) == list(range(20))


def test_timers_of_the_same_time_all_become_ready_before_any_of_them_runs():
    async def main() -> list[str]:
        loop, log = running_loop(), []
        loop.call_later(1, lambda: (log.append("a"), loop.call_soon(log.append, "after a")))
        loop.call_later(1, log.append, "b")
        await asyncio.sleep(2)
        return log

    assert simulate(main) == ["a", "b", "after a"]


@pytest.mark.parametrize("by", ["call_later", "call_at"])
def test_a_program_that_waits_for_a_deadline_between_two_nanoseconds_waits_no_more_than_twice(by: str):
    async def main() -> tuple[int, float]:
        loop, waits, deadline = running_loop(), 0, 1.3719901234567
        while loop.time() < deadline:
            waits += 1
            if by == "call_later":
                await asyncio.sleep(deadline - loop.time())
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await asyncio.Event().wait()
        return waits, loop.time()

    waits, now = simulate(main)
    assert waits <= 2
    assert now == pytest.approx(1.371990124, abs=2e-9)


def test_many_timers_of_one_instant_are_not_torn_apart():
    async def main() -> list[int]:
        loop, log = running_loop(), []
        for number in range(5_000):
            loop.call_later(1, log.append, number)
            if number % 500 == 0:
                loop.call_later(1, loop.call_soon, log.append, -number)
        await asyncio.sleep(2)
        return log

    log = simulate(main)
    assert log[:5_000] == list(range(5_000))
    assert log[5_000:] == [-number for number in range(0, 5_000, 500)]


def test_a_timer_knows_when_it_is_due():
    async def main() -> list[float]:
        loop = running_loop()
        await asyncio.sleep(1.5)
        return [loop.call_later(2, print).when(), loop.call_at(7, print).when()]

    assert simulate(main) == [3.5, 7]


def test_a_timer_in_the_past_fires_in_the_next_turn_and_does_not_turn_time_back():
    async def main() -> list[Any]:
        loop, log = running_loop(), []
        await asyncio.sleep(5)
        loop.call_at(1, lambda: log.append(loop.time()))
        loop.call_later(-3, lambda: log.append(loop.time()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return log

    assert simulate(main) == [5, 5]


def test_a_cancelled_timer_does_not_hold_the_world_awake():
    async def main() -> None:
        running_loop().call_later(100, print).cancel()
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="at virtual time 0 s"):
        simulate(main)


def test_a_cancelled_timer_does_not_let_time_jump_to_it():
    async def main() -> float:
        loop = running_loop()
        loop.call_later(100, print).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert simulate(main) == 1


def test_cancelled_timers_are_swept_out():
    async def main() -> int:
        loop = running_loop()
        for _ in range(10_000):
            loop.call_later(1000, print).cancel()
        await asyncio.sleep(1)
        return len(loop.world.events)

    assert simulate(main) < 250


def test_sweeping_keeps_the_account_of_what_is_awaited():
    async def main() -> tuple[int, float]:
        loop = running_loop()
        timers = [loop.call_later(1000 + number, print) for number in range(300)]
        keeper = loop.call_later(5, print)
        for timer in timers:
            timer.cancel()
        await asyncio.sleep(1)
        background = loop.world.background
        keeper.cancel()
        return background - len(loop.world.events), loop.time()

    # Nothing is left but cancelled timers, so all events that are left count as background.
    assert simulate(main) == (-1, 1)


def test_a_timer_that_has_fired_can_be_cancelled_without_upsetting_the_account():
    async def main() -> int:
        loop = running_loop()
        fired = loop.call_later(1, lambda: None)
        due = loop.call_later(2, lambda: None)
        loop.call_later(2, due.cancel)  # due is ready by then, but has not run
        await asyncio.sleep(3)
        fired.cancel()
        return loop.world.background

    assert simulate(main) == 0


def test_a_sleep_without_end_never_ends():
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(math.inf)
        return running_loop().time()

    assert simulate(main) == 5


def test_waiting_for_a_sleep_without_end_is_a_deadlock():
    async def main() -> None:
        await asyncio.sleep(math.inf)

    with pytest.raises(DeadlockError):
        simulate(main)


def test_a_timer_at_minus_infinity_is_due_at_once():
    async def main() -> list[str]:
        loop, log = running_loop(), []
        loop.call_later(-math.inf, log.append, "later")
        loop.call_at(-math.inf, log.append, "at")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return log

    assert simulate(main) == ["later", "at"]


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_a_timer_needs_a_time(method: str):
    async def main() -> None:
        getattr(running_loop(), method)(None, print)

    with pytest.raises(TypeError):
        simulate(main)


def test_a_timeout_expires_at_its_virtual_instant():
    async def main() -> list[float]:
        loop, log = running_loop(), []
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 2.5)
            log.append(loop.time())
        return log

    assert simulate(main) == [2.5, 5]


def test_a_timeout_can_be_moved():
    async def main() -> float:
        loop = running_loop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100) as timeout:
                timeout.reschedule(loop.time() + 3)
                await asyncio.Event().wait()
        return loop.time()

    assert simulate(main) == 3


def test_time_does_not_move_while_something_is_ready():
    async def main() -> list[float]:
        loop, times = running_loop(), []
        loop.call_later(1, lambda: None)
        for _ in range(3_000):
            await asyncio.sleep(0)
        times.append(loop.time())
        return times

    assert simulate(main) == [0]


def test_code_that_polls_the_clock_makes_it_move():
    async def main() -> int:
        loop, polls = running_loop(), 0
        while loop.time() < 0.01:
            polls += 1
        return polls

    assert 10_000 <= simulate(main) <= 12_000


def test_the_loop_stops_after_the_turn_in_which_it_was_told_to():
    loop = _bare_loop()
    log: list[str] = []
    loop.call_soon(lambda: (log.append("stops"), loop.stop(), loop.call_soon(log.append, "next turn")))
    loop.call_soon(log.append, "same turn")
    loop.run_forever()
    assert log == ["stops", "same turn"]
    loop.stop()
    loop.run_forever()
    assert log == ["stops", "same turn", "next turn"]
    loop.close()


def test_a_loop_that_was_stopped_before_it_runs_runs_one_turn_and_leaves_time_alone():
    loop = _bare_loop()
    log: list[str] = []
    loop.call_later(10, log.append, "later")
    loop.call_later(0, log.append, "due")
    loop.call_soon(log.append, "soon")
    loop.stop()
    loop.run_forever()
    assert log == ["soon", "due"]
    assert loop.world.now_ns == 0
    loop.close()


def test_a_loop_that_was_stopped_does_not_go_on_to_the_next_event():
    loop = _bare_loop()
    log: list[str] = []
    loop.world.at(0, log.append, "due")
    loop.world.at(10, log.append, "later")
    loop.stop()
    loop.run_forever()
    assert (log, loop.world.now_ns) == (["due"], 0)
    loop.close()


def test_events_go_on_without_anything_that_is_ready_up_to_the_limit_of_time():
    loop = _bare_loop()
    world, log, failed = loop.world, [], []

    def happens(number: int) -> None:
        log.append((world.now_ns, number))
        world.at(world.now_ns + 10, happens, number + 1)

    world.timeout_ns = 35
    world.fail = lambda error: (failed.append(str(error)), loop.stop())
    world.at(10, happens, 1)
    loop.run_forever()
    assert log == [(10, 1), (20, 2), (30, 3)]
    assert "virtual time budget" in failed[0]
    assert world.now_ns == 35
    loop.close()


def test_time_does_not_jump_when_the_end_of_the_work_has_made_something_ready():
    loop = _bare_loop()
    world, ended = loop.world, loop.create_future()
    world.at_background(10**9, lambda _: None, None)

    def idle() -> bool:
        ended.set_result(world.now_ns)
        return True

    world.idle = idle
    assert loop.run_until_complete(ended) == 0
    assert world.now_ns == 0
    loop.close()


def test_the_budget_of_events_is_exact_to_a_turn():
    async def main() -> None:
        for _ in range(500):
            await asyncio.sleep(0)

    with pytest.raises(BudgetExceeded, match="max_events=50"):
        simulate(main, max_events=50)
    simulate(main, max_events=510)


def test_the_budget_of_virtual_time_ends_a_run_before_the_next_event():
    log: list[str] = []

    async def main() -> None:
        await asyncio.sleep(5)
        log.append("in time")
        await asyncio.sleep(5.1)
        log.append("too late")

    with pytest.raises(BudgetExceeded, match="timeout=10 seconds"):
        simulate(main, timeout=10)
    assert log == ["in time"]


def test_what_happens_at_the_very_end_of_the_budget_still_happens():
    async def main() -> float:
        await asyncio.sleep(10)
        return running_loop().time()

    assert simulate(main, timeout=10) == 10


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a livelock sooner than after a million steps."""
    monkeypatch.setattr("pytest_convergence._engine.sim.world._LIVELOCK_STEPS", 20_000)
    monkeypatch.setattr("pytest_convergence._engine.sim.loop._EVENTS_PER_INSTANT", 5_000)


@pytest.mark.usefixtures("impatient")
def test_steps_without_end_at_one_instant_are_a_livelock():
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError, match="20,000 steps"):
        simulate(main)


@pytest.mark.usefixtures("impatient")
def test_messages_without_latency_that_chase_each_other_are_a_livelock():
    class Echo(Quiet):
        def on_start(self, durable: Any) -> Iterable[Effect]:
            return [Send("b", "ping", None)] if self.name == "a" else ()

        def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
            return [Send(sender, kind, payload)]

    with pytest.raises(LivelockError):
        run_session(agents={"a": Echo, "b": Echo}, network=Network(latency=0), trace=False)


def _bare_loop() -> WorldLoop:
    from pytest_convergence._engine.run.hosting import make_loop
    from pytest_convergence._engine.run.options import SessionOptions

    return make_loop(0, SessionOptions())


def test_a_bare_loop_with_nothing_to_do_says_so_instead_of_spinning():
    loop = _bare_loop()
    with pytest.raises(DeadlockError):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()

"""A recorded run knows which tasks of the programs were cancelled, by whom, and where they waited."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from pytest_convergence import ConvergenceEngine, Outcome
from pytest_convergence._engine.base.trace import Aside

Main = Callable[[], Awaitable[object]]


def cancelled(main: Main, *, is_recorded: bool = True) -> tuple[list[Aside], Outcome]:
    """Run a program on a host; return what is told of its cancellations."""
    session = ConvergenceEngine().create_session("test")
    session.is_recorded = is_recorded
    session.host("host", main)
    outcome = session.run()
    assert session._conduct is not None
    return session._conduct.ending.asides, outcome


async def waits() -> None:
    await asyncio.sleep(9)


async def gives_up() -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await waits()


def test_of_a_timeout_it_is_told_what_it_has_interrupted() -> None:
    (aside,), _ = cancelled(gives_up)
    assert (aside.at_ns, aside.agent) == (1_000_000_000, "host")
    assert aside.words.startswith("cancelled by asyncio.timeout at test_cancellations.py:")
    assert aside.words.endswith(": await asyncio.sleep(9)")


def test_the_trace_is_the_same_whether_somebody_listens_or_not() -> None:
    heard, recorded = cancelled(gives_up)
    unheard, plain = cancelled(gives_up, is_recorded=False)
    assert heard
    assert not unheard
    assert recorded.trace.digest() == plain.trace.digest()


async def looks_for_a_moment() -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await waits()


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waits()


@pytest.mark.parametrize("main", [looks_for_a_moment, cancels_itself])
def test_a_look_that_takes_no_time_and_a_task_that_cancels_itself_are_nobodys_interruption(
    main: Main,
) -> None:
    assert cancelled(main)[0] == []


async def hangs_up_twice() -> None:
    task = asyncio.create_task(lets_go_slowly())
    await asyncio.sleep(1)
    task.cancel()
    task.cancel()
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])


async def lets_go_slowly() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await waits()
    await asyncio.gather(waits(), waits())


def test_who_cancels_again_at_the_same_instant_and_what_that_cancels_in_turn_are_not_told_again() -> None:
    told, _ = cancelled(hangs_up_twice)
    assert [aside.at_ns for aside in told] == [1_000_000_000, 2_000_000_000]
    assert [aside.words.partition(": ")[2] for aside in told] == [
        "await asyncio.sleep(9)",
        "await asyncio.gather(waits(), waits())",
    ]
    assert told[0].words.startswith("cancelled by hangs_up_twice (")


async def starts_and_is_over() -> None:
    asyncio.create_task(waits())  # noqa: RUF006 - nobody waits for it: the end of the run cancels it
    await asyncio.sleep(1)


def test_what_the_end_of_the_run_cancels_is_not_told() -> None:
    assert cancelled(starts_and_is_over)[0] == []


async def is_cancellable() -> None:
    task = asyncio.create_task(waits())
    await asyncio.wait([task])


@pytest.mark.parametrize(("option", "at_ns"), [(1, 0), (1_001, 1_000_000)])
def test_what_a_schedule_cancels_is_told_in_place_of_the_event(option: int, at_ns: int) -> None:
    from pytest_convergence import Schedule

    session = ConvergenceEngine().create_session(
        "test", schedule=Schedule.of({"cancel host/waits #1": option})
    )
    session.is_recorded = True
    session.host("host", is_cancellable, cancel="waits")
    trace = session.run().trace
    assert session._conduct is not None
    (aside,) = session._conduct.ending.asides
    (event,) = [event for event in trace if event.kind == "cancel"]
    assert (aside.at_ns, aside.before, aside.instead) == (at_ns, event.index + 1, True)
    assert aside.words.startswith("cancelled by the schedule at test_cancellations.py:")

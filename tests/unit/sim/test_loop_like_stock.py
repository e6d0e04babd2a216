"""One body, run on the simulated loop and on CPython's own: what happens, and in which order, is the same.

No body waits for time to pass, so the stock loop does not either.
"""

import asyncio
import contextvars
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest

from tests.unit.sim.harness import on_stock_loop, simulate

Body = Callable[[], Coroutine[Any, Any, Any]]
BODIES: list[Body] = []


def body(function: Body) -> Body:
    BODIES.append(function)
    return function


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@body
async def callbacks_run_in_the_order_in_which_they_were_scheduled() -> list[Any]:
    loop, log = asyncio.get_running_loop(), []
    for number in range(5):
        loop.call_soon(log.append, number)
    await turns(1)
    return log


@body
async def a_callback_that_is_scheduled_by_a_callback_runs_in_the_next_turn() -> list[Any]:
    loop, log = asyncio.get_running_loop(), []
    loop.call_soon(lambda: (log.append("first"), loop.call_soon(log.append, "nested")))
    loop.call_soon(log.append, "second")
    await turns(3)
    return log


@body
async def timers_that_are_due_join_the_end_of_what_is_ready() -> Any:
    loop, log = asyncio.get_running_loop(), []
    loop.call_later(0, log.append, "timer")
    loop.call_at(loop.time() - 1, log.append, "past timer")
    loop.call_soon(log.append, "soon")
    await turns(3)
    return sorted(log[1:]), log[0]


@body
async def what_a_timer_schedules_runs_after_a_timer_that_was_due_with_it() -> list[Any]:
    loop, log = asyncio.get_running_loop(), []
    due, done = loop.time(), loop.create_future()
    loop.call_at(due, lambda: (log.append("first"), loop.call_soon(log.append, "by the first")))
    loop.call_at(due, lambda: (log.append("second"), done.set_result(None)))
    await done  # nothing else is ready: the timers come straight from the heap
    log.append("after")
    return log


@body
async def a_cancelled_callback_does_not_run() -> list[Any]:
    loop, log = asyncio.get_running_loop(), []
    handle = loop.call_soon(log.append, "cancelled")
    timer = loop.call_later(0, log.append, "cancelled timer")
    handle.cancel()
    timer.cancel()
    await turns(3)
    return [log, handle.cancelled(), timer.cancelled()]


@body
async def a_callback_sees_the_context_it_was_given() -> list[Any]:
    variable = contextvars.ContextVar("variable", default="outside")
    context = contextvars.copy_context()
    context.run(variable.set, "inside")
    loop, log = asyncio.get_running_loop(), []
    loop.call_soon(lambda: log.append(variable.get()), context=context)
    loop.call_soon(lambda: log.append(variable.get()))
    loop.call_later(0, lambda: log.append(variable.get()), context=context)
    await turns(3)
    return log


@body
async def an_exception_in_a_callback_goes_to_the_exception_handler() -> list[Any]:
    loop, log = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: log.append(repr(context["exception"])))

    def fails() -> None:
        raise ValueError("in a callback")

    loop.call_soon(fails)
    loop.call_soon(log.append, "next")
    loop.call_later(0, fails)
    await turns(3)
    return log


@body
async def tasks_take_turns() -> list[Any]:
    log: list[Any] = []

    async def worker(name: str) -> None:
        for step in range(3):
            log.append((name, step))
            await asyncio.sleep(0)

    await asyncio.gather(worker("a"), worker("b"), worker("c"))
    return log


@body
async def gather_returns_results_in_order_and_collects_exceptions() -> list[Any]:
    async def fails() -> None:
        raise KeyError("k")

    async def works(value: int) -> int:
        await turns(3 - value)
        return value

    results = await asyncio.gather(works(0), fails(), works(2), return_exceptions=True)
    return [repr(result) for result in results]


@body
async def cancelling_a_gather_cancels_its_children() -> list[Any]:
    log: list[Any] = []

    async def child(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            log.append(name)

    gathering = asyncio.ensure_future(asyncio.gather(child("a"), child("b")))
    await turns(2)
    gathering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathering
    return log


@body
async def shield_keeps_the_inner_task_running() -> list[Any]:
    log: list[Any] = []

    async def inner() -> None:
        await turns(4)
        log.append("inner done")

    task = asyncio.create_task(inner())
    outer = asyncio.ensure_future(asyncio.shield(task))
    await turns(1)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    log.append("outer cancelled")
    await task
    return log


@body
async def wait_returns_when_the_first_has_completed() -> list[Any]:
    async def after(count: int) -> int:
        await turns(count)
        return count

    tasks = [asyncio.create_task(after(count)) for count in (5, 2, 9)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    result = [[task.result() for task in done], len(pending)]
    await asyncio.wait(pending)
    return result


@body
async def wait_returns_at_the_first_exception() -> list[Any]:
    async def fails() -> None:
        await turns(2)
        raise ValueError("first")

    tasks = [asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(fails())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    result = [[repr(task.exception()) for task in done], len(pending)]
    for task in pending:
        task.cancel()
    return result


@body
async def as_completed_yields_in_the_order_of_completion() -> list[Any]:
    async def after(count: int) -> int:
        await turns(count)
        return count

    return [await each for each in asyncio.as_completed([after(9), after(3), after(6)])]


@body
async def a_task_group_waits_for_all_and_reports_every_failure() -> list[Any]:
    log: list[Any] = []

    async def fails(text: str) -> None:
        await turns(1)
        raise ValueError(text)

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(fails("one"))
            group.create_task(fails("two"))
    except* ValueError as errors:
        log.append(sorted(str(error) for error in errors.exceptions))
    return log


@body
async def an_event_wakes_its_waiters_in_order() -> list[Any]:
    event, log = asyncio.Event(), []

    async def waiter(name: str) -> None:
        await event.wait()
        log.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(waiter(name))
        await turns(2)
        log.append("set")
        event.set()
    return log


@body
async def a_lock_is_fair() -> list[Any]:
    lock, log = asyncio.Lock(), []

    async def worker(name: str) -> None:
        for _ in range(2):
            async with lock:
                log.append(name)
                await asyncio.sleep(0)

    await asyncio.gather(worker("a"), worker("b"), worker("c"))
    return log


@body
async def a_condition_hands_over_one_by_one() -> list[Any]:
    condition, log = asyncio.Condition(), []

    async def consumer(name: str) -> None:
        async with condition:
            await condition.wait()
            log.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(consumer(name))
        await turns(2)
        for count in (1, 2):
            async with condition:
                condition.notify(count)
            await turns(6)
            log.append("|")
    return log


@body
async def a_semaphore_admits_so_many() -> list[Any]:
    semaphore, log = asyncio.Semaphore(2), []

    async def worker(name: str) -> None:
        async with semaphore:
            log.append("+" + name)
            await turns(2)
            log.append("-" + name)

    await asyncio.gather(*(worker(name) for name in "abcd"))
    return log


@body
async def a_barrier_lets_everybody_through_together() -> list[Any]:
    barrier, log = asyncio.Barrier(3), []

    async def worker(name: str, count: int) -> None:
        await turns(count)
        log.append("wait " + name)
        place = await barrier.wait()
        log.append(f"through {name} {place}")

    await asyncio.gather(worker("a", 1), worker("b", 5), worker("c", 3))
    return log


@body
async def a_bounded_queue_blocks_and_joins() -> list[Any]:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)
    log: list[Any] = []

    async def producer() -> None:
        for number in range(5):
            await queue.put(number)
            log.append(("put", number))

    async def consumer() -> None:
        while True:
            number = await queue.get()
            log.append(("got", number))
            queue.task_done()

    consuming = asyncio.create_task(consumer())
    await producer()
    await queue.join()
    consuming.cancel()
    return log


@body
async def priority_and_lifo_queues_order_their_items() -> list[Any]:
    priority: asyncio.PriorityQueue[int] = asyncio.PriorityQueue()
    lifo: asyncio.LifoQueue[int] = asyncio.LifoQueue()
    for number in (3, 1, 2):
        priority.put_nowait(number)
        lifo.put_nowait(number)
    return [[await queue.get() for _ in range(3)] for queue in (priority, lifo)]


@body
async def a_timeout_of_nothing_expires_at_once() -> list[Any]:
    log: list[Any] = []
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        log.append("timeout")
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0)
    except TimeoutError:
        log.append("wait_for")
    return log


@body
async def a_timeout_that_was_left_in_time_does_not_expire() -> list[Any]:
    async with asyncio.timeout(1000) as timeout:
        await turns(2)
    return [timeout.expired(), await asyncio.wait_for(asyncio.sleep(0, "value"), 1000)]


@body
async def a_cancelled_task_runs_its_finally_and_counts_its_requests() -> list[Any]:
    log: list[Any] = []

    async def worker() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            log.append(error.args)
            raise
        finally:
            log.append("finally")

    task = asyncio.create_task(worker())
    await turns(1)
    task.cancel("message")
    with pytest.raises(asyncio.CancelledError):
        await task
    return [*log, task.cancelled(), task.cancelling()]


@body
async def an_async_generator_that_is_left_is_closed_by_its_loop() -> list[Any]:
    log: list[Any] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    async def leave() -> None:
        async for number in numbers():
            log.append(number)
            break

    await leave()
    await turns(5)
    return log


@body
async def shutdown_asyncgens_closes_what_is_still_open() -> list[Any]:
    log: list[Any] = []

    async def numbers(name: str) -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            log.append("closed " + name)

    generators = [numbers(name) for name in "abc"]
    for generator in generators:
        await anext(generator)
    await generators[1].aclose()
    await asyncio.get_running_loop().shutdown_asyncgens()
    return [log[0], sorted(log)]


@body
async def an_executor_call_returns_or_raises_what_the_function_did() -> list[Any]:
    loop = asyncio.get_running_loop()
    log: list[Any] = [
        await loop.run_in_executor(None, lambda: 41 + 1),
        await asyncio.to_thread(sorted, [3, 1, 2]),
    ]
    try:
        await loop.run_in_executor(None, lambda: {"here": 1}["missing"])
    except KeyError as error:
        log.append(repr(error))
    return log


@body
async def futures_call_back_in_order_and_hand_over_exceptions() -> list[Any]:
    loop, log = asyncio.get_running_loop(), []
    future = loop.create_future()
    for name in "abc":
        future.add_done_callback(lambda _, name=name: log.append(name))
    future.set_result(1)
    log.append("set")
    await turns(1)
    failing = loop.create_future()
    failing.set_exception(ValueError("v"))
    try:
        await failing
    except ValueError as error:
        log.append(repr(error))
    return log


@pytest.mark.parametrize("each", BODIES, ids=lambda each: each.__name__)
def test_the_simulated_loop_does_what_the_stock_loop_does(each: Body):
    assert simulate(each) == on_stock_loop(each)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_run_their_first_step_at_once():
    async def main() -> list[Any]:
        log: list[Any] = []

        async def worker(name: str) -> None:
            log.append("begin " + name)
            await asyncio.sleep(0)
            log.append("end " + name)

        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        tasks = [asyncio.create_task(worker(name)) for name in "ab"]
        log.append("created")
        await asyncio.gather(*tasks)
        return log

    assert simulate(main) == on_stock_loop(main) == ["begin a", "begin b", "created", "end a", "end b"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Queue.shutdown came with Python 3.13")
def test_a_queue_that_is_shut_down_wakes_its_waiters():
    async def main() -> str:
        queue: asyncio.Queue[int] = asyncio.Queue()
        getting = asyncio.create_task(queue.get())
        await turns(1)
        queue.shutdown()  # type: ignore[attr-defined]
        try:
            await getting
        except asyncio.QueueShutDown as error:  # type: ignore[attr-defined]
            return type(error).__name__
        return "nothing"

    assert simulate(main) == on_stock_loop(main) == "QueueShutDown"

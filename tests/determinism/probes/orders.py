"""Probes of order: sets of tasks and futures, timers, timeouts, groups, contexts, garbage."""

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import AsyncIterator
from typing import Any

from tests.determinism.probes.catalogue import probe


async def value(number: int) -> int:
    await asyncio.sleep(number % 3 / 10)
    return number


def tasks_of(count: int) -> "list[asyncio.Task[int]]":
    return [asyncio.create_task(value(number), name=f"value-{number}") for number in range(count)]


@probe("asyncio.wait: order of what is done")
async def order_of_done() -> object:
    done, _ = await asyncio.wait(tasks_of(17))
    return [task.result() for task in done]


@probe("asyncio.wait: order of what is pending")
async def order_of_pending() -> object:
    _, pending = await asyncio.wait(tasks_of(17), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return [task.get_name() for task in pending]


@probe("asyncio.wait: plain futures")
async def order_of_futures() -> object:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(17)]
    for number, future in enumerate(futures):
        loop.call_soon(future.set_result, number)
    done, _ = await asyncio.wait(futures)
    return [future.result() for future in done]


@probe("as_completed: order in which coroutines start")
async def order_of_starts() -> object:
    started = []

    async def start(number: int) -> None:
        started.append(number)

    for each in asyncio.as_completed([start(number) for number in range(17)]):
        await each
    return started


@probe("as_completed: tasks that are already done")
async def order_of_finished() -> object:
    tasks = tasks_of(17)
    await asyncio.sleep(1)
    return [await each for each in asyncio.as_completed(tasks)]


@probe("TaskGroup: order in which it cancels")
async def order_of_abort() -> object:
    cancelled = []

    async def worker(number: int) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            cancelled.append(number)

    async def fails() -> None:
        await asyncio.sleep(0.1)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(worker(number))
            group.create_task(fails())
    except* LookupError:
        pass
    return cancelled


@probe("all_tasks: order")
async def order_of_all_tasks() -> object:
    tasks = tasks_of(17)
    names = [task.get_name() for task in asyncio.all_tasks() if task in tasks]
    await asyncio.wait(tasks)
    return names


@probe("a set of tasks of the program's own")
async def order_of_own_set() -> object:
    tasks = set(tasks_of(17))
    await asyncio.wait(tasks)
    return [task.get_name() for task in tasks]


@probe("default names of tasks")
async def default_names() -> object:
    tasks = [asyncio.create_task(value(number)) for number in range(3)]
    await asyncio.wait(tasks)
    return sorted(task.get_name() for task in tasks)


@probe("timers that are due at the same time")
async def equal_timers() -> object:
    loop, order = asyncio.get_running_loop(), []
    for number in range(12):
        loop.call_later(1, order.append, number)
        loop.call_at(loop.time() + 1, order.append, -number)
    await asyncio.sleep(1)
    await asyncio.sleep(0.1)
    return order


@probe("a timeout and a result at the same time")
async def timeout_race() -> object:
    seen = []
    for _ in range(6):
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(1)
            seen.append("in time")
        except TimeoutError:
            seen.append("too late")
    return seen


@probe("eager tasks")
async def eager_tasks() -> object:
    order = []

    async def step(number: int) -> int:
        order.append(number)
        await asyncio.sleep(number % 2)
        order.append(-number)
        return number

    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    tasks = [asyncio.create_task(step(number)) for number in range(1, 9)]
    done, _ = await asyncio.wait(tasks)
    return order, [task.result() for task in done]


@probe("context variables of tasks and callbacks")
async def contexts() -> object:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)
    loop, seen = asyncio.get_running_loop(), []

    async def read(number: int) -> None:
        variable.set(number)
        await asyncio.sleep(0.1)
        loop.call_soon(lambda: seen.append(variable.get()))

    await asyncio.gather(*(read(number) for number in range(9)))
    await asyncio.sleep(0.1)
    return seen, variable.get()


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


@probe("when a finalizer runs")
async def finalizers() -> object:
    seen: list[Any] = []
    loop = asyncio.get_running_loop()
    for number in range(1_500):
        weakref.finalize(_Cycle(), lambda number: seen.append((number, loop.time())), number)
        if not number % 10:
            await asyncio.sleep(0.001)
    return len(seen), seen[:5], seen[-5:]


@probe("when the callback of a weak reference runs")
async def weak_callbacks() -> object:
    seen: list[float] = []
    loop, kept = asyncio.get_running_loop(), []
    for number in range(1_500):
        kept.append(weakref.ref(_Cycle(), lambda _: seen.append(loop.time())))
        if not number % 10:
            await asyncio.sleep(0.001)
    gc.collect()
    return len(seen), seen[:3], seen[-3:]


@probe("when a forgotten async generator is closed")
async def async_generators() -> object:
    closed = []
    loop = asyncio.get_running_loop()

    async def numbers(name: int) -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append((name, loop.time()))

    for name in range(5):
        async for number in numbers(name):
            if number == name:
                break
        await asyncio.sleep(0.5)
    return closed


@probe("shutdown_asyncgens: order of closing")
async def shutdown_of_generators() -> object:
    closed = []

    async def numbers(name: int) -> AsyncIterator[int]:
        try:
            yield name
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    kept = [numbers(name) for name in range(17)]
    for each in kept:
        await anext(each)
    await asyncio.get_running_loop().shutdown_asyncgens()
    return closed


@probe("sets of queues, events, writers: what programs broadcast to")
async def broadcast() -> object:
    order: list[int] = []

    async def listen(number: int, queue: "asyncio.Queue[str]", event: asyncio.Event) -> None:
        await event.wait()
        order.append(number)
        await queue.get()
        order.append(-number)

    queues = [asyncio.Queue[str]() for _ in range(17)]
    events = [asyncio.Event() for _ in queues]
    async with asyncio.TaskGroup() as group:
        for number, (queue, event) in enumerate(zip(queues, events, strict=True)):
            group.create_task(listen(number, queue, event))
        await asyncio.sleep(1)
        for event in set(events):
            event.set()
        await asyncio.sleep(1)
        for queue in weakref.WeakSet(queues):
            queue.put_nowait("to all")
    return order


@probe("a set of objects of the program's own", unpinned=True)
async def set_of_objects() -> object:
    things = {_Thing(number) for number in range(33)}
    return [thing.number for thing in things]


@probe("a WeakSet of objects of the program's own", unpinned=True)
async def weak_set_of_objects() -> object:
    things = [_Thing(number) for number in range(33)]
    return [thing.number for thing in weakref.WeakSet(things)]


class _Thing:
    def __init__(self, number: int) -> None:
        self.number = number


@probe("id() as a choice", unpinned=True)
async def identity() -> object:
    return [id(_Thing(number)) >> 4 & 0xFF for number in range(5)]


@probe("a set of strings", unpinned=True)
async def set_of_strings() -> object:
    return list({f"string {number}" for number in range(33)})


@probe("hash() of a string as a choice", unpinned=True)
async def hash_of_string() -> object:
    return hash("who goes first?") % 5

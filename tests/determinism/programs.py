"""Scenarios that are plain asyncio programs: whatever a Python program can ask of its machine, and of chance."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.outcome import Outcome
from tests.determinism.catalogue import run, scenario

# -- plain asyncio -----------------------------------------------------------------------------------------------------


def alone(program: Callable[[SimulatedAgent], Any], **options: Any) -> Outcome:
    return run(agents={"program": program}, **{"seed": 21, **options})


@scenario
def sets_of_tasks() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        async def value(number: int) -> int:
            await asyncio.sleep(number % 3)
            return number

        tasks = [asyncio.create_task(value(number)) for number in range(17)]
        agent.observe("all tasks", names=[task.get_name() for task in asyncio.all_tasks()])
        done, pending = await asyncio.wait(tasks, timeout=0.5)
        agent.observe(
            "wait", done=[task.result() for task in done], pending=[task.get_name() for task in pending]
        )
        agent.observe("set", names=[task.get_name() for task in set(tasks)])
        agent.observe("as_completed", order=[await each for each in asyncio.as_completed(tasks)])
        agent.observe(
            "coroutines", order=[await each for each in asyncio.as_completed([value(n) for n in range(9)])]
        )
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(9)]
        for number, future in enumerate(futures):
            loop.call_soon(future.set_result, number)
        done_futures, _ = await asyncio.wait(futures)
        agent.observe("futures", order=[future.result() for future in done_futures])

    return alone(program)


@scenario
def groups_that_fail_and_are_cancelled() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        async def worker(number: int) -> None:
            try:
                await asyncio.sleep(10)
            finally:
                agent.observe("cancelled", number=number)

        async def fails() -> None:
            await asyncio.sleep(1)
            raise LookupError("on purpose")

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(12):
                    group.create_task(worker(number))
                group.create_task(fails())
        except* LookupError as errors:
            agent.observe("errors", errors=list(errors.exceptions))
        results = await asyncio.gather(fails(), asyncio.sleep(1, "slept"), return_exceptions=True)
        agent.observe("gathered", results=results)

    return alone(program)


@scenario
def queues_locks_and_conditions() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(3)
        lock, semaphore, condition, event = (
            asyncio.Lock(),
            asyncio.Semaphore(2),
            asyncio.Condition(),
            asyncio.Event(),
        )
        barrier = asyncio.Barrier(3)

        async def produce(start: int) -> None:
            for number in range(start, start + 5):
                await queue.put(number)

        async def consume(name: str) -> None:
            await barrier.wait()
            while True:
                number = await queue.get()
                async with semaphore, lock:
                    await asyncio.sleep(0.01)
                    agent.observe("consumed", by=name, number=number)
                queue.task_done()
                async with condition:
                    condition.notify_all()

        consumers = [asyncio.create_task(consume(name)) for name in "xyz"]
        asyncio.get_running_loop().call_later(0.2, event.set)
        async with asyncio.TaskGroup() as group:
            group.create_task(produce(0))
            group.create_task(produce(100))
        async with condition:
            await condition.wait_for(lambda: queue.qsize() < 2)
        await event.wait()
        await queue.join()
        for consumer in consumers:
            consumer.cancel()

    return alone(program)


@scenario
def timeouts_and_equal_timers() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        loop = asyncio.get_running_loop()
        for number in range(8):
            loop.call_later(1, lambda number=number: agent.observe("timer", number=number))
            loop.call_at(1, lambda number=number: agent.observe("timer at", number=number))
        for seconds in (0.5, 1.0, 2.0):
            try:
                async with asyncio.timeout(1):
                    await asyncio.sleep(seconds)
                agent.observe("in time", seconds=seconds)
            except TimeoutError:
                agent.observe("too late", seconds=seconds, now=loop.time())

    return alone(program)


@scenario
def generators_contexts_and_garbage() -> Outcome:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    class Cycle:
        def __init__(self, agent: SimulatedAgent, number: int) -> None:
            self.itself = self
            weakref.finalize(self, agent.observe, "collected", number=number)

    async def numbers(agent: SimulatedAgent, count: int) -> AsyncIterator[int]:
        try:
            for number in range(count):
                yield number
                await asyncio.sleep(0.1)
        finally:
            agent.observe("closed", count=count, variable=variable.get())

    async def program(agent: SimulatedAgent) -> None:
        for count in range(3, 8):
            variable.set(count)
            async for number in numbers(agent, count):
                if number == 2:
                    break
        kept = [numbers(agent, count) for count in (20, 21, 22)]
        for generator in kept:
            await anext(generator)
        for number in range(3_000):
            Cycle(agent, number)
            if number % 10 == 0:
                await asyncio.sleep(0.001)
        gc.collect()
        await asyncio.get_running_loop().shutdown_asyncgens()

    return alone(program)

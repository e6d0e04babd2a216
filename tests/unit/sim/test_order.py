"""The order of sets: tasks, futures, coroutines and generators come in the same order in every run."""

import asyncio
import gc
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pytest_convergence._engine.sim.order import FirstComeSet, LiveGenerators
from tests.unit.sim.harness import on_stock_loop, running_loop, simulate

COUNT = 40


async def _value(number: int) -> int:
    await asyncio.sleep(0)
    return number


def test_wait_returns_tasks_in_the_order_of_their_creation():
    async def main() -> list[int]:
        done, _ = await asyncio.wait([asyncio.create_task(_value(number)) for number in range(COUNT)])
        return [task.result() for task in done]

    assert simulate(main) == list(range(COUNT))


def test_wait_returns_plain_futures_in_the_order_in_which_they_were_given():
    async def main() -> list[list[int]]:
        loop = running_loop()
        futures = [loop.create_future() for _ in range(COUNT)]
        for number, future in enumerate(futures[::2]):
            future.set_result(number)
        done, pending = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        return [[futures.index(future) for future in each] for each in (done, pending)]

    assert simulate(main) == [list(range(0, COUNT, 2)), list(range(1, COUNT, 2))]


def test_as_completed_starts_coroutines_in_the_order_in_which_they_were_given():
    async def main() -> list[int]:
        started = []

        async def start(number: int) -> None:
            started.append(number)

        for each in asyncio.as_completed([start(number) for number in range(COUNT)]):
            await each
        return started

    assert simulate(main) == list(range(COUNT))


def test_as_completed_yields_finished_tasks_in_the_order_of_their_creation():
    async def main() -> list[int]:
        tasks = [asyncio.create_task(_value(number)) for number in range(COUNT)]
        await asyncio.gather(*tasks)
        return [await each for each in asyncio.as_completed(tasks)]

    assert simulate(main) == list(range(COUNT))


def test_a_set_of_tasks_iterates_in_the_order_of_their_creation():
    async def main() -> list[str]:
        tasks = {asyncio.create_task(_value(number), name=str(number)) for number in range(COUNT)}
        names = [task.get_name() for task in tasks]
        await asyncio.gather(*tasks)
        return names

    assert simulate(main) == [str(number) for number in range(COUNT)]


def test_a_task_group_cancels_its_tasks_in_the_order_of_their_creation():
    async def main() -> list[int]:
        cancelled = []

        async def wait(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(number)

        async def fail() -> None:
            await asyncio.sleep(1)
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(COUNT):
                    group.create_task(wait(number))
                group.create_task(fail())
        return cancelled

    assert simulate(main) == list(range(COUNT))


def _all_task_names(seed: int) -> list[str]:
    """Make many tasks, keep some, and list those of all_tasks in its order."""
    rng = random.Random(seed)
    made = rng.randint(100, 2_000)
    chosen = frozenset(rng.sample(range(made), rng.randint(2, 60)))

    async def main() -> list[str]:
        kept = []
        for number in range(made):
            task = asyncio.create_task(asyncio.Event().wait())
            if number in chosen:
                kept.append(task)
            else:
                task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks()]

    return simulate(main)


def test_all_tasks_come_in_the_same_order_whatever_the_process_did_before():
    seeds = range(8)
    first = [_all_task_names(seed) for seed in seeds]
    loop = asyncio.new_event_loop()

    async def wait() -> None:
        await asyncio.Event().wait()

    foreign = [loop.create_task(wait()) for _ in range(1_000)]
    second = [_all_task_names(seed) for seed in seeds]
    for task in foreign:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*foreign, return_exceptions=True))
    loop.close()
    assert first == second


def test_all_tasks_of_a_stock_loop_are_its_own():
    async def main() -> list[Any]:
        task = asyncio.create_task(_value(1), name="mine")
        names = sorted(each.get_name() for each in asyncio.all_tasks() if each is not asyncio.current_task())
        await task
        return [type(asyncio.all_tasks()), names]

    simulate(lambda: _value(1))
    assert on_stock_loop(main) == [set, ["mine"]]
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.all_tasks()


def test_tasks_are_named_by_their_world():
    async def main() -> list[str]:
        tasks = [asyncio.create_task(_value(number)) for number in range(3)]
        await asyncio.gather(*tasks)
        return [task.get_name() for task in tasks]

    on_stock_loop(lambda: _value(1))
    assert simulate(main) == simulate(main) == ["Task-2", "Task-3", "Task-4"]


def test_a_name_that_was_given_stays():
    async def main() -> str:
        return asyncio.create_task(_value(1), name="mine").get_name()

    assert simulate(main) == "mine"


def test_tasks_of_a_factory_are_named_by_the_world_too():
    async def main() -> list[str]:
        running_loop().set_task_factory(
            lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options)
        )
        tasks = [asyncio.create_task(_value(number)) for number in range(2)]
        await asyncio.gather(*tasks)
        return [task.get_name() for task in tasks]

    assert simulate(main) == simulate(main) == ["Task-2", "Task-3"]


def test_what_a_factory_made_is_cleared_away_at_the_end():
    async def main() -> None:
        running_loop().set_task_factory(
            lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options)
        )
        asyncio.create_task(asyncio.Event().wait())  # noqa: RUF006

    simulate(main)
    gc.collect()  # "Task was destroyed but it is pending" would be an error


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_have_an_order_and_names_of_the_world():
    async def main() -> list[str]:
        running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        done, _ = await asyncio.wait([asyncio.create_task(_value(number)) for number in range(COUNT)])
        return [task.get_name() for task in done]

    assert simulate(main) == [f"Task-{number}" for number in range(2, COUNT + 2)]


def test_generators_are_shut_down_in_the_order_in_which_they_began():
    async def main() -> list[int]:
        closed = []

        async def numbers(number: int) -> AsyncIterator[int]:
            try:
                yield number
            finally:
                closed.append(number)

        generators = [numbers(number) for number in range(COUNT)]
        for generator in generators:
            await anext(generator)
        await running_loop().shutdown_asyncgens()
        return closed

    assert simulate(main) == list(range(COUNT))


def test_outside_a_run_wait_returns_ordinary_sets():
    async def main() -> list[type]:
        done, pending = await asyncio.wait([asyncio.create_task(_value(1))])
        return [type(done), type(pending)]

    simulate(main)
    assert on_stock_loop(main) == [set, set]


# -- the sets themselves -----------------------------------------------------------------------------------------------


def test_a_first_come_set_is_a_set():
    assert isinstance(FirstComeSet(), set)
    assert FirstComeSet("abc") == {"a", "b", "c"}


def test_a_first_come_set_keeps_the_order_of_arrival():
    ordered = FirstComeSet("zebra")
    ordered.add("q")
    ordered.add("z")
    assert list(ordered) == ["z", "e", "b", "r", "a", "q"]


@pytest.mark.parametrize(
    ("method", "operator", "expected"),
    [
        ("update", "__ior__", "zebraxy"),
        ("difference_update", "__isub__", "zb"),
        ("intersection_update", "__iand__", "era"),
        ("symmetric_difference_update", "__ixor__", "zbxy"),
        ("union", "__or__", "zebraxy"),
        ("difference", "__sub__", "zb"),
        ("intersection", "__and__", "era"),
        ("symmetric_difference", "__xor__", "zbxy"),
    ],
)
def test_operations_on_whole_sets_keep_the_order(method: str, operator: str, expected: str):
    other = dict.fromkeys("xarey")
    for name, argument in ((method, other), (operator, FirstComeSet(other))):
        ordered = FirstComeSet("zebra")
        result: Any = getattr(ordered, name)(argument)
        changed = ordered if result is None else result
        assert "".join(sorted(changed)) == "".join(sorted(expected))
        assert set.__len__(changed) == len(list(changed)) == len(expected)
        assert [letter for letter in changed if letter in "zebra"] == [
            letter for letter in "zebra" if letter in expected
        ]


@pytest.mark.parametrize(
    "operator", ["__ior__", "__isub__", "__iand__", "__ixor__", "__or__", "__sub__", "__and__", "__xor__"]
)
def test_operators_take_sets_only(operator: str):
    assert getattr(FirstComeSet("ab"), operator)(["a"]) is NotImplemented


def test_elements_leave_a_first_come_set():
    ordered = FirstComeSet("abcde")
    assert ordered.pop() == "a"
    ordered.remove("c")
    ordered.discard("d")
    ordered.discard("not there")
    copy = ordered.copy()
    ordered.clear()
    assert (list(copy), list(ordered)) == (["b", "e"], [])
    with pytest.raises(KeyError):
        ordered.pop()
    with pytest.raises(KeyError):
        ordered.remove("x")


def test_live_generators_hold_nothing_alive():
    async def numbers() -> AsyncIterator[int]:
        yield 1

    live = LiveGenerators()
    kept, dropped, discarded = numbers(), numbers(), numbers()
    for generator in (kept, dropped, discarded):
        live.add(generator)
    del generator, dropped
    live.discard(discarded)
    live.discard(discarded)
    assert list(live) == [kept]
    assert len(live) == 1
    live.clear()
    assert not len(live)


def test_all_tasks_lists_also_those_that_the_loop_has_not_made():
    async def main() -> list[str]:
        made = asyncio.create_task(asyncio.Event().wait(), name="made")
        others = [asyncio.Task(asyncio.Event().wait()) for _ in range(20)]
        others[3].cancel()
        await asyncio.sleep(0)
        listed = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert listed == [made, *others[:3], *others[4:]]
        for task in listed:
            task.cancel()
        return [type(task).__name__ for task in listed]

    assert simulate(main) == ["WorldTask", *["Task"] * 19]

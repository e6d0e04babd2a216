"""What is kept in sets hashes by its number in the world, if it was made inside a run; elsewhere it hashes as ever."""

import asyncio
import concurrent.futures
import threading

import pytest

from pytest_convergence._engine.sim.hashing import HASHED_BY_NUMBER
from tests.determinism.shim_harness import SmallWorld, run_async


@pytest.mark.parametrize(
    "made", [asyncio.Queue, asyncio.Event, asyncio.Lock, concurrent.futures.Future, threading.Thread]
)
def test_objects_made_inside_a_run_hash_alike_in_every_run(made: type) -> None:
    async def hashes() -> list[int]:
        return [hash(made()) for _ in range(5)]

    first, second = run_async(hashes, SmallWorld()), run_async(hashes, SmallWorld())
    assert first == second
    assert len(set(first)) == 5


def test_an_object_that_was_made_before_the_run_keeps_its_hash_inside() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    queues = {queue}

    async def main() -> bool:
        return queue in queues and hash(queue) == object.__hash__(queue)

    assert run_async(main)


def test_an_object_that_was_made_inside_keeps_its_hash_after_the_run() -> None:
    async def main() -> tuple[asyncio.Queue[int], int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        return queue, hash(queue)

    queue, inside = run_async(main)
    assert hash(queue) == inside


def test_a_class_that_inherits_from_another_class_as_well_is_made_as_that_one_wants_it() -> None:
    class Numbers(asyncio.Queue[int], tuple[int, ...]):  # type: ignore[misc]
        def __init__(self, numbers: tuple[int, ...]) -> None:
            super().__init__()

    async def main() -> tuple[int, ...]:
        return tuple.__add__(Numbers((1, 2)), ())

    assert run_async(main) == (1, 2)


def test_no_class_that_is_covered_has_equality_of_its_own() -> None:
    assert [each for each in HASHED_BY_NUMBER if "__eq__" in vars(each)] == []

"""What a task waits for is told in words, from the program's own lines down to what nobody has done."""

import asyncio
import re
import subprocess
import sys
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import pytest

from pytest_convergence._engine.sim.awaiting import await_chain, describe_await

HERE = r"tests/unit/sim/test_awaiting\.py"
Behaviour = Callable[[], Coroutine[Any, Any, Any]]


def described(behaviour: Behaviour) -> str:
    """Describe a task once it can go no further on its own."""

    async def main() -> str:
        task = asyncio.get_running_loop().create_task(behaviour(), name="main task")
        for _ in range(8):
            await asyncio.sleep(0)
        text = describe_await(task)
        task.cancel()
        await asyncio.wait([task])
        return text

    with asyncio.Runner() as runner:
        return runner.run(main())


async def waits_for_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    await queue.get()


async def waits_for_future() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_frame_of_the_program_has_its_place_and_its_text() -> None:
    assert re.fullmatch(
        rf"waits_for_queue\(\) at {HERE}:\d+: await queue\.get\(\) → Queue\.get \(asyncio/queues\.py:\d+\)",
        described(waits_for_queue),
    )


def test_a_sleep_says_how_long() -> None:
    async def sleeper() -> None:
        await asyncio.sleep(3_600)

    assert "→ asyncio.sleep(3600) (asyncio/tasks.py:" in described(sleeper)


def test_a_future_at_the_bottom_is_named() -> None:
    assert described(waits_for_future).endswith("→ a future that nobody has resolved")


def test_frames_follow_each_other_down_to_the_bottom() -> None:
    async def outer() -> None:
        await waits_for_queue()

    assert re.search(r"outer\(\) at .* → waits_for_queue\(\) at .* → Queue\.get", described(outer))


def test_only_the_first_frame_of_asyncio_is_shown() -> None:
    async def waiter() -> None:
        await asyncio.Condition().wait_for(bool)

    async def holder() -> None:
        condition = asyncio.Condition()
        async with condition:
            await condition.wait_for(lambda: False)

    chain = described(holder)
    assert "Condition.wait_for" in chain
    assert chain.count("asyncio/") == 1


def test_an_asynchronous_generator_is_seen_through() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        await waits_for_queue()

    async def reader() -> None:
        async for _ in numbers():
            pass

    assert re.search(
        r"reader\(\) at .*async for _ in numbers\(\).* → .*numbers\(\) at .* → waits_for_queue\(\)",
        described(reader),
    )


def test_awaitables_of_every_kind_are_seen_through() -> None:
    class ByGenerator:
        def __await__(self) -> Generator[Any, None, None]:
            yield from asyncio.get_running_loop().create_future()

    class ByCoroutine:
        def __await__(self) -> Generator[Any, None, None]:
            return waits_for_queue().__await__()

    @types.coroutine
    def old_style() -> Generator[Any, None, None]:
        yield from asyncio.get_running_loop().create_future()

    async def by_generator() -> None:
        await ByGenerator()

    async def by_coroutine() -> None:
        await ByCoroutine()

    async def by_old_style() -> None:
        await old_style()

    assert "ByGenerator.__await__() at" in described(by_generator)
    assert "Queue.get" in described(by_coroutine)
    assert "old_style() at" in described(by_old_style)


def test_a_task_that_is_awaited_is_followed() -> None:
    async def parent() -> None:
        await asyncio.get_running_loop().create_task(waits_for_queue(), name="child")

    assert re.search(
        r"→ task 'child', which waits in waits_for_queue\(\) at .* → Queue\.get", described(parent)
    )


def test_the_branches_of_a_gather_are_listed() -> None:
    async def parent() -> None:
        await asyncio.gather(waits_for_queue(), waits_for_future())

    text = described(parent)
    assert "2 of them: [task 'Task-" in text
    assert "Queue.get" in text
    assert "a future that nobody has resolved" in text


def test_only_some_of_many_branches_are_listed() -> None:
    async def parent() -> None:
        await asyncio.gather(*(waits_for_future() for _ in range(9)))

    assert described(parent).endswith("and 5 more")


@pytest.mark.parametrize("form", ["TaskGroup", "wait", "wait_for", "shield"])
def test_what_asyncio_waits_for_on_behalf_of_the_program_is_followed(form: str) -> None:
    async def parent() -> None:
        child = asyncio.get_running_loop().create_task(waits_for_queue(), name="child")
        if form == "wait":
            await asyncio.wait([child])
        elif form == "wait_for":
            await asyncio.wait_for(child, 60)
        elif form == "shield":
            await asyncio.shield(child)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(waits_for_queue(), name="child")

    assert re.search(r"→ task 'child', which waits in waits_for_queue\(\)", described(parent))


def test_tasks_that_wait_for_each_other_are_named() -> None:
    async def main() -> str:
        tasks: dict[str, asyncio.Task[None]] = {}

        async def waiter(other: str) -> None:
            await asyncio.shield(asyncio.sleep(0))
            await asyncio.wait([tasks[other]])

        for name, other in (("a", "b"), ("b", "a")):
            tasks[name] = asyncio.get_running_loop().create_task(waiter(other), name=name)
        for _ in range(8):
            await asyncio.sleep(0)
        text = describe_await(tasks["a"])
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        return text

    with asyncio.Runner() as runner:
        assert runner.run(main()).endswith("→ task 'a', which waits for this one")


def test_a_long_chain_shows_both_ends() -> None:
    async def nested(depth: int) -> None:
        if depth:
            await nested(depth - 1)
        await waits_for_queue()

    async def main() -> list[str]:
        task = asyncio.get_running_loop().create_task(nested(40))
        await asyncio.sleep(0)
        chain = await_chain(task)
        task.cancel()
        await asyncio.wait([task])
        return chain

    with asyncio.Runner() as runner:
        chain = runner.run(main())
    assert len(chain) == 12
    assert chain[6] == "… (32 more)"
    assert chain[-1].startswith("Queue.get")


def test_a_chain_without_end_is_cut() -> None:
    @types.coroutine
    def endless() -> Generator[Any, None, None]:
        yield from asyncio.get_running_loop().create_future()

    async def nested(depth: int) -> None:
        await (nested(depth - 1) if depth else endless())

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        coroutine = nested(2_500)
        with asyncio.Runner() as runner:

            async def main() -> list[str]:
                task = asyncio.get_running_loop().create_task(coroutine)
                await asyncio.sleep(0)
                chain = await_chain(task)
                task.cancel()
                await asyncio.wait([task])
                return chain

            assert runner.run(main())[6] == "… (1989 more)"
    finally:
        sys.setrecursionlimit(limit)


def test_what_has_ended_is_nothing_to_wait_for() -> None:
    async def main() -> str:
        ended = asyncio.get_running_loop().create_task(asyncio.sleep(0), name="ended")
        await ended

        async def parent() -> None:
            await asyncio.gather(ended, waits_for_queue())

        task = asyncio.get_running_loop().create_task(parent())
        for _ in range(3):
            await asyncio.sleep(0)
        text = describe_await(task)
        task.cancel()
        await asyncio.wait([task])
        return text

    with asyncio.Runner() as runner:
        text = runner.run(main())
    assert "ended" not in text.split("→")[-1]
    assert text.count("Queue.get") == 1


def test_tasks_that_do_not_wait_are_told_apart() -> None:
    async def main() -> tuple[str, str, str]:
        fresh = asyncio.get_running_loop().create_task(waits_for_queue())
        before = describe_await(fresh)
        current = asyncio.current_task()
        fresh.cancel()
        await asyncio.wait([fresh])
        return before, describe_await(current), describe_await(fresh)

    with asyncio.Runner() as runner:
        before, running, after = runner.run(main())
    assert before.endswith("→ it has not begun")
    assert running.endswith("→ it is running")
    assert after == "nothing: it has ended"


def test_a_coroutine_can_be_described_without_a_task() -> None:
    coroutine = waits_for_queue()
    assert describe_await(coroutine).endswith("→ it has not begun")
    coroutine.close()
    assert describe_await(coroutine) == "waits_for_queue(), which has ended"


def test_something_else_is_described_as_such() -> None:
    assert describe_await(object()) == "nothing that could be named"
    assert describe_await(None) == "nothing that could be named"


def test_a_finished_future_is_told_apart() -> None:
    async def main() -> str:
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return describe_await(future)

    with asyncio.Runner() as runner:
        assert runner.run(main()) == "a future, which is done"


def test_a_method_of_an_agent_is_named_as_the_program_calls_it() -> None:
    library = types.ModuleType("pytest_convergence._engine.run.agent")
    exec(
        "class SimulatedAgent:\n"
        "    async def receive(self, future, timeout=None, sender=None):\n        await future\n"
        "class Mailbox:\n"
        "    def __init__(self, future):\n        self.future = future\n"
        "    def __aiter__(self):\n        return self\n"
        "    async def __anext__(self):\n        await self.future\n",
        vars(library),
    )

    async def behaviour() -> None:
        future = asyncio.get_running_loop().create_future()
        await library.SimulatedAgent().receive(future, timeout=5)

    async def loop() -> None:
        async for _ in library.Mailbox(asyncio.get_running_loop().create_future()):
            pass

    assert described(behaviour).endswith("→ agent.receive(timeout=5)")
    assert described(loop).endswith("→ agent.inbox")


def test_frames_of_ours_above_the_program_are_not_shown() -> None:
    library = types.ModuleType("pytest_convergence._engine.run.conduct")
    exec("async def conduct(behaviour):\n    await behaviour()\n", vars(library))

    assert described(lambda: library.conduct(waits_for_queue)).startswith("waits_for_queue() at ")


def test_a_file_outside_the_working_directory_is_shown_by_its_last_parts(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert " at sim/test_awaiting.py:" in described(waits_for_queue)


def test_a_long_line_is_cut() -> None:
    async def wordy() -> None:
        a_very_long_name_for_the_future_that_is_awaited_here = asyncio.get_running_loop().create_future()
        await asyncio.wait_for(a_very_long_name_for_the_future_that_is_awaited_here, timeout=60 * 60 * 24)

    assert "… → asyncio.wait_for(timeout=86400)" in described(wordy)


_LOOKS_WHILE_IT_RUNS = """
from pytest_convergence._engine.run.snapshots import frames_of
from pytest_convergence._engine.sim.awaiting import await_chain

class Looking:
    def __call__(self):  # no call of this is ever specialized, so the counter behind it takes all values
        return [frame.f_code.co_name for frame, _ in frames_of(run)], await_chain(run)

def running():
    look = Looking()
    while True:
        yield look()

run = running()
for _ in range(3_000):
    frames, links = next(run)
    assert (frames, links[-1]) == (["running"], "it is running"), (frames, links)
"""


def test_what_runs_is_not_asked_what_it_awaits() -> None:
    """CPython 3.11 takes a counter behind the call for an instruction, and ends the process at some values of it."""
    done = subprocess.run(
        [sys.executable, "-c", _LOOKS_WHILE_IT_RUNS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

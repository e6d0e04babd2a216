"""Programs that ask for the real uvloop, in every way that there is, are told to use asyncio's own loop.

Skipped where uvloop is not installed; ``nox -s uvloop`` installs it. tests/unit/run/test_other_loops.py has a stand-in.
"""

import asyncio
import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence.errors import AgentError, SimulationEscapeError
from tests.unit.sim.harness import make_session

uvloop: Any = pytest.importorskip("uvloop")


async def work() -> str:
    await asyncio.sleep(1)
    return "done"


async def application(*_: object) -> None: ...


def by_run() -> None:
    coroutine = work()
    try:
        uvloop.run(coroutine)
    finally:
        coroutine.close()


def by_installing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        uvloop.install()


def by_policy() -> None:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def by_a_loop_of_a_policy() -> None:
    uvloop.EventLoopPolicy().new_event_loop()


def by_factory() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop()


def by_class() -> None:
    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.get_loop()


def by_uvicorn() -> None:
    uvicorn: Any = pytest.importorskip("uvicorn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the coroutine that it has made and cannot run
        uvicorn.run(application, host="0.0.0.0", port=80, loop="uvloop", lifespan="off")


def by_uvicorns_default() -> None:
    uvicorn: Any = pytest.importorskip("uvicorn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        uvicorn.run(application, host="0.0.0.0", port=80, lifespan="off")


WAYS = [
    by_run,
    by_installing,
    by_policy,
    by_a_loop_of_a_policy,
    by_factory,
    by_class,
    by_uvicorn,
    by_uvicorns_default,
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("program", WAYS)
def test_the_real_uvloop_is_refused_with_what_to_do_instead(program: Callable[[], None]) -> None:
    policy = type(asyncio.get_event_loop_policy())
    session = make_session()
    session.host("p", program, process=True)
    with pytest.raises(
        AgentError, match=r"uvloop\.\w+\)? was called inside a run, at .*Use asyncio's own loop"
    ) as caught:
        session.run()
    assert isinstance(caught.value.__cause__, SimulationEscapeError)
    assert type(asyncio.get_event_loop_policy()) is policy
    del caught, session
    gc.collect()  # what was never awaited is complained of here, and not in another test


def test_a_host_on_the_shared_loop_is_refused_too() -> None:
    async def main() -> None:
        by_installing()

    session = make_session()
    session.host("p", main)
    with pytest.raises(AgentError, match="Use asyncio's own loop"):
        session.run()


def test_outside_of_runs_it_works() -> None:
    make_session(agents=1).run()  # and the replacements are in place
    loop = uvloop.new_event_loop()
    try:
        assert loop.run_until_complete(work()) == "done"
        assert isinstance(loop, uvloop.Loop)
    finally:
        loop.close()

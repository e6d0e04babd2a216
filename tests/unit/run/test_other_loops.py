"""Programs that ask for a loop, or for a way to wait, that no run can simulate; and those that are simulated."""

import asyncio
import importlib.abc
import importlib.machinery
import re
import select
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from pytest_convergence.errors import AgentError, SimulationEscapeError
from tests.unit.run.test_processes import serve
from tests.unit.sim.harness import make_session

_STAND_IN = """
import asyncio

class Loop(asyncio.SelectorEventLoop):
    def __init__(self): super().__init__()
    def __del__(self): pass  # that of C minds no loop that was refused

def new_event_loop(): return Loop()

def install(): asyncio.set_event_loop_policy(EventLoopPolicy())

def run(main, **options): return asyncio.Runner(loop_factory=new_event_loop).run(main)

class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    def _loop_factory(self): return new_event_loop()
"""


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a uvloop with the functions of the real one."""

    def find_spec(self, name: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == "uvloop" else None

    def exec_module(self, module: ModuleType) -> None:
        exec(_STAND_IN, vars(module))


@pytest.fixture(params=["imported before the run", "imported by the program"])
def uvloop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "uvloop", raising=False)
    finder = Finder()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    if request.param.endswith("before the run"):
        importlib.import_module("uvloop")
    yield
    sys.modules.pop("uvloop", None)


async def nothing() -> None:
    pass


def by_run() -> None:
    import uvloop  # type: ignore[import-not-found]

    coroutine = nothing()
    try:
        uvloop.run(coroutine)
    finally:
        coroutine.close()


def by_factory() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop()


def by_class() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        runner.get_loop()


def by_policy() -> None:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def by_installing() -> None:
    import uvloop

    uvloop.install()


def refusal_of(main: Callable[[], Any], *, process: bool) -> SimulationEscapeError:
    """Run a program and return how it was refused."""
    session = make_session()
    session.host("server", serve, process=True)
    session.host("p", main, process=process)
    with pytest.raises(AgentError) as caught:
        session.run()
    assert caught.value.agent == "p"
    cause = caught.value.__cause__
    assert isinstance(cause, SimulationEscapeError)
    return cause


@pytest.mark.usefixtures("uvloop")
@pytest.mark.parametrize("main", [by_run, by_factory, by_class, by_policy, by_installing])
def test_a_process_that_asks_for_uvloop_is_told_to_use_asyncios_own_loop(main: Callable[[], None]) -> None:
    policy = type(asyncio.get_event_loop_policy())
    said = str(refusal_of(main, process=True))
    assert re.search(r"uvloop\.\w+\)? was called inside a run, at .*:\d+ in \w+", said)
    assert "which no run can simulate. Use asyncio's own loop" in said
    assert type(asyncio.get_event_loop_policy()) is policy
    module = sys.modules["uvloop"]
    assert module.__spec__ is not None
    assert isinstance(module.__loader__, Finder)
    assert module.__spec__.loader is module.__loader__


@pytest.mark.usefixtures("uvloop")
def test_a_host_on_the_shared_loop_that_installs_uvloop_is_refused_too() -> None:
    async def main() -> None:
        by_installing()

    assert "Use asyncio's own loop" in str(refusal_of(main, process=False))


def test_another_policy_may_be_set_in_a_process() -> None:
    def main() -> str:
        asyncio.set_event_loop_policy(None)
        asyncio.run(nothing())
        return "done"

    session = make_session()
    session.host("p", main, process=True)
    assert session.run().results["p"] == "done"


def connected() -> socket.socket:
    """A connection to the server, once it listens."""
    while True:
        try:
            return socket.create_connection(("server", 7000))
        except ConnectionRefusedError:
            time.sleep(1)


def test_select_poll_waits_in_virtual_time_in_a_process() -> None:
    def watch() -> list[Any]:
        with connected() as sock:
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            begin = time.monotonic()
            assert poll.poll(1_500) == []
            waited = time.monotonic() - begin
            sock.sendall(b"x\n")
            ready = [events for _, events in poll.poll()]
            return [waited, ready, sock.recv(10)]

    session = make_session()
    session.host("server", serve, process=True)
    session.host("p", watch, process=True)
    assert session.run().results["p"] == [1.5, [select.POLLIN], b"X\n"]


def test_a_selector_that_polls_is_simulated_in_a_process() -> None:
    def watch() -> int:
        with connected() as sock, selectors.PollSelector() as selector:
            selector.register(sock, selectors.EVENT_WRITE)
            return len(selector.select(1))

    session = make_session()
    session.host("server", serve, process=True)
    session.host("p", watch, process=True)
    assert session.run().results["p"] == 1


@pytest.mark.parametrize("process", [True, False])
def test_a_real_descriptor_is_refused_by_select_poll(process: bool) -> None:
    def watch() -> None:
        select.poll().register(0, select.POLLIN)

    async def main() -> None:
        watch()

    assert "select.poll" in str(refusal_of(watch if process else main, process=process))


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's")
@pytest.mark.parametrize("call", ["register", "modify", "poll"])
@pytest.mark.parametrize("process", [True, False])
def test_epoll_is_refused_and_the_error_says_what_to_use(process: bool, call: str) -> None:
    def watch() -> None:
        one, other = socket.socketpair()
        with one, other, select.epoll() as epoll:
            if call == "poll":
                epoll.poll(1)
            else:
                getattr(epoll, call)(one, select.EPOLLIN)

    async def main() -> None:
        watch()

    said = str(refusal_of(watch if process else main, process=process))
    assert f"select.epoll.{call} was called inside a run" in said
    assert "selectors.DefaultSelector, select.poll or select.select" in said


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's")
def test_epoll_works_outside_of_runs_as_ever() -> None:
    test_select_poll_waits_in_virtual_time_in_a_process()  # everything is replaced by now
    one, other = socket.socketpair()
    with one, other, select.epoll() as epoll, selectors.EpollSelector() as selector:
        epoll.register(one, select.EPOLLOUT)
        selector.register(other, selectors.EVENT_WRITE)
        assert epoll.poll(0) == [(one.fileno(), select.EPOLLOUT)]
        assert len(selector.select(0)) == 1

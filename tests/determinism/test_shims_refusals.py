"""What cannot be simulated is refused by name and line; outside a run, and for debuggers, it works as ever."""

# ruff: noqa: PLW0108 - a lambda looks the function up when it is called, as programs do

import asyncio
import concurrent.futures
import linecache
import multiprocessing
import os
import queue
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_convergence._engine.sim.shims import install, outside_world
from pytest_convergence.errors import SimulationEscapeError
from tests.determinism.shim_harness import SmallWorld, run, run_async
from tests.unit.sim.harness import simulate


def nothing() -> None:
    pass


def in_executor() -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pool.submit(nothing)


def read_from_a_silent_pair() -> bytes:
    one, _other = socket.socketpair()
    return one.recv(1)


WAYS_OUT: dict[str, Callable[[], Any]] = {
    "threading.Thread.start": lambda: threading.Thread(target=nothing).start(),
    "threading.Timer.start": lambda: threading.Timer(1, nothing).start(),
    "concurrent.futures.thread.ThreadPoolExecutor.submit": in_executor,
    "multiprocessing.process.BaseProcess.start": lambda: (
        multiprocessing.get_context("fork").Process(target=nothing).start()
    ),
    "subprocess.run": lambda: subprocess.run(["true"]),  # noqa: PLW1510
    "subprocess.Popen": lambda: subprocess.Popen(["true"]),
    "os.popen": lambda: os.popen("true"),
    "os.fork": lambda: os.fork(),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "os.system": lambda: os.system("true"),  # noqa: TID251
    "os.kill": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "os.execv": lambda: os.execv("/bin/true", ["true"]),
    "signal.signal": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "signal.alarm": lambda: signal.alarm(1),
    "signal.raise_signal": lambda: signal.raise_signal(signal.SIGUSR1),
    "socket.fromfd": lambda: socket.fromfd(0, socket.AF_INET, socket.SOCK_STREAM),
    "os.pipe": lambda: os.pipe(),
    "selectors": lambda: selectors.DefaultSelector(),
    "asyncio.events.new_event_loop": lambda: asyncio.new_event_loop(),
    "threading.Condition.wait": lambda: threading.Event().wait(),
    "queue.Queue.get": lambda: queue.Queue().get(),
}


# Simulated sockets exist, and must not block the only thread; these need a whole world.
WAYS_TO_BLOCK: dict[str, Callable[[], object]] = {
    "socket.create_connection": lambda: socket.create_connection(("127.0.0.1", 80)),
    "socket.recv": read_from_a_silent_pair,
    "socket.accept": lambda: socket.create_server(("127.0.0.1", 0)).accept(),
    "socket.socket(fileno=0)": lambda: socket.socket(fileno=0),
    "select.select": lambda: select.select([0], [], [], 0),
    "select.poll": lambda: select.poll().register(0),
    "select.poll.poll": lambda: polled(socket.create_server(("127.0.0.1", 0))),
}


def polled(waiting: socket.socket) -> object:
    poll = select.poll()
    poll.register(waiting)
    return poll.poll()


def in_a_world(action: Callable[[], object]) -> object:
    async def program() -> object:
        return action()

    return simulate(program)


@pytest.mark.parametrize("name", WAYS_TO_BLOCK)
def test_what_blocks_or_is_real_is_refused_with_its_name_and_the_programs_line(name: str) -> None:
    with pytest.raises(SimulationEscapeError) as caught:
        in_a_world(WAYS_TO_BLOCK[name])
    text = str(caught.value)
    assert name in text
    assert f"was called inside a run, at {__file__}:" in text


@pytest.mark.parametrize("name", WAYS_OUT)
def test_a_way_out_of_the_world_is_refused_with_its_name_and_the_programs_line(name: str) -> None:
    with pytest.raises(SimulationEscapeError) as caught:
        run(WAYS_OUT[name])
    text = str(caught.value)
    assert name in text
    assert f"was called inside a run, at {__file__}:" in text
    assert text.rstrip().endswith(".")


def test_the_refusal_shows_the_line_and_what_to_do_instead() -> None:
    with pytest.raises(SimulationEscapeError) as caught:
        run(WAYS_OUT["threading.Thread.start"])
    text = str(caught.value)
    assert text.startswith("threading.Thread.start was called inside a run")
    assert '`"threading.Thread.start": lambda: threading.Thread(target=nothing).start(),`' in text
    assert "asyncio.create_task" in text


def test_a_subprocess_of_asyncio_is_refused() -> None:
    async def program() -> None:
        await asyncio.create_subprocess_exec("true")

    with pytest.raises(SimulationEscapeError, match="create_subprocess_exec"):
        run_async(program)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"hello")
        yield left, right


@pytest.mark.parametrize(
    "use",
    [
        lambda left, right: right.recv(5),
        lambda left, right: right.recv_into(bytearray(5)),
        lambda left, right: left.send(b"x"),
        lambda left, right: left.sendall(b"x"),
        lambda left, right: left.connect("nowhere"),
        lambda left, right: left.accept(),
    ],
)
def test_a_connection_from_before_the_run_cannot_be_used_inside(
    pair: tuple[socket.socket, socket.socket], use: Callable[[socket.socket, socket.socket], Any]
) -> None:
    with pytest.raises(SimulationEscapeError, match=r"socket\.socket\."):
        run(lambda: use(*pair))
    assert pair[1].recv(5) == b"hello"


def test_a_pool_from_before_the_run_cannot_be_used_inside() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: 5).result() == 5
        with pytest.raises(SimulationEscapeError, match="ThreadPoolExecutor"):
            run(lambda: pool.submit(nothing))


def test_a_thread_from_before_the_run_cannot_be_joined_inside() -> None:
    ready = threading.Event()
    thread = threading.Thread(target=ready.wait)
    thread.start()
    try:
        with pytest.raises(SimulationEscapeError, match=r"Thread\.join"):
            run(thread.join)
    finally:
        ready.set()
        thread.join()


# -- waits that let virtual time pass ------------------------------------------------------------------------------------


def test_a_wait_with_a_timeout_lets_virtual_time_pass() -> None:
    world = SmallWorld()
    assert run(lambda: threading.Event().wait(600), world) is False
    assert world.now_ns >= 600 * 10**9


def test_a_queue_with_a_timeout_is_empty_after_virtual_time() -> None:
    world = SmallWorld()
    with pytest.raises(queue.Empty):
        run(lambda: queue.Queue().get(timeout=600), world)
    assert 600 * 10**9 <= world.now_ns < 601 * 10**9


def test_a_select_of_nothing_lets_virtual_time_pass() -> None:
    def program() -> tuple[object, float]:
        before = time.monotonic()
        return select.select([], [], [], 600), time.monotonic() - before

    assert in_a_world(program) == (([], [], []), 600)


def test_what_does_not_block_goes_through() -> None:
    def program() -> tuple[bool, int, bool]:
        event = threading.Event()
        event.set()
        numbers: queue.Queue[int] = queue.Queue()
        numbers.put(5)
        lock = threading.Lock()
        return event.wait(), numbers.get(), lock.acquire()

    assert run(program) == (True, 5, True)


def test_a_bad_call_is_refused_in_the_words_of_the_original() -> None:
    with pytest.raises(TypeError):
        run(lambda: select.select([]))  # type: ignore[call-arg]


# -- what still works ----------------------------------------------------------------------------------------------------


def test_outside_a_run_everything_works() -> None:
    install()
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    assert done == [1]
    assert subprocess.run(["echo", "hello"], capture_output=True, check=True).stdout == b"hello\n"
    assert select.select([], [], [], 0) == ([], [], [])
    assert socket.getaddrinfo("127.0.0.1", 80)
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"abc")
        assert right.recv(3) == b"abc"
    for end in os.pipe():
        os.close(end)
    condition = threading.Condition()
    with condition:
        assert not condition.wait(0.001)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: 5).result() == 5


def test_code_taken_outside_the_world_may_do_anything() -> None:
    def program() -> bytes:
        with outside_world():
            return subprocess.run(["echo", "hello"], capture_output=True, check=True).stdout

    assert run(program) == b"hello\n"


def test_another_thread_may_do_anything_during_a_run() -> None:
    go, done = threading.Event(), threading.Event()
    seen: list[Any] = []

    def work() -> None:
        go.wait(10)
        inner = threading.Thread(target=lambda: seen.append("thread"))
        inner.start()
        inner.join()
        seen.append(subprocess.run(["true"], check=True).returncode)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()

    def program() -> bool:
        go.set()
        with outside_world():
            return done.wait(10)

    assert run(program)
    worker.join()
    assert seen == ["thread", 0]


def test_a_test_tool_may_do_anything_even_through_the_standard_library() -> None:
    debugger = types.ModuleType("pydevd.comm")
    exec(
        "import threading, select, os\n"
        "def attach():\n"
        "    done = []\n"
        "    thread = threading.Thread(target=done.append, args=(1,))\n"
        "    thread.start()\n"
        "    event = threading.Event()\n"
        "    for end in os.pipe():\n"
        "        os.close(end)\n"
        "    return done, event.wait(0.001), select.select([], [], [], 0)\n",
        vars(debugger),
    )
    world = SmallWorld()
    _, waited, selected = run(debugger.attach, world)
    assert not waited
    assert selected == ([], [], [])
    assert world.now_ns == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="fork() warns since 3.12")
def test_the_warning_of_a_fork_is_about_its_caller() -> None:
    install()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            child = os.fork()
            if child == 0:  # pragma: no cover - measured in the parent only
                os._exit(0)
    finally:
        stop.set()
        thread.join()
    os.waitpid(child, 0)
    [warning] = [each for each in caught if "fork" in str(each.message)]
    assert warning.filename == __file__
    assert linecache.getline(__file__, warning.lineno).strip() == "child = os.fork()"


def test_a_fork_works_outside_a_run() -> None:
    install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:  # pragma: no cover - measured in the parent only
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

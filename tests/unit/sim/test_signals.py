"""Signals of simulated hosts: each process has its own handlers, and the real one hears of nothing."""

import asyncio
import os
import signal
import socket

import pytest

from pytest_convergence.errors import AgentCrashedError, AgentError


def run_alone(session, main, *numbers, after=1, process=False):
    """Run ``main`` on a host, send it signals a second apart, and return the host and the outcome."""
    host = session.host("alone", main, process=process)

    async def scenario(session):
        for number in numbers:
            await session.sleep(after)
            host.send_signal(number)
        await session.sleep(after)
        return host.is_alive

    return host, session.run(scenario)


def test_a_handler_takes_a_signal_on_its_own_host_only(convergence_session):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    async def main(name):
        signal.signal(signal.SIGTERM, lambda number, frame: seen.append((name, number, frame)))
        await asyncio.sleep(10)

    async def scenario(session):
        await session.sleep(1)
        one.send_signal(signal.SIGTERM)
        await session.finished()

    one = convergence_session.host("one", main, "one")
    convergence_session.host("other", main, "other")
    convergence_session.run(scenario)
    assert seen == [("one", signal.SIGTERM, None)]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("process", [False, True])
def test_the_handler_of_an_event_loop_takes_it_with_arguments_and_can_be_removed(
    convergence_session, process
):
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, seen.append, "asked")
        loop.add_signal_handler(signal.SIGTERM, seen.append, "never")
        assert loop.remove_signal_handler(signal.SIGTERM)
        assert not loop.remove_signal_handler(signal.SIGTERM)
        await asyncio.sleep(10)

    _, outcome = run_alone(convergence_session, main, signal.SIGUSR1, process=process)
    assert seen == ["asked"]
    assert outcome.output is True


def test_a_process_that_waits_in_its_loop_is_woken_by_a_signal_and_ends_in_good_order(convergence_session):
    async def main():
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        return asyncio.get_running_loop().time()

    def make_a_loop_by_its_class():
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(main())

    hosts = [
        convergence_session.host("one", main, process=True),
        convergence_session.host("other", make_a_loop_by_its_class, process=True),
    ]

    async def scenario(session):
        await session.sleep(2)
        for host in hosts:
            host.send_signal(signal.SIGTERM)
        await session.finished()

    assert convergence_session.run(scenario).results == {"one": 2.0, "other": 2.0}


def test_a_descriptor_that_is_written_to_when_a_signal_comes(convergence_session):
    async def main():
        one, other = socket.socketpair()
        one.setblocking(False)
        assert signal.set_wakeup_fd(one.fileno(), warn_on_full_buffer=False) == -1
        signal.siginterrupt(signal.SIGUSR1, False)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        await asyncio.sleep(1.5)
        told = other.recv(10)
        assert signal.set_wakeup_fd(-1) == one.fileno()
        with pytest.raises(ValueError, match="takes a simulated descriptor or -1, not 1"):
            signal.set_wakeup_fd(1)
        one.close()
        return told

    assert run_alone(convergence_session, main, signal.SIGUSR1)[1].results["alone"] == bytes([signal.SIGUSR1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
def test_a_signal_that_nothing_takes_ends_the_process(convergence_session, number):
    async def main():
        await asyncio.sleep(10)

    _, outcome = run_alone(convergence_session, main, number)
    assert outcome.output is False
    assert "alone" not in outcome.results


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGWINCH, signal.SIGPIPE, signal.SIGCONT])
def test_some_signals_do_nothing_by_default(convergence_session, number):
    async def main():
        await asyncio.sleep(10)

    assert run_alone(convergence_session, main, number)[1].output is True


def test_stop_and_continue_hold_the_process_and_let_it_go_on(convergence_session):
    ticks = []

    async def main():
        for _ in range(6):
            await asyncio.sleep(1)
            ticks.append(asyncio.get_running_loop().time())

    run_alone(convergence_session, main, signal.SIGSTOP, signal.SIGCONT, after=2.5)
    assert ticks[:2] == [1, 2]
    assert ticks[2] == 5


def test_a_process_may_send_itself_signals(convergence_session):
    async def main():
        seen = []
        before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(frame is None))
        assert before is signal.SIG_DFL
        signal.raise_signal(signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), 0)
        assert callable(signal.getsignal(signal.SIGUSR1))
        assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is not None
        signal.raise_signal(signal.SIGUSR1)
        return seen

    assert run_alone(convergence_session, main)[1].results["alone"] == [False, False]


def test_a_process_that_sends_itself_a_deadly_signal_takes_no_further_step(convergence_session):
    went_on = []

    async def main():
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0)
        went_on.append(True)

    assert run_alone(convergence_session, main)[1].output is False
    assert not went_on


def test_a_new_life_begins_with_the_defaults(convergence_session):
    lives = []

    async def main():
        lives.append(signal.getsignal(signal.SIGTERM))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await asyncio.sleep(10)

    async def scenario(session):
        await session.sleep(1)
        host.crash()
        with pytest.raises(AgentCrashedError):
            host.send_signal(signal.SIGTERM)
        host.restart()
        await session.finished()

    host = convergence_session.host("host", main)
    convergence_session.run(scenario)
    assert lives == [signal.SIG_DFL, signal.SIG_DFL]


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: signal.signal(signal.SIGKILL, print), OSError),
        (lambda: signal.signal(signal.SIGTERM, "stop"), TypeError),  # type: ignore[arg-type]
        (lambda: asyncio.get_running_loop().add_signal_handler(signal.SIGKILL, print), RuntimeError),
    ],
)
def test_what_cannot_be_handled_is_refused_as_by_python(convergence_session, ask, error):
    async def main():
        with pytest.raises(error):
            ask()

    run_alone(convergence_session, main)


def test_other_processes_cannot_be_signalled(convergence_session):
    async def main():
        os.kill(1, signal.SIGTERM)

    with pytest.raises(AgentError, match=r"os\.kill was called inside a run.*host\.send_signal"):
        run_alone(convergence_session, main)

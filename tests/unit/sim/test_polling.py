"""select.poll on simulated sockets: HTTP clients ask it whether an idle connection is still good."""

import asyncio
import select
import socket
import time

import pytest

from tests.unit.sim.harness import simulate


def test_a_poll_says_what_a_socket_is_ready_for():
    async def look():
        one, other = socket.socketpair()
        poll = select.poll()
        poll.register(one, select.POLLIN | select.POLLOUT)
        idle = poll.poll(0)
        other.send(b"x")
        await asyncio.sleep(1)
        full = poll.poll(0)
        poll.modify(one, select.POLLIN)
        only_read = poll.poll(0)
        number = one.fileno()
        one.close()
        gone = poll.poll(0)
        poll.unregister(number)
        return [events for found in (idle, full, only_read, gone) for _, events in found], poll.poll(0)

    both = select.POLLIN | select.POLLOUT
    assert simulate(look) == ([select.POLLOUT, both, select.POLLIN, select.POLLNVAL], [])


def test_the_end_of_the_other_side_makes_it_readable():
    async def look():
        one, other = socket.socketpair()
        poll = select.poll()
        poll.register(one.fileno(), select.POLLIN)
        before = poll.poll(0)
        other.close()
        await asyncio.sleep(1)
        return before, len(poll.poll(0))

    assert simulate(look) == ([], 1)


def test_a_poll_of_nothing_lets_virtual_time_pass():
    async def look():
        started = time.monotonic()
        assert select.poll().poll(1500) == []
        return time.monotonic() - started

    assert simulate(look) == pytest.approx(1.5, abs=0.001)


def test_a_socket_that_is_not_looked_at_cannot_be_modified():
    async def look():
        poll = select.poll()
        one, _ = socket.socketpair()
        with pytest.raises(FileNotFoundError):
            poll.modify(one, select.POLLIN)
        with pytest.raises(KeyError):
            poll.unregister(one)

    simulate(look)

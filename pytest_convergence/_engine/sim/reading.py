"""Whoever waits for a socket is woken: in its turn, or at once where that is what happens next anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_convergence._engine.sim.net.descriptors import READ, WRITE
from pytest_convergence._engine.sim.owner import OWNER

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.loop import WorldLoop
    from pytest_convergence._engine.sim.net.bytestream import ByteStream
    from pytest_convergence._engine.sim.net.datagram import DatagramSocket
    from pytest_convergence._engine.sim.net.endpoint import KernelSocket

__all__ = ["reads_at_once", "wake_readers"]

_LAST_STEPS: Final = 2_048
"""So close to the budget of steps each has its turn, where all are counted one by one."""


def wake_readers(loop: WorldLoop, hot: dict[int, KernelSocket]) -> None:
    """Make ready whoever waits for a socket that is ready, as asyncio's ``_process_events`` does.

    Who is paused is left out: it is told when it goes on.
    """
    enqueue = loop._ready_append
    for number, file in list(hot.items()):
        reader = file.reader
        if reader is not None and not reader._cancelled and (reader._context.get(OWNER) or loop.driver).fuse:
            enqueue(reader)  # it is in the table because there is something to read
            continue
        key = file.key
        mask = key.events & file.readiness()
        waiters = key.data
        if type(waiters) is not tuple:  # somebody else's selector, which looks by itself
            del hot[number]
            continue
        reader, writer = waiters
        for waiter, wanted in ((reader, READ), (writer, WRITE)):
            if waiter is None or not mask & wanted:
                continue
            if waiter._cancelled:
                (loop._remove_reader if wanted == READ else loop._remove_writer)(number)  # type: ignore[attr-defined]
            elif (waiter._context.get(OWNER) or loop.driver).fuse:
                enqueue(waiter)
            else:
                hot.pop(number, None)


def reads_at_once(loop: WorldLoop, file: ByteStream | DatagramSocket, reader: Any) -> bool:
    """Let whoever waits for bytes that have come take them, if that is what happens next; return whether it was done.

    So it is with a timer whose step comes next: the way through the queue of what is ready would lead to the same.
    """
    world = loop.world
    events = world.events
    if (
        loop._ready
        or world.hot
        or (events and events[0][0] <= world.now_ns)
        or world.happened > world.max_events - _LAST_STEPS
        or world.after_step is not None
        or loop._stopping
    ):
        return False
    context = reader._context
    life = context.get(OWNER) or loop.driver
    if reader._cancelled or not life.fuse:
        return False
    life.steps = step = life.steps + 1
    world.happened += 1
    if step < life.fuse or life.node.may_step(life, reader):
        try:
            if reader._args:
                context.run(reader._callback, *reader._args)
            else:  # as asyncio's transports have it
                context.run(reader._callback)
        except BaseException as error:
            loop._callback_failed(reader, error)
    if file.unread:
        file.changed()
    if world.hot:  # with this the next turn would begin
        wake_readers(loop, world.hot)
    return True

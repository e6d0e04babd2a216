"""The descriptors of one world: numbers of open sockets, who waits for which, and which of them are ready.

Readiness is pushed, not polled: a socket says when it has changed, and stands in ``hot`` while somebody waits for what it
is ready for. A turn of the loop looks at nothing else.
"""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.endpoint import KernelSocket
    from pytest_convergence._engine.sim.world import World

__all__ = ["FIRST_DESCRIPTOR", "READ", "WRITE", "Descriptors", "abandon", "descriptors_of"]

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE
FIRST_DESCRIPTOR: Final = 1_000_000
"""Simulated descriptors count from here: no real one comes near, so neither can be taken for the other."""


@final
class Descriptors:
    """The table of one world.

    Attributes:
        files: number -> socket, for those that are open.
        hot: number -> socket, for those that somebody waits for and that are ready.
    """

    __slots__ = ("_next", "files", "hot")

    def __init__(self, world: World) -> None:
        self._next = FIRST_DESCRIPTOR
        self.files: dict[int, KernelSocket] = {}
        self.hot = world.hot

    def open(self, file: KernelSocket) -> int:
        """Give a socket the next number; numbers are never used again."""
        number = self._next
        self._next += 1
        self.files[number] = file
        return number

    def close(self, number: int) -> None:
        """A socket is closed."""
        self.hot.pop(number, None)
        self.files.pop(number, None)

    def watch(self, number: int, key: Any) -> None:
        """Somebody waits for a socket, for something else than before, or (``None``) not any more."""
        file = self.files.get(number)
        if file is not None:
            file.key = key
            file.reader = None
            if key is not None and key.events == READ and type(key.data) is tuple:
                file.reader = key.data[0]
            self.changed(file)

    def changed(self, file: KernelSocket) -> None:
        """What a socket is ready for, or awaited for, may be something else now."""
        key = file.key
        if key is not None and key.events & file.readiness():
            self.hot[file.number] = file
        else:
            self.hot.pop(file.number, None)


def abandon(transport: Any) -> None:
    """The program that had a transport of asyncio's is over: nobody is to be told that it had not closed it."""
    if transport is None:
        return
    transport._sock, transport._closing = None, True
    secure = getattr(transport._protocol, "_app_transport", None)
    if secure is not None:
        secure._closed = True


def descriptors_of(world: World) -> Descriptors:
    """Return the table of a world, made for its first socket."""
    table = world.descriptors
    if table is None:
        table = world.descriptors = Descriptors(world)
    return table

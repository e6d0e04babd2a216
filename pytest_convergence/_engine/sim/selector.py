"""The selector of a world: it knows simulated sockets, and never waits. The loop above asks for what is ready by itself."""

from __future__ import annotations

import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from pytest_convergence._engine.sim.escapes import escape

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.world import World

__all__ = ["READ", "WRITE", "Keys", "WorldSelector"]

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


@final
class Keys(dict[Any, selectors.SelectorKey]):
    """The keys by descriptor; they are found by a socket too, as ``get_map()`` of a real selector finds them."""

    __slots__ = ()

    def get(self, fileobj: Any, default: Any = None) -> Any:
        """Return the key of a descriptor or a socket."""
        return super().get(fileobj if isinstance(fileobj, int) else fileobj.fileno(), default)

    def __missing__(self, fileobj: Any) -> selectors.SelectorKey:
        if isinstance(fileobj, int):
            raise KeyError(f"{fileobj!r} is not registered")
        return self[int(fileobj.fileno())]

    def __contains__(self, fileobj: object) -> bool:
        return self.get(fileobj) is not None


@final
class WorldSelector(selectors.BaseSelector):
    """Keeps who waits for which simulated socket; refuses real file descriptors."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._keys = Keys()

    def attach(self, world: World) -> None:
        """Be the selector of a world."""
        self._world = world

    def _refuse(self, fileobj: object) -> NoReturn:
        raise escape(
            f"a real file descriptor ({fileobj!r}) was given to the simulated event loop. Inside a run there are no real "
            "sockets or pipes: make the socket inside the run, and it is a simulated one; or do the I/O outside the run."
        )

    def _watch(self, number: int, key: selectors.SelectorKey | None) -> None:
        table = None if self._world is None else self._world.descriptors
        if table is not None:
            table.watch(number, key)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Wait for a simulated socket.

        Raises:
            SimulationEscapeError: it is a real one.
            KeyError: it is registered already.
        """
        number = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
        table = None if self._world is None else self._world.descriptors
        if table is None or number not in table.files:
            if number < 0:
                raise ValueError(f"Invalid file descriptor: {number}")
            self._refuse(fileobj)
        if number in self._keys:
            raise KeyError(f"{fileobj!r} (FD {number}) is already registered")
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        table.watch(number, key)
        return key

    def _number(self, fileobj: Any) -> int:
        if isinstance(fileobj, int):
            return fileobj
        number = int(fileobj.fileno())
        if number < 0:  # closed in the meantime: look for it by itself
            number = next((known for known, key in self._keys.items() if key.fileobj is fileobj), number)
        return number

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Wait for something else."""
        number = self._number(fileobj)
        if number not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        key = self._keys[number] = self._keys[number]._replace(events=events, data=data)
        self._watch(number, key)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Do not wait for it any more."""
        number = self._number(fileobj)
        try:
            key = self._keys.pop(number)
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None
        self._watch(number, None)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return what is registered for it."""
        try:
            return self._keys[self._number(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing is ever waited for here."""
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is registered, by descriptor."""
        return self._keys

    def close(self) -> None:
        """Forget everything."""
        self._keys = Keys()
        self._world = None

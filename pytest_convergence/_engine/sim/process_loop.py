"""An event loop inside a program that blocks: ``asyncio.run`` on a host with a thread of its own.

It is asyncio's own selector event loop with its own turn; what lies beneath is simulated: the clock, the sockets, its
self-pipe, and a selector that waits by giving the baton back.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.escapes import escape
from pytest_convergence._engine.sim.handles import StepHandle
from pytest_convergence._engine.sim.net.descriptors import Descriptors, descriptors_of
from pytest_convergence._engine.sim.net.stack import asking_stack
from pytest_convergence._engine.sim.order import LiveGenerators, order_sets_of_asyncio
from pytest_convergence._engine.sim.selector import Keys
from pytest_convergence._engine.sim.strands import Strand, current_strand
from pytest_convergence._engine.sim.tasks import new_task

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.net.endpoint import KernelSocket
    from pytest_convergence._engine.sim.world import World

__all__ = ["ProcessLoop", "StrandSelector", "wait_for_files"]


def wait_for_files(
    strand: Strand, table: Descriptors, wanted: Mapping[int, int], timeout: float | None
) -> None:
    """Let a strand wait until one of the sockets is ready for what is wanted of it, or ``timeout`` seconds are over."""
    files = [table.files[number] for number in wanted if number in table.files]
    world = strand.loop.world
    until_ns = None if timeout is None else world.now_ns + round(max(timeout, 0) * NS_PER_SECOND)
    while not any(file.readiness() & wanted[file.number] or not file.is_open for file in files):
        left_ns = None if until_ns is None else max(0, until_ns - world.now_ns)
        if not _wait_once(strand, table, files, wanted, left_ns) or left_ns == 0:
            return


def _wait_once(
    strand: Strand,
    table: Descriptors,
    files: list[KernelSocket],
    wanted: Mapping[int, int],
    left_ns: int | None,
) -> bool:
    before = [(file, file.key) for file in files]
    handle = StepHandle(strand.wake, (), strand.context)
    for file in files:
        mask = wanted[file.number]
        key = selectors.SelectorKey(file.number, file.number, mask, (handle, handle))
        table.watch(file.number, key)
    try:
        return strand.wait(left_ns)
    finally:
        for file, key in before:
            if file.is_open:
                table.watch(file.number, key)


@final
class StrandSelector(selectors.BaseSelector):
    """A selector that a program on a strand uses: it waits by giving the baton back."""

    def __init__(self) -> None:
        self._keys = Keys()

    def _strand(self) -> Strand:
        strand = current_strand()
        if strand is None:
            raise escape("a selector of a simulated process was used outside of it.")
        return strand

    def _table(self) -> Descriptors:
        return descriptors_of(self._strand().loop.world)

    def _number(self, fileobj: Any) -> int:
        if isinstance(fileobj, int):
            return fileobj
        number = int(fileobj.fileno())
        if number < 0:
            number = next((known for known, key in self._keys.items() if key.fileobj is fileobj), number)
        return number

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Wait for a simulated socket.

        Raises:
            SimulationEscapeError: it is a real one.
            KeyError: it is registered already.
        """
        number = self._number(fileobj)
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        if number not in self._table().files:
            raise escape(
                f"a real file descriptor ({fileobj!r}) was given to a selector of a simulated process; make the socket "
                "inside the run, and it is a simulated one."
            )
        if number in self._keys:
            raise KeyError(f"{fileobj!r} (FD {number}) is already registered")
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Do not wait for it any more."""
        try:
            return self._keys.pop(self._number(fileobj))
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Wait for something else."""
        number = self._number(fileobj)
        if number not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        key = self._keys[number] = self._keys[number]._replace(events=events, data=data)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return what is registered for it."""
        try:
            return self._keys[self._number(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something is ready, and return what is."""
        table = self._table()
        if timeout is None or timeout > 0:
            wanted = {number: key.events for number, key in self._keys.items()}
            wait_for_files(self._strand(), table, wanted, timeout)
        found = []
        for number, key in self._keys.items():
            file = table.files.get(number)
            ready = 0 if file is None else file.readiness() & key.events
            if ready:
                found.append((key, ready))
        return found

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return what is registered, by descriptor."""
        return self._keys

    def close(self) -> None:
        """Forget everything."""
        self._keys = Keys()


@final
class ProcessLoop(asyncio.SelectorEventLoop):
    """asyncio's loop inside a process of the world.

    Attributes:
        world: the world that it lives in.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._tasks_made = 0
        self._is_over = False
        super().__init__(StrandSelector())
        self._asyncgens = LiveGenerators()
        asking_stack().loops.append(self)
        order_sets_of_asyncio()

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Make a task that hashes by its number in this loop."""
        self._check_closed()  # type: ignore[attr-defined]
        if self.get_task_factory() is not None:
            return super().create_task(coro, name=name, context=context, **options)
        self._tasks_made += 1
        task = new_task(self, self._tasks_made, coro, name, context, **options)
        if self._is_over:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task

    def abandon(self) -> None:
        """Its program is over: what its tasks still wait for concerns nobody."""
        self._is_over = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]

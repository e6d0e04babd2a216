"""What a replica makes durable: its live updates one by one, what it has seen, and its version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Effect, Persist, Sync
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Dot, Update

__all__ = ["CLOCK_KEY", "VERSION_KEY", "Keeper"]

CLOCK_KEY: Final = "sync.clock"
VERSION_KEY: Final = "sync.version"
_UPDATE_KEY: Final = "sync.update."


@final
class Keeper:
    """Notes what changes in a replica, and says how to make it durable."""

    __slots__ = ("_replica", "_unkept")

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._unkept: dict[Dot, Update | None] = {update.dot: update for update in replica.updates}
        replica.on_change = self._note
        replica.on_drop = self._drop

    def _note(self, update: Update, replaced: tuple[Update, ...]) -> None:
        self._unkept[update.dot] = update
        for other in replaced:
            self._unkept[other.dot] = None

    def _drop(self, updates: tuple[Update, ...]) -> None:
        """These are kept no more; to remove them from the storage there is time until the next writing."""
        for update in updates:
            self._unkept[update.dot] = None

    def restore(self, durable: Mapping[str, Any]) -> bool:
        """Make the replica what was kept; return whether anything was."""
        if CLOCK_KEY not in durable:
            return False
        kept = [value for key, value in durable.items() if key.startswith(_UPDATE_KEY) and value is not None]
        self._replica.restore(kept, durable[CLOCK_KEY], durable.get(VERSION_KEY, 0))
        self._unkept.clear()
        return True

    def keep(self) -> Iterator[Effect]:
        """Make durable what changed since the last time.

        The clock comes after the updates that it promises, and before what they replace is removed: a crash in the
        midst of it leaves the old promise or the new one, and the updates that it needs.
        """
        if not self._unkept:
            return
        changed, self._unkept = self._unkept, {}
        gone: list[Effect] = []
        for dot, update in changed.items():
            key = f"{_UPDATE_KEY}{dot.agent}.{dot.counter}"
            if update is not None:
                yield Persist(key, update)
            else:
                gone.append(Persist(key, None))
        yield Persist(CLOCK_KEY, self._replica.clock)
        yield Persist(VERSION_KEY, self._replica.version)
        yield from gone
        yield Sync()

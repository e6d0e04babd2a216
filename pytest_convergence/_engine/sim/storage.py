"""Durable storage of one node: what was synced survives a crash, what was not may be lost or torn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import snapshot

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Node

__all__ = ["Disk"]

_DELETED: Final = object()


@final
class CrashDomain:
    """What a crash does to unsynced writes: 0 loses all, ``2 k`` keeps the first k, ``2 k + 1`` tears the next one too."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Half of the crashes lose everything; the others keep up to eight writes, half of those with a torn one."""
        return 0 if u < 0.5 else int((u - 0.5) * 2 * 16)

    def describe(self, option: int) -> str:
        """Say it in words."""
        kept, torn = divmod(option, 2)
        return f"kept the first {kept} unsynced writes{' and tore the next one' if torn else ''}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """The same without a torn write."""
        return (option - 1,) if option % 2 and option > 1 else ()


@final
class Disk:
    """Keys and values with a volatile cache in front: ``put`` is lost in a crash unless ``sync`` followed."""

    __slots__ = ("_after_crash", "_channel", "_durable", "_node", "_unsynced", "writes")

    def __init__(self, node: Node, channel: str) -> None:
        self._node = node
        self._channel = channel
        self._durable: dict[str, Any] = {}
        self._unsynced: list[tuple[str, Any]] = []
        stem = f"storage {node.name}" if channel == "user" else f"storage {node.name}/{channel}"
        self._after_crash = node.fabric.choices.every(stem, CrashDomain())
        self.writes = 0

    @property
    def dirty(self) -> bool:
        """Whether a write is not durable yet."""
        return bool(self._unsynced)

    def get(self, key: str, default: Any = None) -> Any:
        """Read a value as this node sees it, synced or not."""
        for written, value in reversed(self._unsynced):
            if written == key:
                return default if value is _DELETED else snapshot(value)
        return snapshot(self._durable[key]) if key in self._durable else default

    def put(self, key: str, value: Any) -> None:
        """Write a value; it becomes durable with the next :meth:`sync`."""
        self._write(key, snapshot(value))
        self._note("persist", {"key": key, "value": snapshot(value), "channel": self._channel})

    def delete(self, key: str) -> None:
        """Remove a key, durably with the next :meth:`sync`."""
        self._write(key, _DELETED)
        self._note("persist", {"key": key, "deleted": True, "channel": self._channel})

    def _write(self, key: str, value: Any) -> None:
        self.writes += 1
        self._unsynced.append((key, value))
        if self._channel == "user":
            self._node.routes.clear()  # what is sent from here on is sent before a sync

    def sync(self) -> None:
        """Make every write so far durable."""
        if self._unsynced:
            for key, value in self._unsynced:
                self._keep(key, value)
            self._unsynced.clear()
            self._note("sync", {"channel": self._channel})

    def snapshot(self) -> dict[str, Any]:
        """Return everything, as this node sees it."""
        seen = dict(self._durable)
        for key, value in self._unsynced:
            if value is _DELETED:
                seen.pop(key, None)
            else:
                seen[key] = value
        copied: dict[str, Any] = snapshot(seen)
        return copied

    def crash(self) -> None:
        """Lose what was not synced, or what the schedule chooses of it."""
        unsynced = list(self._unsynced)
        self._unsynced.clear()  # the list stays the same one: a machine's host looks at it before it sends
        if not unsynced:
            return
        kept, torn = divmod(self._after_crash(), 2)
        for key, value in unsynced[:kept]:
            self._keep(key, value)
        if torn and kept < len(unsynced):
            key, value = unsynced[kept]
            half = _torn(value)
            # What was synced survives: a torn write can only spoil a key that had no synced value yet.
            if half is not None and key not in self._durable:
                self._keep(key, half)

    def _keep(self, key: str, value: Any) -> None:
        if value is _DELETED:
            self._durable.pop(key, None)
        else:
            self._durable[key] = value

    def _note(self, kind: str, detail: dict[str, Any]) -> None:
        self._node.fabric.note(kind, self._node, detail)


def _torn(value: Any) -> Any:
    """Return what a half-written value looks like, or ``None`` if it cannot be half-written."""
    if isinstance(value, str | bytes | list | tuple) and len(value) > 1:
        return value[: len(value) // 2]
    if isinstance(value, dict) and len(value) > 1:
        return dict(list(value.items())[: len(value) // 2])
    return None

"""The files of a host: what a program has written there, and what of it is left when its machine has lost power.

1. A host's files lie in a real directory, and its program writes them as it always does. What it has made durable
   (``os.fsync``, ``os.fdatasync``) is remembered.
2. When only the process dies, the system still has what was written; what the program had in buffers of its own is lost.
3. When the machine loses power, each file falls back to what was durable, or keeps all or a part of what was written after
   it: the schedule chooses, and losing everything is calm. A file that was renamed has its new name for sure once its
   directory was synced; before, it may have either.

After a crash all files are copies: code of the life before, which still holds the old ones open, cannot touch them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from pytest_convergence._engine.sim.file_times import FileTimes

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Node

__all__ = ["HostFiles"]

_PARTS: Final = 1_000
_stat: Final = os.stat


@final
class FileDomain:
    """What a loss of power leaves of what a file's program has not synced: 0 nothing, 1 all, n > 1 a part in thousandths."""

    __slots__ = ()

    def decode(self, u: float) -> int:
        """Half of the files lose everything, a quarter keeps it, a quarter is torn."""
        if u < 0.5:
            return 0
        return 1 if u < 0.75 else 2 + int((u - 0.75) * 4 * (_PARTS - 2))

    def describe(self, option: int) -> str:
        """Say it in words."""
        return (
            "kept what was not synced"
            if option == 1
            else f"kept {(option - 1) / 10:g} % of what was not synced"
        )

    def weaker(self, option: int) -> tuple[int, ...]:
        """All of it instead of a part."""
        return (1,) if option > 1 else ()


FILE: Final = FileDomain()


@final
class HostFiles:
    """The directory of one host.

    Attributes:
        directory: where it is. times: stamps its files.
    """

    __slots__ = ("_choices", "_durable", "_node", "_renamed", "directory", "times")

    def __init__(self, node: Node, directory: Path) -> None:
        self._node = node
        self.directory = directory
        self.times = FileTimes(directory, self._clock_ns)
        self._durable = self._contents()
        self._renamed: list[tuple[str, str]] = []
        self._choices: dict[str, Callable[[], int]] = {}
        node.on_crash += (self._crash,)

    def _clock_ns(self) -> int:
        world = self._node.fabric.world
        return world.epoch_ns + self._node.clock.wall_ns(world.now_ns)

    def _contents(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.directory).as_posix(): path.read_bytes()
            for path in sorted(self.directory.rglob("*"))
            if path.is_file()
        }

    # -- what the program does -----------------------------------------------------------------------------------------

    def synced(self, descriptor: int) -> None:
        """A file, or a directory, was made durable."""
        which = os.fstat(descriptor)
        for path in (self.directory, *self.directory.rglob("*")):
            found = path.stat()
            if (found.st_dev, found.st_ino) != (which.st_dev, which.st_ino):
                continue
            if path.is_dir():
                self._sync_names(path)
            else:
                self._durable[path.relative_to(self.directory).as_posix()] = path.read_bytes()

    def renamed(self, old: object, new: object) -> None:
        """A file has another name; that is durable once its directory is."""
        names = [self._name(path) for path in (old, new)]
        if None not in names:
            self._renamed.append((str(names[0]), str(names[1])))

    def _name(self, path: object) -> str | None:
        try:
            return Path(os.fsdecode(path)).resolve().relative_to(self.directory.resolve()).as_posix()  # type: ignore[arg-type]
        except (TypeError, ValueError):  # a descriptor, or not one of ours
            return None

    def _sync_names(self, directory: Path) -> None:
        kept = []
        for old, new in self._renamed:
            if (self.directory / new).parent == directory:
                self._rename(old, new)
            else:
                kept.append((old, new))
        self._renamed = kept
        for name in list(self._durable):  # and what was deleted there is gone
            path = self.directory / name
            if path.parent == directory and not path.exists():
                del self._durable[name]

    def _rename(self, old: str, new: str) -> None:
        content = self._durable.pop(old, None)
        if content is not None:
            self._durable[new] = content

    # -- crashes -------------------------------------------------------------------------------------------------------

    def _choose(self, name: str) -> int:
        if self._node.fabric.is_calm:
            return 0
        choose = self._choices.get(name)
        if choose is None:
            stem = f"file {self._node.name}/{name.replace(' ', '_')}"
            choose = self._choices[name] = self._node.fabric.choices.every(stem, FILE)
        return choose()

    def _crash(self) -> None:
        written = self._contents()
        times = {name: _stat(self.directory / name).st_mtime_ns for name in written}
        if self._node.powerless:
            for old, new in self._renamed:
                if self._choose(f"{old}→{new}"):
                    self._rename(old, new)
            left = self._left_of(written)
        else:
            left = written
        self._renamed.clear()
        for name in written.keys() - left.keys():
            (self.directory / name).unlink()
        for name, content in left.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            copy = path.with_name(f"{path.name}.restored")
            copy.write_bytes(content)
            copy.replace(path)
            self.times.stamp(path, times.get(name))
        for path in (self.directory, *self.directory.rglob("*")):
            if path.is_dir():
                self.times.stamp(path)
        if self._node.powerless:
            self._durable = left

    def _left_of(self, written: dict[str, bytes]) -> dict[str, bytes]:
        left = {}
        for name in sorted(written.keys() | self._durable.keys()):
            new, old = written.get(name), self._durable.get(name)
            if new == old:
                content = old
            else:
                option = self._choose(name)
                content = new if option == 1 else _torn(old, new, option - 1) if option else old
            if content is not None:
                left[name] = content
        return left


def _torn(old: bytes | None, new: bytes | None, thousandths: int) -> bytes | None:
    """Return a file of which a part has reached the disk: of what was appended, or of a new text."""
    if new is None:
        return old
    begun = len(old) if old is not None and new.startswith(old) else 0
    return new[: begun + (len(new) - begun) * thousandths // _PARTS]

"""The times of a host's files: the system stamps them by its own clock, so they are stamped anew by that of the host.

What is written through ``open`` and ``os`` is stamped as it is written; so is what is made, renamed and removed, and the
directory that it is in. The time is set on the file itself, so everybody who asks for it reads the same. Two times cannot be
set: that of the last change of a file's attributes (``st_ctime``), and that of the last reading once somebody has read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

__all__ = ["FileTimes"]

_utime: Final = os.utime
_stat: Final = os.stat
_fstat: Final = os.fstat
_KINDS: Final = frozenset("rwax")
_LETTERS: Final = frozenset("rwaxbt+")
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@final
class _HostFile(io.FileIO):
    """A file that is stamped whenever something is written to it."""

    _times: FileTimes
    _seen_ns: int

    def attach(self, times: FileTimes) -> None:
        """Be stamped from now on."""
        self._times = times
        self._seen_ns = _fstat(self.fileno()).st_mtime_ns

    def _stamp(self) -> None:
        self._times.stamp(self.fileno())
        self._seen_ns = _fstat(self.fileno()).st_mtime_ns

    def write(self, data: Buffer, /) -> int:
        """Write, and stamp."""
        written = super().write(data)
        self._stamp()
        return written

    def truncate(self, size: int | None = None, /) -> int:
        """Cut, and stamp."""
        left = super().truncate(size)
        self._stamp()
        return left

    def close(self) -> None:
        """Close; what was written past this object (``os.sendfile``, ``mmap``, code in C) is stamped at the latest now."""
        if not self.closed and hasattr(self, "_times") and _fstat(self.fileno()).st_mtime_ns != self._seen_ns:
            self._stamp()
        super().close()


@final
class FileTimes:
    """Stamps the files below one directory.

    Args:
        directory: where they are.
        clock: what the host's clock shows, in nanoseconds since 1970.
    """

    __slots__ = ("_clock", "_open", "_roots")

    def __init__(self, directory: Path, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._roots = f"{os.path.abspath(directory)}{os.sep}", f"{directory.resolve()}{os.sep}"
        # Of each descriptor of os.open: which file it is, and its last stamp.
        self._open: dict[int, tuple[int, int, int]] = {}
        now_ns = clock()
        for path in (directory, *directory.rglob("*")):
            # What is there from before the run, whose clock may run later.
            if _stat(path, follow_symlinks=False).st_mtime_ns > now_ns:
                self.stamp(path)

    def covers(self, path: object) -> bool:
        """Whether a path is one of the directory, or below it."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return f"{os.path.abspath(os.fsdecode(path))}{os.sep}".startswith(self._roots)

    def stamp(self, path: Any, at_ns: int | None = None) -> None:
        """Set the times of a file, given by its path or descriptor."""
        time_ns = self._clock() if at_ns is None else at_ns
        with suppress(OSError):  # it is gone, or is nothing that has times
            if isinstance(path, int):
                _utime(path, ns=(time_ns, time_ns))
            else:
                _utime(path, ns=(time_ns, time_ns), follow_symlinks=False)

    def now_ns(self) -> int:
        """What the host's clock shows."""
        return self._clock()

    def renamed(self, *paths: Any) -> None:
        """A file has another name, and keeps its time; its directories do not."""
        for path in filter(self.covers, paths):
            if self.covers(parent := os.path.dirname(os.path.abspath(os.fsdecode(path)))):
                self.stamp(parent)

    def changed(self, path: Any) -> None:
        """Something was made or removed: stamp it, and the directory that it is in."""
        if self.covers(path):
            self.stamp(path)
            self.renamed(path)

    # -- files ---------------------------------------------------------------------------------------------------------

    def open(
        self, original: Callable[..., Any], path: Any, mode: Any = "r", *args: Any, **options: Any
    ) -> Any:
        """Answer ``open``: what may be written to is stamped."""
        if not self.covers(path) or not _is_ordinary(mode, *args, **options):
            return original(path, mode, *args, **options)
        existed = os.path.lexists(path)
        raw = _HostFile(path, mode.replace("b", "").replace("t", ""), opener=_opener(*args, **options))
        if not existed:
            self.changed(path)
        elif "w" in mode:
            self.stamp(path)
        raw.attach(self)
        try:
            return _dress(raw, mode, *args, **options)
        except BaseException:
            raw.close()
            raise

    def opened(self, path: object, flags: int, descriptor: int, *, existed: bool) -> None:
        """``os.open`` has opened a file."""
        if not flags & _WRITES or not self.covers(path):
            return
        if not existed:
            self.changed(path)
        elif flags & os.O_TRUNC:
            self.stamp(descriptor)
        self._look_at(descriptor)

    def _look_at(self, descriptor: int) -> None:
        found = _fstat(descriptor)
        self._open[descriptor] = found.st_dev, found.st_ino, found.st_mtime_ns

    def written(self, descriptor: int) -> None:
        """Something may have been written to a descriptor, which may be another file's by now."""
        before = self._open.get(descriptor)
        if before is None:
            return
        found = _fstat(descriptor)
        if (found.st_dev, found.st_ino) != before[:2]:
            del self._open[descriptor]
        elif found.st_mtime_ns != before[2]:
            self.stamp(descriptor)
            self._look_at(descriptor)


def _is_ordinary(
    mode: Any,
    buffering: int = -1,
    encoding: Any = None,
    errors: Any = None,
    newline: Any = None,
    closefd: bool = True,
    opener: Any = None,
) -> bool:
    """Whether ``open`` makes a file that may be written to of this; what it refuses is left to it."""
    if not isinstance(mode, str) or not isinstance(buffering, int):
        return False
    letters = frozenset(mode)
    if len(letters) != len(mode) or not letters <= _LETTERS or len(letters & _KINDS) != 1 or not closefd:
        return False
    if "b" in letters:
        is_sound = "t" not in letters and encoding is errors is newline is None and buffering != 1
    else:
        is_sound = buffering != 0 and newline in {None, "", "\n", "\r", "\r\n"}
    return is_sound and letters & _KINDS | letters & {"+"} != {"r"}


def _opener(*args: Any, **options: Any) -> Any:
    return args[5] if len(args) > 5 else options.get("opener")


def _dress(
    raw: _HostFile,
    mode: str,
    buffering: int = -1,
    encoding: Any = None,
    errors: Any = None,
    newline: Any = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Put Python's own layers on a file, as ``open`` does."""
    if buffering == 0:
        return raw
    size = buffering if buffering > 1 else max(_fstat(raw.fileno()).st_blksize, io.DEFAULT_BUFFER_SIZE)
    buffered = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
    if "b" in mode:
        return buffered
    text: Any = io.TextIOWrapper(
        buffered, io.text_encoding(encoding), errors, newline, line_buffering=buffering == 1
    )
    text.mode = mode
    return text

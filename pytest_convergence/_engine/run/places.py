"""Places in code, in words: the line of the user's own, and what it called of a library.

Frames of this package and of asyncio say nothing to a user, and are passed over. Of the library that the user's code has
called the innermost frame is named, without its text.
"""

from __future__ import annotations

import linecache
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from pytest_convergence._engine.run.snapshots import NOT_OURS

__all__ = ["called_from", "place_of"]

_LONGEST_LINE: Final = 80
_PARTS_OF_A_LIBRARY: Final = 3
_INSTALLED: Final = ("site-packages", "dist-packages")
_STANDARD: Final = os.path.join(sysconfig.get_path("stdlib"), "")


def place_of(frames: Sequence[tuple[FrameType, int]], *, briefly: bool = False) -> str:
    """Say where frames, outermost first and each with its line, have come to; nothing if none of them is the user's.

    Args:
        briefly: without the folder and the function, and only for code that is no library's.
    """
    outer = [(frame, line) for frame, line in frames if not frame.f_code.co_filename.startswith(NOT_OURS)]
    own = [place for place, (frame, _) in enumerate(outer) if not _library(frame)]
    if not outer or (briefly and not own):
        return ""
    shown = own[-1] if own else len(outer) - 1
    called = outer[shown + 1 :]
    words = _line(*outer[shown], briefly)
    # What the program has called, as far as its own code goes: what that stands on is still less the user's business.
    inside = [each for each in called if _library(each[0]) == _library(called[0][0])]
    return f"{words} → {called_from(*inside[-1])}" if inside else words


def called_from(frame: FrameType, line: int) -> str:
    """Name a function and the line that it is at: ``read_response (redis/asyncio/connection.py:743)``."""
    return f"{frame.f_code.co_qualname} ({_shown(frame.f_code.co_filename)}:{line})"


def _line(frame: FrameType, line: int, briefly: bool) -> str:
    filename = frame.f_code.co_filename
    code = linecache.getline(filename, line, frame.f_globals).strip()
    code = code if len(code) <= _LONGEST_LINE else f"{code[: _LONGEST_LINE - 1]}…"
    if briefly:
        return f"{Path(filename).name}:{line}: {code}"
    return f"{_shown(filename)}:{line} in {frame.f_code.co_qualname}: {code}"


def _library(frame: FrameType) -> str:
    """To which library code belongs; nothing for the user's own."""
    parts = Path(frame.f_code.co_filename).parts
    for folder in _INSTALLED:
        if folder in parts:
            return parts[parts.index(folder) + 1]
    return _STANDARD if frame.f_code.co_filename.startswith(_STANDARD) else ""


def _shown(filename: str) -> str:
    path = Path(filename)
    for folder in _INSTALLED:
        if folder in path.parts:
            return Path(*path.parts[path.parts.index(folder) + 1 :][-_PARTS_OF_A_LIBRARY:]).as_posix()
    if filename.startswith(_STANDARD):
        return Path(filename[len(_STANDARD) :]).as_posix()
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name

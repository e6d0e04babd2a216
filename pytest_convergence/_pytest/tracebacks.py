"""Tracebacks of failures show the test, its agents and its scenario, and not what runs them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Final

__all__ = ["deepest_line", "without_machinery"]

_PACKAGE: Final = str(Path(__file__).resolve().parents[1])
_LOOP: Final = tuple(
    str(Path(asyncio.__file__).parent / name)
    for name in ("base_events.py", "events.py", "runners.py", "tasks.py", "futures.py")
)


def _is_machinery(trace: TracebackType) -> bool:
    path = trace.tb_frame.f_code.co_filename
    return path.startswith(_PACKAGE) or path in _LOOP


def _is_ours(trace: TracebackType) -> bool:
    return trace.tb_frame.f_code.co_filename.startswith(_PACKAGE)


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    return entries


def _cut(trace: TracebackType | None) -> TracebackType | None:
    """Return ``trace`` without our frames and those of the loop; a trace without ours, or of nothing else, stays."""
    entries = _entries(trace)
    kept = [entry for entry in entries if not _is_machinery(entry)]
    if not kept or not any(map(_is_ours, entries)):
        return trace
    cut: TracebackType | None = None
    for entry in reversed(kept):
        cut = TracebackType(cut, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return cut


def deepest_line(error: BaseException) -> tuple[str, int]:
    """Return file and line of the deepest frame that is the user's; ``("", 0)`` if there is none."""
    found = ("", 0)
    for entry in _entries(error.__traceback__):
        if not _is_machinery(entry):
            found = (entry.tb_frame.f_code.co_filename, entry.tb_lineno)
    return found


def without_machinery(error: BaseException) -> None:
    """Cut our frames out of the traceback of ``error``, of its causes and of the members of its groups."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _cut(one.__traceback__)
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]

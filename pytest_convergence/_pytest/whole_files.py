"""Writes files that others read at the same time: all of the new text, or all of the old."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> bool:
    """Put ``text`` in the place of what the file holds; return whether that was possible.

    A checkout may be read-only, a disk full: what is kept beside the tests is a convenience, never a reason to fail.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        return False
    return True

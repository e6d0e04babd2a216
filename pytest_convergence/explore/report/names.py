"""Names of files for tests: safe on every file system, the same each time, different for different tests."""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["file_name"]

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST: Final = 80
_DIGITS: Final = 10


def file_name(nodeid: str) -> str:
    """Return the name, without an ending, of the files that belong to the test ``nodeid``.

    Whatever a parameter of a test holds, the name has ASCII letters, digits, ``_`` and ``-`` only, and at most 91
    characters. A digest of the node id keeps apart what looks alike, also where case does not count.
    """
    digest = hashlib.sha256(nodeid.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]
    readable = _UNSAFE.sub("-", nodeid.replace(".py::", "-")).strip("-")[:_LONGEST].strip("-")
    return f"{readable or 'test'}-{digest}"

"""Schedules in files: a token of a hundred deviations does not fit on a command line that a person reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["LONGEST_TOKEN", "token_text"]

LONGEST_TOKEN: Final = 200
"""Characters of a token that is printed as it is; longer ones go into a file."""

_TOKEN: Final = re.compile(r"c[0-9]+-")


def token_text(text: str, directory: Path) -> str:
    """Return the token that ``text`` is, or that the file ``text`` or ``@text`` holds, seen from ``directory``.

    Lines of the file that begin with ``#`` are not part of it.

    Raises:
        ConvergenceUsageError: the file cannot be read.
    """
    path = directory / text.removeprefix("@")
    if not text.startswith("@") and (_TOKEN.match(text) or not _is_file(path)):
        return text
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConvergenceUsageError(f"the schedule in the file {path} cannot be read: {error}.") from None
    return "".join(line.strip() for line in lines if not line.startswith("#"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name
        return False

"""A schedule as a short text that can be pasted into a command line, a marker or a bug report.

1. A token is ``c1-`` and the URL-safe Base64 of compressed JSON: for each session of the test its seed, its deviations by
   label and the faults that it allowed; the fingerprint of the run that it came from (the first hex digits of its trace's
   digest); and the version of Python. The number is the version of the format.
2. By the fingerprint a replay can be told from a run in which the code under test takes another path than it did. The
   version of Python may explain it: ``asyncio.wait_for`` runs what it waits for in the same task from 3.12 on.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["FINGERPRINT_DIGITS", "Recorded", "Token", "parse_token", "write_token"]

_FORMAT: Final = 1
_PREFIX: Final = f"c{_FORMAT}-"
_FIELDS: Final = 3
FINGERPRINT_DIGITS: Final = 12
"""How many hex digits of a trace's digest are kept."""


class Recorded(NamedTuple):
    """The schedule of one session: its seed, its deviations from calm, the kinds of faults that it may inject."""

    seed: int
    deviations: tuple[tuple[str, int], ...]
    faults: tuple[str, ...] = ()


class Token(NamedTuple):
    """What a token holds.

    Attributes:
        sessions: the schedules of the test's sessions, in the order in which they were made.
        fingerprint: of the run that it came from; empty if that run had no trace.
        python: the version of Python that made it, such as ``3.11``; empty if that is not known.
    """

    sessions: tuple[Recorded, ...]
    fingerprint: str = ""
    python: str = ""


def write_token(sessions: Sequence[Recorded], fingerprint: str = "", python: str = "") -> str:
    """Return the token of these schedules."""
    content: list[Any] = [
        [[one.seed, [list(pair) for pair in one.deviations], list(one.faults)] for one in sessions],
        fingerprint[:FINGERPRINT_DIGITS],
    ]
    if python:
        content.append(python)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return _PREFIX + base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def parse_token(text: object) -> Token:
    """Return what a token holds.

    Raises:
        ConvergenceUsageError: it is no token, is cut short, or has another version.
    """
    if not isinstance(text, str) or not text.startswith("c") or "-" not in text:
        raise ConvergenceUsageError(f"{text!r} is no token of a schedule; tokens look like 'c1-eJyLjgUA…'.")
    if not text.startswith(_PREFIX):
        version = text.partition("-")[0]
        raise ConvergenceUsageError(
            f"the token {_shortened(text)} has the format {version!r}, but this version of the plugin reads 'c{_FORMAT}'. "
            "Replay it with the version that printed it, or search again."
        )
    body = text.removeprefix(_PREFIX)
    try:
        packed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        sessions, fingerprint, *python = json.loads(zlib.decompress(packed))
        return Token(tuple(map(_recorded, sessions)), _text(fingerprint), _text(*(python or [""])))
    except (binascii.Error, zlib.error, ValueError, TypeError) as error:
        raise ConvergenceUsageError(
            f"the token {_shortened(text)} cannot be read ({error}): it is cut short or was changed. Copy it again, whole."
        ) from None


def _recorded(item: Any) -> Recorded:
    if not isinstance(item, list) or len(item) != _FIELDS or type(item[0]) is not int:
        raise ValueError("a session is missing")
    seed, pairs, faults = item
    deviations = []
    for label, option in pairs:
        if type(option) is not int:
            raise ValueError(f"{option!r} is no option")
        deviations.append((_text(label), option))
    return Recorded(seed, tuple(deviations), tuple(map(_text, faults)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 24 else f"{text[:23]}…")

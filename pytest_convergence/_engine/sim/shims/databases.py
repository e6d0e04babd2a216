"""SQLite: it has a clock and chance of its own, in C. Its functions that ask for them are those of the world instead."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, Final

from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world
from pytest_convergence._engine.sim.shims.patching import Row, delegate

__all__ = ["rows"]

_TIMES: Final = {"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "strftime": 1}
"""SQLite's functions of time, and which of their arguments is the time (https://sqlite.org/lang_datefunc.html)."""
_CURRENT: Final = {"current_date": "date", "current_time": "time", "current_timestamp": "datetime"}
_NOW: Final = frozenset({"now"})
_FRACTIONS: Final = frozenset({"subsec", "subsecond"})
_JULIAN_EPOCH: Final = 2_440_587.5
_DAY_NS: Final = 86_400 * 10**9
_LONGEST_BLOB: Final = 1_000_000_000


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    closed = "a connection whose 'now', CURRENT_TIMESTAMP, random() and randomblob() are the world's"
    yield Row("sqlite3:connect", closed, delegate(_connect, RUNS, asked_world), "clocks", when_loaded=True)


def _connect(_world: Any, original: Any, /, *args: Any, **options: Any) -> Any:
    connection = original(*args, **options)
    genuine = _genuine(original)
    for name, place in _TIMES.items():
        if _knows(genuine, name):
            answer = partial(_tell, genuine, name, place)
            connection.create_function(name, -1, answer, deterministic=True)
    for name, function in _CURRENT.items():
        connection.create_function(name, 0, partial(_tell, genuine, function, 0))
    connection.create_function("random", 0, _random)
    connection.create_function("randomblob", 1, _blob)
    return connection


@cache
def _genuine(connect: Any) -> Any:
    """Make the connection that computes with times; it has no data, so all may share it."""
    made = connect(":memory:", check_same_thread=False, isolation_level=None)
    atexit.register(made.close)
    return made


def _knows(genuine: Any, name: str) -> bool:
    """Whether this version of SQLite has a function."""
    found = genuine.execute("SELECT count(*) FROM pragma_function_list WHERE name = ?", (name,))
    return bool(found.fetchone()[0])


def _tell(genuine: Any, name: str, place: int, *args: Any) -> Any:
    """Let SQLite answer, with the world's time in place of its own."""
    given = list(args)
    if len(given) == place or (len(given) > place and _is(given[place], _FRACTIONS)):
        given.insert(place, "now")
    if len(given) > place and _is(given[place], _NOW):
        given[place] = _JULIAN_EPOCH + time.time_ns() / _DAY_NS
    marks = ", ".join("?" * len(given))
    return genuine.execute(f"SELECT {name}({marks})", given).fetchone()[0]


def _is(value: object, words: frozenset[str]) -> bool:
    return isinstance(value, str) and value.lower() in words


def _bytes(size: int) -> bytes:
    world = asked_world(1) if RUNS else None
    return os.urandom(size) if world is None else world.entropy().randbytes(size)


def _random() -> int:
    return int.from_bytes(_bytes(8), "little", signed=True)


def _blob(size: Any) -> bytes:
    try:
        wanted = int(size)
    except (TypeError, ValueError):  # as SQLite, which takes what is no number for 0
        wanted = 0
    return _bytes(min(max(wanted, 1), _LONGEST_BLOB))

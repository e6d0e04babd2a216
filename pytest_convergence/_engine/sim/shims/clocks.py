"""Clocks: inside a run every clock of the standard library shows the current agent's virtual time.

``time.time`` and its kin show the agent's wall clock, the others its monotonic clock. Reading costs a little virtual
time when it is done over and over, so code that waits by polling a clock gets somewhere. The machine's time zone is not
touched: local times depend on it inside a run as they do outside.
"""

from __future__ import annotations

import datetime
import operator
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.sim.shims.asking import RUNS, SimulatedWorld, asked_world
from pytest_convergence._engine.sim.shims.patching import Home, Make, Row, delegate

__all__ = ["rows"]

_NS_PER_MICROSECOND: Final = 1_000
_WALL_CLOCKS: Final = tuple(
    getattr(time, name) for name in ("CLOCK_REALTIME", "CLOCK_TAI") if hasattr(time, name)
)
_NO_TIME_GIVEN: Final = ((), (None,))


def rows() -> Iterator[Row]:
    """Return what is replaced, and by what."""
    wall, monotonic = "the agent's wall clock", "the agent's monotonic clock"
    for name, read, closed in (
        ("time", _wall_seconds, wall),
        ("time_ns", _wall_ns, wall),
        ("monotonic", _monotonic_seconds, monotonic),
        ("monotonic_ns", _monotonic_ns, monotonic),
        ("perf_counter", _monotonic_seconds, monotonic),
        ("perf_counter_ns", _monotonic_ns, monotonic),
        ("process_time", _monotonic_seconds, monotonic),
        ("process_time_ns", _monotonic_ns, monotonic),
        ("thread_time", _monotonic_seconds, monotonic),
        ("thread_time_ns", _monotonic_ns, monotonic),
    ):
        yield Row(f"time:{name}", closed, _reader(read), "clocks")
    for name, answer, closed in (
        ("clock_gettime", _clock_gettime, "either clock, by the identifier"),
        ("clock_gettime_ns", _clock_gettime_ns, "either clock, by the identifier"),
        ("localtime", _of_now, wall),
        ("gmtime", _of_now, wall),
        ("ctime", _of_now, wall),
        ("asctime", _asctime, wall),
        ("strftime", _strftime, wall),
        ("sleep", _sleep, "virtual time passes, for the whole thread as in reality"),
    ):
        yield Row(f"time:{name}", closed, delegate(answer, RUNS, asked_world), "clocks")
    yield Row("os:times", monotonic, delegate(_times, RUNS, asked_world), "clocks")
    yield Row("datetime:datetime.now", wall, _make_now, "clocks")
    yield Row("datetime:datetime.utcnow", wall, _make_utcnow, "clocks")
    yield Row("datetime:date.today", wall, _make_today, "clocks")


def _wall_ns(world: SimulatedWorld) -> int:
    return world.poll_clock()


def _monotonic_ns(world: SimulatedWorld) -> int:
    return world.poll_monotonic()


def _wall_seconds(world: SimulatedWorld) -> float:
    return world.poll_clock() / NS_PER_SECOND


def _monotonic_seconds(world: SimulatedWorld) -> float:
    return world.poll_monotonic() / NS_PER_SECOND


def _reader(read: Callable[[SimulatedWorld], float]) -> Make:
    """Make replacements of clocks that take no arguments; these are called most, so they are made lean."""

    def make(original: Callable[[], Any]) -> Callable[..., Any]:
        runs, ask = RUNS, asked_world

        def shim(_home: Home, /) -> Any:
            world = ask() if runs else None
            return original() if world is None else read(world)

        return shim

    return make


def _clock_gettime(world: SimulatedWorld, original: Any, clk_id: int, /) -> float:
    return _clock_gettime_ns(world, original, clk_id) / NS_PER_SECOND


def _clock_gettime_ns(world: SimulatedWorld, original: Any, clk_id: int, /) -> int:
    return world.poll_clock() if clk_id in _WALL_CLOCKS else world.poll_monotonic()


def _of_now(world: SimulatedWorld, original: Any, /, *args: Any) -> Any:
    return original(_wall_seconds(world)) if args in _NO_TIME_GIVEN else original(*args)


def _asctime(world: SimulatedWorld, original: Any, /, *args: Any) -> Any:
    return original(*args) if args else original(time.localtime(_wall_seconds(world)))


def _strftime(world: SimulatedWorld, original: Any, /, *args: Any) -> Any:
    return original(*args, time.localtime(_wall_seconds(world))) if len(args) == 1 else original(*args)


def _sleep(world: SimulatedWorld, original: Any, seconds: float, /) -> None:
    length = seconds if isinstance(seconds, int | float) else operator.index(seconds)
    if not length >= 0:
        raise ValueError("sleep length must be non-negative")
    world.sleep_blocking(round(length * NS_PER_SECOND))


def _times(world: SimulatedWorld, original: Any, /) -> Any:
    seconds = _monotonic_seconds(world)
    return type(original())((seconds, 0.0, 0.0, 0.0, seconds))


# -- datetime ----------------------------------------------------------------------------------------------------------


def _fromtimestamp_seconds(world: SimulatedWorld) -> float:
    """The wall clock in whole microseconds. A float of seconds is that exact until the year 2106."""
    return world.poll_clock() // _NS_PER_MICROSECOND / 1_000_000


def _make_now(original: Any) -> Callable[..., Any]:
    bind, runs, ask = original.__get__, RUNS, asked_world

    def now(cls: type[datetime.datetime], tz: datetime.tzinfo | None = None) -> Any:
        world = ask() if runs else None
        return bind(None, cls)(tz) if world is None else cls.fromtimestamp(_fromtimestamp_seconds(world), tz)

    return now


def _make_utcnow(original: Any) -> Callable[..., Any]:
    def utcnow(cls: type[datetime.datetime]) -> Any:
        if sys.version_info >= (3, 12):
            # Said here and not by the original, which would name this line as the place to change.
            warnings.warn(
                "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version. Use "
                "timezone-aware objects to represent datetimes in UTC: datetime.datetime.now(datetime.UTC).",
                DeprecationWarning,
                stacklevel=2,
            )
        # Through datetime's own now(), which asks the world.
        return vars(datetime.datetime)["now"].__get__(None, cls)(datetime.UTC).replace(tzinfo=None)

    return utcnow


def _make_today(original: Any) -> Callable[..., Any]:
    bind, runs, ask = original.__get__, RUNS, asked_world

    def today(cls: type[datetime.date]) -> Any:
        world = ask() if runs else None
        return bind(None, cls)() if world is None else cls.fromtimestamp(_fromtimestamp_seconds(world))

    return today

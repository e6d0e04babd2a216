"""Hashes that are the same in every run, for what programs and the standard library keep in sets.

A server broadcasts to a set of writers, a hub to a set of queues, ``concurrent.futures.wait`` returns a set of futures,
``asyncio.Server.abort_clients`` goes through a weak set of transports. Hashed by address, each of these sets would have
another order in each run. Objects of the classes below that are made inside a run hash by the next number of their world
instead; those made elsewhere hash as ever. (Tasks have numbers of their own, see :mod:`.tasks`.)
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from asyncio import selector_events, sslproto
from collections.abc import Callable
from typing import Any, Final

from pytest_convergence._engine.sim.shims.asking import RUNS, asked_world

__all__ = ["HASHED_BY_NUMBER", "cover_hashes"]

HASHED_BY_NUMBER: Final[tuple[type, ...]] = (
    asyncio.Condition,
    asyncio.Event,
    asyncio.Lock,
    asyncio.Queue,
    asyncio.Semaphore,
    asyncio.Server,
    asyncio.StreamReader,
    asyncio.StreamWriter,
    concurrent.futures.Future,
    selector_events._SelectorTransport,  # type: ignore[attr-defined]
    sslproto._SSLProtocolTransport,
    threading.Thread,
)
"""Classes of the standard library whose objects are often kept in sets. Those written in C can't be changed."""

_NUMBER: Final = "_number_in_world"


def _hash(self: Any) -> int:
    number: int | None = self.__dict__.get(_NUMBER)
    return object.__hash__(self) if number is None else number


def _numbering(covered: Any) -> Callable[..., Any]:
    """Make the ``__new__`` of a class; the number has to be there before anything could hash the object."""

    def make(cls: type, *args: Any, **options: Any) -> Any:
        original = super(covered, cls).__new__
        made: Any = original(cls) if original is object.__new__ else original(cls, *args, **options)
        world = asked_world() if RUNS else None
        if world is not None:
            made.__dict__[_NUMBER] = next(world.numbers)
        return made

    return make


def cover_hashes() -> None:
    """Let objects of these classes hash by number. Stays in place: an object keeps its hash when its run is over."""
    covered: Any
    for covered in HASHED_BY_NUMBER:
        if covered.__hash__ is object.__hash__:
            covered.__new__ = _numbering(covered)
            covered.__hash__ = _hash

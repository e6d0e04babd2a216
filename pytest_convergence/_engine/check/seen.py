"""What an agent has seen, as facts tell it: a clock (how many updates of each agent) or the ids of updates.

Facts of reference replicas carry clocks; agents of a user's own may count or name updates. The two are not compared with
each other: what cannot be told is taken to be in order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.clocks import VectorClock

__all__ = ["NOTHING", "Seen", "covers", "equal", "told", "united", "without"]

Seen: TypeAlias = "VectorClock | frozenset[Hashable]"

NOTHING: Final = VectorClock()
"""Nothing at all, in either form."""


def told(value: Any) -> Seen:
    """Return what a fact says that an agent has seen; ``None`` is nothing."""
    if isinstance(value, VectorClock):
        return value
    if isinstance(value, Mapping):
        counts = all(type(name) is str and type(count) is int and count >= 0 for name, count in value.items())
        return VectorClock(value) if counts else frozenset(map(canonical, value.items()))
    if value is None or isinstance(value, str) or not isinstance(value, Iterable):
        return NOTHING if value is None else frozenset((_id(value),))
    return frozenset(map(_id, value))


def _id(value: Any) -> Hashable:
    return value if isinstance(value, str | int) else canonical(value)


def covers(larger: Seen, smaller: Seen) -> bool:
    """Whether whoever has seen ``larger`` has seen all of ``smaller``; true where that cannot be told."""
    if isinstance(larger, VectorClock) and isinstance(smaller, VectorClock):
        return smaller <= larger
    if isinstance(larger, frozenset) and isinstance(smaller, frozenset):
        return smaller <= larger
    return bool(larger) or not smaller


def equal(one: Seen, other: Seen) -> bool:
    """Whether both are the same."""
    return one == other or not (one or other)


def united(one: Seen, other: Seen) -> Seen:
    """Return what either has; the newer form where they are of two."""
    if isinstance(one, VectorClock) and isinstance(other, VectorClock):
        return one if other <= one else one | other
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return one | other
    return other or one


def without(seen: Seen, agent: str) -> Seen:
    """Leave out what ``agent`` itself wrote, where that can be told."""
    if isinstance(seen, VectorClock) and agent in seen:
        return VectorClock({name: count for name, count in seen.items() if name != agent})
    return seen

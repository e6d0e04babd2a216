"""What asyncio's own constructors give to a loop, learnt once and handed out again.

A tiny session takes half a millisecond, and the three constructors of asyncio would take a tenth of that: they look up the
machine's clock and write to a log for each loop. What they set is learnt from one loop, made by them. Numbers and ``None``
are given on as they are, containers that were empty are made anew. Where a version of asyncio sets something else, its
constructors do the work as ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, Final, final

from pytest_convergence._engine.sim.selector import WorldSelector

__all__ = ["StockAttributes", "stock_attributes"]

_PLAIN: Final = (type(None), bool, int, float)
_MADE_ANEW: Final[tuple[Callable[[], Any], ...]] = (deque, dict, list, set, WorldSelector)


@final
class StockAttributes:
    """The attributes of a new loop."""

    __slots__ = ("_anew", "_plain")

    def __init__(self, plain: dict[str, Any], anew: tuple[tuple[str, Callable[[], Any]], ...]) -> None:
        self._plain = plain
        self._anew = anew

    def give(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give ``loop`` what asyncio's constructors would."""
        attributes = vars(loop)
        attributes.update(self._plain)
        for name, make in self._anew:
            attributes[name] = make()


@final
class _Bare(asyncio.SelectorEventLoop):
    """A loop as asyncio makes it, without file descriptors."""

    def _make_self_pipe(self) -> None:
        """There is no other thread to be woken by."""

    def _close_self_pipe(self) -> None:
        """There is nothing to close."""


@cache
def stock_attributes() -> StockAttributes | None:
    """Return what a loop is to be given; ``None`` if that is more than can be told: then asyncio's constructors must."""
    loop = _Bare(WorldSelector())
    found = dict(vars(loop))
    loop.close()
    # The loop keeps its generators in order itself; its transports it forgets when their sockets are closed.
    found |= {"_asyncgens": None, "_transports": {}}
    plain = {name: value for name, value in found.items() if type(value) in _PLAIN}
    anew = tuple((name, type(value)) for name, value in found.items() if type(value) in _MADE_ANEW)
    if len(plain) + len(anew) < len(found) or any(
        found[name] for name, kind in anew if kind is not WorldSelector
    ):
        return None
    return StockAttributes(plain, anew)

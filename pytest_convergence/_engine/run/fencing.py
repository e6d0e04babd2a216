"""A guarded resource: refuses whoever comes with a smaller fencing token than one that was there before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.patterns.handoff import FencingToken
from pytest_convergence.errors import ConvergenceUsageError, StaleTokenError

__all__ = ["Effect", "FencedResource"]


class Effect(NamedTuple):
    """Something that a resource accepted.

    Attributes:
        token: by which token.
        agent: whose code did it, ``None`` for the test's own.
        value: what was done.
    """

    token: Any
    agent: str | None
    value: Any


@final
class FencedResource:
    """Something outside all agents that works change: a store, an account, a printer. Made by ``session.resource(name)``.

    It survives every crash, and remembers the greatest token of each work. An agent that was replaced, and does not know it
    yet, comes with a smaller one: that is refused (:class:`StaleTokenError`), and nothing happens.

    Attributes:
        name: what it is called.
        effects: what it accepted, in order.
        refused: what it refused, in order.
    """

    __slots__ = ("_greatest", "_observe", "effects", "name", "refused")

    def __init__(self, name: str, observe: Callable[..., str | None]) -> None:
        self.name = name
        self._observe = observe
        self._greatest: dict[str, Any] = {}
        self.effects: list[Effect] = []
        self.refused: list[Effect] = []

    def apply(self, value: Any, *, token: Any) -> None:
        """Accept ``value``, unless a greater token of the same work has been here.

        Args:
            value: what is done: plain data, for :attr:`effects`.
            token: ``handoff.token``, or any number of a protocol of your own.

        Raises:
            StaleTokenError: the token is smaller than one that was here before.
            ConvergenceUsageError: the token is none.
        """
        task, order = _split(token)
        greatest = self._greatest.get(task)
        stale = greatest is not None and order < greatest
        agent = self._observe(self.name, task, order, stale)
        effect = Effect(token, agent, snapshot(value))
        if stale:
            self.refused.append(effect)
            raise StaleTokenError(
                f"the resource {self.name!r} refuses token {_text(order)}: {_text(greatest)} has been here, so the work "
                "belongs to somebody else by now."
            )
        self._greatest[task] = order
        self.effects.append(effect)

    @property
    def values(self) -> list[Any]:
        """What was done, in order."""
        return [effect.value for effect in self.effects]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.effects)

    def __repr__(self) -> str:
        return f"<FencedResource {self.name!r}: {len(self.effects)} accepted, {len(self.refused)} refused>"


def _split(token: Any) -> tuple[str, Any]:
    if isinstance(token, FencingToken):
        return token.task, (token.epoch, token.number)
    if isinstance(token, bool) or not isinstance(token, int):
        raise ConvergenceUsageError(
            f"a fencing token is the `token` of a handoff, the `fencing_token` of a leader with terms (by bully there are "
            f"none), or a whole number of your own, not {token!r}."
        )
    return "", token


def _text(order: Any) -> str:
    return ".".join(map(str, order)) if isinstance(order, tuple) else str(order)

"""Learning a decision and telling it: the part that all consensus protocols of this package share.

1. The one who decides makes the decision durable, announces it, and tells the others.
2. It repeats itself to each agent that is not known to know (because it said so, or asked with the decision
   in hand). The intervals double up to a bound. Repeating is upkeep: it keeps no finished world awake.
3. A restarted agent that finds a decision announces it again: the same value, for a decision is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pytest_convergence._engine.base.effects import CancelTimer, Decide, Effect, Observe, Send, SetTimer

__all__ = ["DECIDED", "LONGEST_BACKOFF", "SPREAD_TIMER", "Decision"]

DECIDED: Final = "decided"
SPREAD_TIMER: Final = "spread"
LONGEST_BACKOFF: Final = 8
"""Repetitions that are upkeep slow down to this many times the interval."""


class Decision:
    """What one agent knows of the decision, and who else is known to know.

    Attributes:
        value: the decided value, ``None`` while there is none.
    """

    __slots__ = ("_informed", "_others", "_repeats", "_resend_ns", "value")

    def __init__(self, others: Sequence[str], resend_ns: int) -> None:
        self.value: Any = None
        self._others = tuple(others)
        self._resend_ns = resend_ns
        self._informed: set[str] = set()
        self._repeats = 0

    @property
    def is_made(self) -> bool:
        """Whether this agent knows the decision."""
        return self.value is not None

    def announce(self, value: Any) -> list[Effect]:
        """Announce a decision that is durable already, and begin to tell it."""
        self.value = value
        fact = Observe("decide", {"value": value})
        return [fact, Decide(value), *self.spread()]

    def spread(self) -> list[Effect]:
        """Tell whoever is not known to know; the answer to the ``spread`` timer."""
        waiting = [other for other in self._others if other not in self._informed]
        if not waiting:
            return []
        delay_ns = self._resend_ns * min(1 << self._repeats, LONGEST_BACKOFF)
        self._repeats += 1
        told: list[Effect] = [self.message_to(other, ask=True) for other in waiting]
        return [*told, SetTimer(SPREAD_TIMER, delay_ns, background=True)]

    def message_to(self, other: str, *, ask: bool = False) -> Send:
        """Tell ``other``; ``ask`` for an answer that it knows."""
        return Send(other, DECIDED, {"value": self.value, "ask": ask})

    def heard_from(self, sender: str, *, ask: bool) -> list[Effect]:
        """Take note that ``sender`` knows, and answer if it asks. The decision must be made."""
        self._informed.add(sender)
        effects: list[Effect] = [self.message_to(sender)] if ask else []
        if self._informed.issuperset(self._others):
            effects.append(CancelTimer(SPREAD_TIMER))
        return effects

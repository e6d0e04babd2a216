"""Counting votes, breaking ties and revising proposals: the pure part of voting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from pytest_convergence._engine.base.canonical import canonical

__all__ = ["REVISE_RULES", "TIE_RULES", "Revise", "Tally", "Tie", "break_tie", "revised"]

TIE_RULES: Final = ("lowest", "highest", "first-agent")
REVISE_RULES: Final = ("plurality",)

Tie: TypeAlias = str | Callable[[Sequence[Any]], Any] | None
"""``None``, a name of :data:`TIE_RULES`, or a function from the tied values to one of them."""

Revise: TypeAlias = str | Callable[[str, Any, "Tally"], Any] | None
"""``None``, a name of :data:`REVISE_RULES`, or a function of (agent, its own value, the tally) that returns the value
to vote for in the next round (``None``: keep the own one)."""


@final
@dataclass(frozen=True, slots=True)
class Tally:
    """The votes of one round, as far as one agent knows them.

    Values are told apart by ``==`` and need not be hashable.

    Attributes:
        votes: voter to value, in the order of the configured agents.
        size: how many agents are configured.
    """

    votes: Mapping[str, Any]
    size: int

    @property
    def counts(self) -> tuple[tuple[Any, int], ...]:
        """``(value, number of votes)``, most votes first, equal numbers in the order of their first voters."""
        found: list[tuple[Any, int]] = []
        for value in self.votes.values():
            for place, (known, count) in enumerate(found):
                if known == value:
                    found[place] = (known, count + 1)
                    break
            else:
                found.append((value, 1))
        return tuple(sorted(found, key=lambda pair: -pair[1]))

    @property
    def leading(self) -> tuple[Any, ...]:
        """The values with the most votes: one, or several that are tied."""
        counts = self.counts
        return tuple(value for value, count in counts if count == counts[0][1])

    @property
    def missing(self) -> int:
        """How many votes are not known."""
        return self.size - len(self.votes)


def break_tie(tie: Tie, tied: Sequence[Any]) -> Any:
    """Return the winner among ``tied`` (in the order of their first voters), or ``None`` where ties stay unbroken.

    Values that cannot be ordered among themselves are ordered by their canonical text.
    """
    if tie is None:
        return None
    if callable(tie):
        return tie(tied)
    if tie == "first-agent":
        return tied[0]
    try:
        ordered = sorted(tied)
    except TypeError:
        ordered = sorted(tied, key=lambda value: (type(value).__name__, canonical(value)))
    return ordered[0] if tie == "lowest" else ordered[-1]


def revised(agent: str, own: Any, tally: Tally, revise: Revise, tie: Tie) -> Any:
    """Return what ``agent`` votes for next, after a round that ``tally`` describes and that decided nothing.

    A tie among the leading values goes to the tie rule. Where there is no tie, or no rule, ``revise`` has the word:
    ``"plurality"`` adopts the one leading value, a function decides itself. Otherwise the agent keeps its own value.
    """
    leading = tally.leading
    value = break_tie(tie, leading) if len(leading) > 1 else None
    if value is None and callable(revise):
        value = revise(agent, own, tally)
    elif value is None and revise == "plurality" and len(leading) == 1:
        value = leading[0]
    return own if value is None else value

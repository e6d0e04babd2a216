"""Quorums over the *configured* members, whoever is reachable.

1. Two strict majorities of one set share a member. All safety arguments of this package rest on that, so a quorum is
   counted from the configuration and never from who happens to answer (Ongaro and Ousterhout 2014, section 5.2).
2. A fraction ``q`` asks for at least ``q * n`` votes, the reading of "a two-thirds vote" in parliamentary procedure
   (two thirds or more), and never for less than a strict majority. So ``1/2`` means more than half.
3. A count of half or less is refused: two values could both reach it, and no protocol could keep agreement.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Final, TypeAlias

from pytest_convergence.errors import ConvergenceUsageError

__all__ = [
    "EVERYTHING",
    "Quorum",
    "VoteResult",
    "committed_index",
    "joint_committed_index",
    "joint_vote_result",
    "majority",
    "quorum_count",
    "vote_result",
]

Quorum: TypeAlias = int | float | Fraction | None
"""``None``: a strict majority. An ``int``: that many agents. A ``float`` or ``Fraction``: that part of the agents."""

# Reads 0.7 as 7/10 and 2/3 as 2/3, so that rounding never asks for one vote too many.
_DENOMINATOR: Final = 1_000_000


def majority(size: int) -> int:
    """Return the smallest number that is more than half of ``size``."""
    return size // 2 + 1


def quorum_count(quorum: Quorum, size: int) -> int:
    """Return how many of ``size`` configured agents make the quorum.

    Raises:
        ConvergenceUsageError: the quorum is not a number, or is out of range for so many agents.
    """
    least = majority(size)
    if quorum is None:
        return least
    if isinstance(quorum, bool) or not isinstance(quorum, int | float | Fraction):
        raise ConvergenceUsageError(
            f"quorum must be None (strict majority), a count or a fraction of the agents, not {quorum!r}."
        )
    if isinstance(quorum, int):
        if not least <= quorum <= size:
            why = "two values could both reach fewer" if quorum < least else "there are not more"
            raise ConvergenceUsageError(
                f"quorum={quorum} is out of range for {size} agents: it must be {least} to {size}, because {why}."
                + _fraction_hint(quorum, size)
            )
        return quorum
    if not (math.isfinite(quorum) and 0.5 <= quorum <= 1):
        raise ConvergenceUsageError(
            f"quorum={quorum!r} is out of range: a fraction must be 1/2 (meaning more than half) to 1.0 (all of them)."
        )
    part = Fraction(quorum).limit_denominator(_DENOMINATOR)
    return max(least, math.ceil(part * size))


def _fraction_hint(quorum: int, size: int) -> str:
    return " For all of them write quorum=1.0." if quorum == 1 < size else ""


class VoteResult(StrEnum):
    """What the votes so far say about a yes-or-no question."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def vote_result(members: Collection[str], votes: Mapping[str, bool], quorum: int | None = None) -> VoteResult:
    """Return the result of ``votes`` (voter to yes or no) among ``members``; votes of others do not count.

    ``quorum`` is a number of members, a strict majority by default. No members always win: that makes the empty half
    of a joint configuration neutral.
    """
    if not members:
        return VoteResult.WON
    needed = majority(len(members)) if quorum is None else quorum
    yes = sum(1 for member in members if votes.get(member) is True)
    missing = sum(1 for member in members if member not in votes)
    if yes >= needed:
        return VoteResult.WON
    return VoteResult.PENDING if yes + missing >= needed else VoteResult.LOST


def joint_vote_result(old: Collection[str], new: Collection[str], votes: Mapping[str, bool]) -> VoteResult:
    """Return the result where majorities of two configurations must agree (Ongaro and Ousterhout 2014, section 6)."""
    results = {vote_result(old, votes), vote_result(new, votes)}
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON


EVERYTHING: Final = (1 << 63) - 1
"""The index up to which nobody at all has committed: an empty half of a joint configuration holds nothing back."""


def committed_index(members: Collection[str], held: Mapping[str, int], quorum: int | None = None) -> int:
    """Return the highest index up to which a quorum of ``members`` hold the log.

    Args:
        held: member to the index up to which it is known to hold the log; who is missing holds nothing.
        quorum: a number of members, a strict majority by default.
    """
    if not members:
        return EVERYTHING
    needed = majority(len(members)) if quorum is None else quorum
    return sorted((held.get(member, 0) for member in members), reverse=True)[needed - 1]


def joint_committed_index(old: Collection[str], new: Collection[str], held: Mapping[str, int]) -> int:
    """Return the highest index that majorities of both configurations hold."""
    return min(committed_index(old, held), committed_index(new, held))

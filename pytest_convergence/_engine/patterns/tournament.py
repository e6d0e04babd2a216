"""Who stands where: the order of bids, and the rounds of a knock-out tournament.

Everything here is a pure function of scores and of one declared order of agents, which breaks every tie. So the ranking
does not depend on the order in which bids came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["BEST", "Entry", "Match", "play", "ranked"]

BEST: Final = ("highest", "lowest")
"""Which score wins."""


class Entry(NamedTuple):
    """One agent's bid and what it is worth."""

    agent: str
    result: Any
    score: Any


class Match(NamedTuple):
    """Two agents of a tournament's round, and who goes on; ``winner`` is ``None`` if neither made a bid."""

    one: str
    other: str | None
    winner: str | None


def ranked(entries: Sequence[Entry], order: Sequence[str], best: str) -> list[Entry]:
    """Return the entries, best first; equal scores in the declared ``order`` of agents.

    Raises:
        ConvergenceUsageError: scores cannot be compared.
    """
    for entry in entries:
        if entry.score is None or entry.score != entry.score:
            raise ConvergenceUsageError(
                f"score returned {entry.score!r} for the result of {entry.agent!r}, which cannot be ranked. Return a "
                "number, or anything else that compares with the other scores."
            )
    declared = sorted(entries, key=lambda entry: order.index(entry.agent))
    try:
        return sorted(declared, key=lambda entry: entry.score, reverse=best == "highest")
    except TypeError as error:
        scores = ", ".join(f"{entry.score!r} for {entry.agent!r}" for entry in declared)
        raise ConvergenceUsageError(
            f"the scores cannot be compared with one another: {scores}. Let score return values of one kind."
        ) from error


def play(invited: Sequence[str], ranking: Sequence[Entry]) -> list[Match]:
    """Play one round: neighbours in ``invited`` meet, the better one in ``ranking`` goes on.

    Who made no bid has lost. Whoever is left over goes on if it made a bid.
    """
    places: Mapping[str, int] = {entry.agent: place for place, entry in enumerate(ranking)}
    matches = []
    for place in range(0, len(invited), 2):
        pair = invited[place : place + 2]
        present = [agent for agent in pair if agent in places]
        winner = min(present, key=lambda agent: places[agent], default=None)
        matches.append(Match(pair[0], pair[1] if len(pair) > 1 else None, winner))
    return matches

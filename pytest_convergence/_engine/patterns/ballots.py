"""Counting the votes about one conflict: who is eligible, what weighs how much, when it is enough, who wins.

Weights, quorum and ties follow weighted voting (D. Gifford, *Weighted Voting for Replicated Data*, SOSP 1979, section 2):
the quorum is a part of the weight of all who are eligible, whoever is reachable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pytest_convergence._engine.state.conflicts import Conflict
from pytest_convergence._engine.state.resolution import ByVote, break_tie
from pytest_convergence._engine.state.three_way import same
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["Count", "checked_vote", "count", "default_vote"]


class Count(NamedTuple):
    """What the votes about a conflict come to.

    Attributes:
        cast: the weight of all who have voted, abstentions included.
        eligible: the weight of all who may vote.
        by_candidate: what each rival value has, by the first of its authors.
        enough: whether ``cast`` makes the quorum.
        is_sure: whether the votes that are missing can change nothing.
        winner: the author whose value won, or ``None``: no votes, no quorum, or a tie that nothing breaks.
        votes: who voted for which candidate, ``None`` for an abstention.
    """

    cast: float
    eligible: float
    by_candidate: Mapping[str, float]
    enough: bool
    is_sure: bool
    winner: str | None
    votes: Mapping[str, str | None]


def count(conflict: Conflict, rules: ByVote, votes: Mapping[str, str | None]) -> Count:
    """Count ``votes``: voter to author, ``None`` for an abstention. Votes of others than the voters do not count."""
    voters = tuple(rules.voters or ())
    eligible = sum(rules.weight(voter) for voter in voters)
    cast = sum(rules.weight(voter) for voter in voters if voter in votes)
    enough = 2 * cast > eligible if rules.quorum is None else cast >= rules.quorum * eligible
    by_candidate: dict[str, float] = {}
    counted: dict[str, str | None] = {}
    for voter in voters:
        if voter in votes:
            candidate = counted[voter] = _candidate(conflict, votes[voter])
            if candidate is not None:
                by_candidate[candidate] = by_candidate.get(candidate, 0) + rules.weight(voter)
    most = max(by_candidate.values(), default=0)
    first = [candidate for candidate in sorted(by_candidate) if by_candidate[candidate] == most]
    winner: str | None = None
    if most > 0 and enough:
        winner = first[0] if len(first) == 1 else break_tie(rules.tie, conflict, first)
    is_sure = all(voter in votes for voter in voters) or (enough and 2 * most > eligible)
    return Count(cast, eligible, by_candidate, enough, is_sure, winner, counted)


def _candidate(conflict: Conflict, author: str | None) -> str | None:
    """Votes are for values: those who wrote the same are one candidate, under the first of their names."""
    if author not in conflict.agents:
        return None
    value = conflict.values[author]
    return next(other for other in conflict.agents if same(conflict.values[other], value))


def default_vote(conflict: Conflict, voter: str) -> str:
    """Authors vote for themselves, all others for the last write."""
    return voter if voter in conflict.agents else conflict.writes[-1].agent


def checked_vote(conflict: Conflict, voter: str, vote: object) -> str | None:
    """Return a vote that the user's function gave.

    Raises:
        ConvergenceUsageError: it is neither ``None`` nor one of the authors.
    """
    if vote is None:
        return None
    if not isinstance(vote, str):
        raise ConvergenceUsageError(
            f"the vote of {voter!r} about {conflict.path!r} is {vote!r}; return the name of one of the authors, "
            f"{', '.join(map(repr, conflict.agents))}, or None to abstain."
        )
    if vote not in conflict.agents:
        raise unknown_name(f"author in the vote of {voter!r}", vote, conflict.agents)
    return vote

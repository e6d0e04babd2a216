"""Whom the reason of a hand-off lets take the work, and whom it prefers, where no taker is named.

All who offer the capabilities are asked what they have to do. Of them:

| reason | who may take it | who is asked first |
|---|---|---|
| capability | everybody | the least loaded, then by priority, then by name |
| load-balancing | who has less to do than the giver has besides this work | as above |
| escalation | who stands above the giver: has a higher priority | the next higher priority, then the least loaded |
| failure-recovery | everybody | those that have not had it, then as above |
| delegation | who has not had it: what is delegated does not come back | as above |
| pipeline-step | who has not had it: a line goes one way | the next one after the giver, in the order of the session |
| timeout | who has room at once, for there is no time left to wait | those that have not had it, then as above |

A giver that offers nothing itself stands below everybody, and does no work that could be balanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.patterns.capabilities import Standing
from pytest_convergence._engine.patterns.handoff import HandoffReason

__all__ = ["Circumstances", "may_wait", "suitable", "why_nobody"]


class Circumstances(NamedTuple):
    """What a reason looks at.

    Attributes:
        giver: what the giver says of itself, without this work.
        path: who has had the work, the giver included.
        agents: all agents of the session, in order.
    """

    giver: Standing
    path: tuple[str, ...]
    agents: tuple[str, ...]


class _Rule(NamedTuple):
    fits: Callable[[Circumstances, Standing], bool]
    rank: Callable[[Circumstances, Standing], Any]
    nobody: str  # why nobody may take it, where some could do it


def _anybody(giving: Circumstances, each: Standing) -> bool:
    return True


def _is_new(giving: Circumstances, each: Standing) -> bool:
    return each.agent not in giving.path


def _has_less_to_do(giving: Circumstances, each: Standing) -> bool:
    return not giving.giver.declared or each.load < giving.giver.load


def _stands_above(giving: Circumstances, each: Standing) -> bool:
    return not giving.giver.declared or each.priority > giving.giver.priority


def _by_load(giving: Circumstances, each: Standing) -> Any:
    return each.load, -each.priority


def _new_first(giving: Circumstances, each: Standing) -> Any:
    return not _is_new(giving, each), each.load, -each.priority


def _next_above(giving: Circumstances, each: Standing) -> Any:
    return each.priority, each.load


def _next_in_line(giving: Circumstances, each: Standing) -> Any:
    order = giving.agents
    return (order.index(each.agent) - order.index(giving.giver.agent)) % len(order)


_RULES: Final[Mapping[str, _Rule]] = {
    HandoffReason.CAPABILITY: _Rule(_anybody, _by_load, ""),
    HandoffReason.LOAD_BALANCING: _Rule(_has_less_to_do, _by_load, "nobody has less to do"),
    HandoffReason.ESCALATION: _Rule(_stands_above, _next_above, "nobody stands above"),
    HandoffReason.FAILURE_RECOVERY: _Rule(_anybody, _new_first, ""),
    HandoffReason.DELEGATION: _Rule(_is_new, _by_load, "everybody who could has had it"),
    HandoffReason.PIPELINE_STEP: _Rule(_is_new, _next_in_line, "everybody who could has had it"),
    HandoffReason.TIMEOUT: _Rule(_anybody, _new_first, ""),
}


def suitable(reason: str, giving: Circumstances, capable: Iterable[Standing]) -> tuple[Standing, ...]:
    """Those of ``capable`` that may take the work, in the order in which they are asked."""
    rule = _RULES[reason]
    found = [each for each in capable if rule.fits(giving, each)]
    return tuple(sorted(found, key=lambda each: (rule.rank(giving, each), each.agent)))


def why_nobody(reason: str) -> str:
    """Why nobody of those that could do it may take it."""
    return _RULES[reason].nobody


def may_wait(reason: str) -> bool:
    """Whether a work may wait until somebody who is full has room."""
    return reason != HandoffReason.TIMEOUT

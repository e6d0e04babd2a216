"""What a supervisor does about a failed child, after the supervisors of Erlang/OTP.

Source: Armstrong, *Making reliable distributed systems in the presence of software errors* (2003), section 5.2, and the
design principles of OTP (supervisor behaviour): restart strategies, and a bound on restarts beyond which the supervisor
itself gives up, so that whoever supervises *it* must act.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

__all__ = ["RESTART_STRATEGIES", "Supervision", "scope_of"]

RESTART_STRATEGIES: Final = ("one_for_one", "one_for_all", "rest_for_one")


class Supervision(NamedTuple):
    """How all supervisors of a tree treat failures.

    Attributes:
        strategy: who is restarted: the failed child, all children, or the failed one and those that come after it.
        max_restarts: how many restarts may happen within ``within_ns``; at one more the supervisor gives up.
        within_ns: nanoseconds.
        deadline_ns: how long the root may take, in nanoseconds.
        share: the part of its own remaining time that a parent gives each attempt of a child.
        silence_ns: a child that is not heard of for so long has failed; nanoseconds.
        resend_ns: after how long an unanswered message is repeated; nanoseconds.
    """

    strategy: str
    max_restarts: int
    within_ns: int
    deadline_ns: int
    share: float
    silence_ns: int
    resend_ns: int


def scope_of(strategy: str, failed: Collection[int], count: int) -> tuple[int, ...]:
    """Return which of ``count`` children, numbered in their order, are restarted when those in ``failed`` have failed."""
    if strategy == "one_for_all":
        return tuple(range(count))
    if strategy == "rest_for_one":
        return tuple(range(min(failed), count))
    return tuple(sorted(failed))

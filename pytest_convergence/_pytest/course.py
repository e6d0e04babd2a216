"""What the sessions of a test follow when their schedules are given: to replay one, to pin one, to try a smaller one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.tokens import parse_token

if TYPE_CHECKING:
    from pytest_convergence._engine.run.session import Session

__all__ = ["Course"]


@final
@dataclass(frozen=True, slots=True)
class Course:
    """What the sessions of a run follow instead of the schedules that they would choose.

    Attributes:
        schedules: of the sessions, in the order in which they are made; sessions beyond them choose for themselves.
        recorded: whether what is chosen is recorded.
        surveyed: whether it is also recorded when, and where else faults might have struck.
        takes_snapshots: whether what agents hold is kept after each step, for a report.
        horizon_ns: the virtual nanoseconds after which a session is given up; 0 for its own bound.
        fingerprint: of the run that the schedules were taken from; empty if that is not known.
        python: the version of Python that they were found on; empty if that is not known.
    """

    schedules: Sequence[Schedule] = ()
    recorded: bool = False
    surveyed: bool = False
    takes_snapshots: bool = False
    horizon_ns: int = 0
    fingerprint: str = ""
    python: str = ""

    @classmethod
    def of_token(cls, text: str) -> Course:
        """Return the course that a token holds.

        Raises:
            ConvergenceUsageError: it is no token.
        """
        token = parse_token(text)
        schedules = [
            Schedule.of(dict(one.deviations), seed=one.seed, faults=one.faults) for one in token.sessions
        ]
        return cls(tuple(schedules), fingerprint=token.fingerprint, python=token.python)

    def set(self, session: Session, number: int) -> None:
        """Let a session follow it, the ``number``-th of its run (from 0)."""
        if number < len(self.schedules):
            session.schedule = self.schedules[number]
        session.is_recorded = self.recorded or self.surveyed
        session.is_surveyed = self.surveyed
        session.takes_snapshots = self.takes_snapshots
        session.horizon_ns = self.horizon_ns

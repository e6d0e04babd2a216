"""A schedule: every choice that a run does not make itself, as a value that can be kept, compared and printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from pytest_convergence._engine.base.choices import (
    CalmChoices,
    Choices,
    RecordedChoices,
    SeededChoices,
    Stream,
    TapeChoices,
)
from pytest_convergence._engine.base.directing import Director
from pytest_convergence._engine.base.noise import check_noise
from pytest_convergence._engine.base.priorities import PriorityChoices
from pytest_convergence._engine.base.sparse import SparseChoices
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.tokens import Recorded, parse_token, write_token
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["Schedule"]


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """Which schedule a run follows.

    Make one with :meth:`calm`, :meth:`seeded`, :meth:`of` or :meth:`from_tape`; the strategy
    :func:`pytest_convergence.strategies.schedules` draws them.

    Attributes:
        seed: derives the private entropy of every agent (``agent.random``, ``random.*``, ``uuid4`` …); under a seeded
            schedule also every choice.
        kind: ``calm``, ``seeded``, ``listed``, ``tape`` or ``directed``.
        deviations: the departures from calm of a listed schedule, label and option.
        tape: the bytes of a tape schedule.
        faults: the kinds of faults that this schedule may inject on top of those of the session.
        noise: the profile of a seeded schedule, see :mod:`pytest_convergence._engine.base.noise`.
        branches: of a seeded schedule: from an instant on (virtual nanoseconds) what is chosen derives from another seed.
        only: of a seeded schedule: the kinds of choices that may depart from calm, first words of labels; all if empty.
        director: lays down the order of deliveries of a directed schedule, and logs what came about in the last run.
    """

    seed: int = 0
    kind: str = "calm"
    deviations: tuple[tuple[str, int], ...] = ()
    tape: bytes = b""
    faults: tuple[str, ...] = ()
    noise: str = "uniform"
    branches: tuple[tuple[int, int], ...] = ()
    only: tuple[str, ...] = ()
    director: Director | None = field(default=None, repr=False, compare=False)

    @classmethod
    def calm(cls) -> Schedule:
        """Everything in order, nothing lost, nobody crashed."""
        return _CALM

    @classmethod
    def seeded(
        cls,
        seed: int,
        *,
        noise: str = "uniform",
        branches: tuple[tuple[int, int], ...] = (),
        only: tuple[str, ...] = (),
    ) -> Schedule:
        """Every choice drawn from ``seed``, by a profile of noise.

        Args:
            noise: ``uniform``, ``fast-restart``, ``heavy-tail``, ``leader-target``, ``swarm`` or ``pct``.
            branches: instants in virtual nanoseconds, each with the seed from which is drawn from then on.
            only: the kinds of choices that may depart from calm, as labels begin with them: ``deliver``, ``timer``,
                ``crash``, ``isolate`` …; all if there is none.

        Raises:
            ConvergenceUsageError: ``seed`` is not a whole number, or there is no such profile.
        """
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConvergenceUsageError(f"seed must be a whole number, not {seed!r}.")
        return cls(
            seed=seed, kind="seeded", noise=check_noise(noise), branches=tuple(branches), only=tuple(only)
        )

    @classmethod
    def of(cls, deviations: Mapping[str, int], *, seed: int = 0, faults: tuple[str, ...] = ()) -> Schedule:
        """Calm but for the named deviations, as a counterexample lists them."""
        return cls(seed=seed, kind="listed", deviations=tuple(deviations.items()), faults=tuple(faults))

    @classmethod
    def directed(cls, director: Director, *, seed: int = 0) -> Schedule:
        """Calm but for the order of deliveries, which ``director`` lays down; for one run at a time."""
        return cls(seed=seed, kind="directed", director=director)

    @classmethod
    def parse(cls, token: str) -> Schedule:
        """Return the schedule of a token, as a counterexample prints it: ``@example(schedule=Schedule.parse("c1-…"))``.

        Of a token of several sessions it is the first one's.

        Raises:
            ConvergenceUsageError: it is no token, is cut short, or has another version.
        """
        sessions = parse_token(token).sessions
        if not sessions:
            raise ConvergenceUsageError(f"the token {token!r} holds no session.")
        return cls.of(dict(sessions[0].deviations), seed=sessions[0].seed, faults=sessions[0].faults)

    @property
    def token(self) -> str:
        """The schedule as a short text, for :meth:`parse`.

        Raises:
            ConvergenceUsageError: the schedule is not a list of deviations yet (it is seeded, or a tape): run it first.
        """
        if self.kind not in ("listed", "calm"):
            raise ConvergenceUsageError(
                f"{self!r} has no token: its deviations are known when it has run. A counterexample prints its token."
            )
        return write_token([Recorded(self.seed, self.deviations, self.faults)])

    @classmethod
    def from_tape(
        cls, tape: bytes | Mapping[int, int], *, cells: int = 0, seed: int = 0, faults: tuple[str, ...] = ()
    ) -> Schedule:
        """Each choice read from ``tape`` at the cell that belongs to its label; zero bytes are calm.

        A tape may be given as a mapping from cell to byte, with the number of ``cells``; all others are zero.
        """
        if isinstance(tape, Mapping):
            tape = bytes(tape.get(cell, 0) for cell in range(cells))
        return cls(seed=seed, kind="tape", tape=bytes(tape), faults=tuple(faults))

    @property
    def is_calm(self) -> bool:
        """Whether nothing can deviate."""
        return (
            self.kind == "calm"
            or (self.kind == "listed" and not self.deviations)
            or (self.kind == "tape" and not any(self.tape))
        )

    def choices(self, stream: Callable[[int], Stream]) -> Choices:
        """Put the schedule to work; ``stream`` makes a random stream from a seed."""
        if self.kind == "seeded":
            made = stream(self.seed)
            drawn = PriorityChoices(made) if self.noise == "pct" else SeededChoices(made)
            return SparseChoices(drawn, frozenset(self.only)) if self.only else drawn
        if self.kind == "listed":
            return RecordedChoices(dict(self.deviations))
        if self.kind == "tape":
            return TapeChoices(self.tape)
        return CalmChoices() if self.director is None else self.director.begin()

    def __str__(self) -> str:
        if self.kind == "seeded":
            words = f"seed {self.seed}" if self.noise == "uniform" else f"seed {self.seed}, {self.noise}"
            for at_ns, seed in self.branches:
                words += f", from {format_ns(at_ns)} on seed {seed}"
            return f"{words}, only {', '.join(self.only)}" if self.only else words
        if self.is_calm:
            return "calm"
        if self.kind == "listed":
            return f"calm but for {len(self.deviations)} deviation{'s' * (len(self.deviations) != 1)}"
        if self.kind == "directed":
            return "an order of deliveries"
        return f"tape of {sum(map(bool, self.tape))} deviating cells"

    def __repr__(self) -> str:
        if self.kind == "seeded":
            noise = "" if self.noise == "uniform" else f", noise={self.noise!r}"
            branches = f", branches={self.branches!r}" if self.branches else ""
            only = f", only={self.only!r}" if self.only else ""
            return f"Schedule.seeded({self.seed}{noise}{branches}{only})"
        if self.kind == "listed":
            faults = f", faults={self.faults!r}" if self.faults else ""
            return f"Schedule.of({dict(self.deviations)!r}, seed={self.seed}{faults})"
        if self.kind == "tape":
            deviating = {cell: byte for cell, byte in enumerate(self.tape) if byte}
            faults = f", faults={self.faults!r}" if self.faults else ""
            return f"Schedule.from_tape({deviating!r}, cells={len(self.tape)}, seed={self.seed}{faults})"
        if self.kind == "directed":
            return "<Schedule: an order of deliveries>"
        return "Schedule.calm()"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show what evaluates to this schedule in failing examples of Hypothesis (and in IPython), not its fields."""
        printer.text(repr(self))


_CALM: Final = Schedule()

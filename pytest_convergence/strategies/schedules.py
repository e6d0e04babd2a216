"""Schedules drawn by Hypothesis: the fate of each message, keyed to the message.

A drawn schedule is a fixed-size tape of bytes, all drawn at once before the run. Each choice of the run reads the cell
that belongs to its label (``deliver planner→coder #3``), and 0 is calm; so taking one deviation away leaves all others
what they were, and Hypothesis' own shrinking of bytes ends at the few cells that the failure needs. (Measured: a draw
per choice costs about a hundred times as much, a list of deviations hardly ever finds anything, and many short tapes
shrink more slowly than one. ``hypothesis.target`` does not help: told how far views diverge, it found a rare divergence
within 1,500 examples for 1 seed of 8, and for 3 of 8 without, since it climbs by changing the tape as if it were a number.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hypothesis import strategies as st

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.sim.faults import FAULT_KINDS
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DEFAULT_CELLS", "DEFAULT_FAULTS", "schedules"]

DEFAULT_CELLS: Final = 512
"""Enough for the choices of a run of a few agents. Choices beyond share cells, that is, their fates."""

DEFAULT_FAULTS: Final = ("delay", "reorder", "loss", "duplicate")
"""What may happen to a message."""

_SEEDS: Final = 1 << 16


def schedules(
    faults: Iterable[str] = DEFAULT_FAULTS, *, cells: int = DEFAULT_CELLS
) -> st.SearchStrategy[Schedule]:
    """Schedules for ``schedule=`` of a session. Shrinks to the calm schedule, on which nothing happens.

    ``faults`` names the kinds of faults that the schedule may inject, on top of those that the session's own network
    and ``faults`` allow. ``cells`` is how many different fates a run can hold; a larger tape tells more messages apart
    and takes longer to shrink.

    Raises:
        ConvergenceUsageError: there is no such kind of fault, or ``cells`` is not positive.
    """
    if isinstance(faults, str):
        raise ConvergenceUsageError(
            f"faults must be a list of kinds, such as ['loss', 'delay'], not {faults!r}."
        )
    kinds = tuple(dict.fromkeys(faults))
    for kind in kinds:
        if kind not in FAULT_KINDS:
            raise unknown_name("kind of fault", kind, FAULT_KINDS)
    if type(cells) is not int or cells < 1:
        raise ConvergenceUsageError(f"cells must be a whole number from 1 up, not {cells!r}.")

    # A composite shows the schedule itself in a failing example, ready for @example; a map would show our function.
    @st.composite
    def schedule(draw: st.DrawFn) -> Schedule:
        tape = draw(st.binary(min_size=cells, max_size=cells))
        seed = draw(st.integers(0, _SEEDS - 1))
        if not seed and not any(tape):
            return Schedule.calm()
        return Schedule.from_tape(tape, seed=seed, faults=kinds)

    return schedule()

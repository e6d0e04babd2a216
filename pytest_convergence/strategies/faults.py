"""Plans of faults drawn by Hypothesis: who crashes, hangs or is cut off, when, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hypothesis import strategies as st

from pytest_convergence._engine.sim.faults import MOST_CRASHES
from pytest_convergence._engine.sim.plans import PLANNED_KINDS, Fault, FaultPlan
from pytest_convergence.errors import ConvergenceUsageError, unknown_name
from pytest_convergence.strategies._names import agent_names

__all__ = ["fault_plans"]

_MOST_TENTHS: Final = 50
_LONGEST_MS: Final = 3_000
_MOST_TO_CUT: Final = 12


def fault_plans(
    agents: int | Iterable[str] | Mapping[str, Any] = 3,
    *,
    kinds: Iterable[str] = PLANNED_KINDS,
    most: int = 4,
    steps: int = 40,
) -> st.SearchStrategy[FaultPlan]:
    """Plans for ``schedule=`` of a session with these ``agents``. Shrinks to the plan in which nothing happens.

    What is left of a failing plan shrinks to few faults, early steps and short durations. ``kinds`` are of ``crash``,
    ``pause`` and ``partition`` (which needs 2 to 12 agents); ``most`` is how many faults a plan may hold, ``steps`` the last
    step of an agent before which one may strike.

    Raises:
        ConvergenceUsageError: there is no such kind of fault, or a number is not positive.
    """
    names = agent_names(agents)
    wanted = _kinds(kinds, len(names))
    for what, number in (("most", most), ("steps", steps)):
        if type(number) is not int or number < 1:
            raise ConvergenceUsageError(f"{what} must be a whole number from 1 up, not {number!r}.")
    # A fixed number of slots, each of which may be empty: a list that grows would seldom hold what belongs together.
    slot = st.tuples(
        st.integers(0, len(wanted)),
        st.integers(1, (1 << len(names)) - 2) if len(names) > 1 else st.just(1),
        st.integers(1, max(steps, _MOST_TENTHS)),
        st.integers(1, _LONGEST_MS),
    )

    @st.composite
    def plan(draw: st.DrawFn) -> FaultPlan:
        faults: list[Fault] = []
        for which, whom, when, lasts_ms in draw(st.tuples(*[slot] * most)):
            if which:
                fault = _fault(wanted[which - 1], names, whom, when, lasts_ms / 1000, steps)
                if _fits(fault, faults):
                    faults.append(fault)
        return FaultPlan(tuple(faults))

    return plan()


def _kinds(kinds: Iterable[str], agents: int) -> tuple[str, ...]:
    if isinstance(kinds, str):
        raise ConvergenceUsageError(f"kinds must be a list, such as ['crash'], not {kinds!r}.")
    wanted = tuple(dict.fromkeys(kinds))
    for kind in wanted:
        if kind not in PLANNED_KINDS:
            raise unknown_name("kind of fault", kind, PLANNED_KINDS)
    return tuple(kind for kind in wanted if kind != "partition" or 1 < agents <= _MOST_TO_CUT)


def _fault(kind: str, names: tuple[str, ...], whom: int, when: int, seconds: float, steps: int) -> Fault:
    if kind == "partition":
        group = [name for bit, name in enumerate(names) if whom >> bit & 1]
        return Fault.partition(group, at=(1 + (when - 1) % _MOST_TENTHS) / 10, seconds=seconds)
    agent = names[(whom - 1) % len(names)]
    make = Fault.crash if kind == "crash" else Fault.pause
    return make(agent, step=1 + (when - 1) % steps, seconds=seconds)


def _fits(fault: Fault, faults: list[Fault]) -> bool:
    crashes = sum(each.kind == "crash" and each.agents == fault.agents for each in faults)
    if fault.kind == "crash" and crashes >= MOST_CRASHES:
        return False
    return not any(fault.collides(other) for other in faults)

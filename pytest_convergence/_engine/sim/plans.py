"""Plans of faults: which fault hits whom, and when, as values that can be written down, drawn and compared.

A plan becomes a listed schedule: everything is calm but for what the plan names. Crashes and pauses are addressed by the
step of their agent (the k-th thing that it does, over all its lives), because faults at chosen steps find what faults at
random times miss; partitions by virtual time, in ticks of 100 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns, to_ns
from pytest_convergence._engine.sim.faults import MOST_CRASHES, TICK_NS, Cut
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["PLANNED_KINDS", "Fault", "FaultPlan"]

PLANNED_KINDS: Final = ("crash", "pause", "partition")
"""The kinds of faults that a plan may hold."""

_US: Final = 1_000
_MS: Final = 1_000_000


@final
@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """One fault of a plan. Make it with :meth:`crash`, :meth:`pause` or :meth:`partition`.

    Attributes:
        kind: ``"crash"``, ``"pause"`` or ``"partition"``.
        agents: whom it hits; for a partition those who are cut off from the others.
        at: the step before which it strikes, from 1; for a partition virtual seconds.
        seconds: how long it lasts, in virtual seconds; a crashed agent restarts then.
    """

    kind: str
    agents: tuple[str, ...]
    at: float
    seconds: float

    @classmethod
    def crash(cls, agent: str, *, step: int, seconds: float = 1.0) -> Fault:
        """``agent`` crashes before its ``step``-th step, and restarts after ``seconds``.

        Raises:
            ConvergenceUsageError: the step is not a whole number from 1 up, or the duration is none.
        """
        return cls("crash", (_name(agent),), _step(step), _duration(seconds, _US))

    @classmethod
    def pause(cls, agent: str, *, step: int, seconds: float = 1.0) -> Fault:
        """``agent`` hangs before its ``step``-th step, and goes on after ``seconds``.

        Raises:
            ConvergenceUsageError: the step is not a whole number from 1 up, or the duration is none.
        """
        return cls("pause", (_name(agent),), _step(step), _duration(seconds, _US))

    @classmethod
    def partition(cls, agents: Iterable[str], *, at: float, seconds: float = 1.0) -> Fault:
        """``agents`` are cut off from all others from ``at`` on, for ``seconds``.

        Args:
            at: virtual seconds since the run began, 0.1 or a multiple of it.

        Raises:
            ConvergenceUsageError: a time is out of range, or nobody is cut off.
        """
        names = tuple(agents) if not isinstance(agents, str) else (agents,)
        if not names:
            raise ConvergenceUsageError("a partition cuts somebody off; name at least one agent.")
        at_ns = to_ns(at, "at")
        if at_ns < TICK_NS or at_ns % TICK_NS:
            raise ConvergenceUsageError(
                f"at must be a multiple of 0.1 seconds, and at least that, not {at!r}."
            )
        return cls("partition", tuple(map(_name, names)), at_ns / NS_PER_SECOND, _duration(seconds, _MS))

    def collides(self, other: Fault) -> bool:
        """Whether the two cannot be in one plan."""
        if self.kind == other.kind == "partition":
            return self.at < other.at + other.seconds and other.at < self.at + self.seconds
        if "partition" in (self.kind, other.kind):
            return False
        return self.agents == other.agents and self.at == other.at

    def __str__(self) -> str:
        lasts = format_ns(round(self.seconds * NS_PER_SECOND))
        if self.kind == "partition":
            begins = format_ns(round(self.at * NS_PER_SECOND))
            return f"{', '.join(self.agents)} cut off at {begins} for {lasts}"
        did = "crashes" if self.kind == "crash" else "is paused"
        back = "back after" if self.kind == "crash" else "for"
        return f"{self.agents[0]} {did} before its step {self.at:g}, {back} {lasts}"

    def __repr__(self) -> str:
        if self.kind == "partition":
            return f"Fault.partition({list(self.agents)!r}, at={self.at!r}, seconds={self.seconds!r})"
        return f"Fault.{self.kind}({self.agents[0]!r}, step={int(self.at)}, seconds={self.seconds!r})"


@final
@dataclass(frozen=True, slots=True, repr=False)
class FaultPlan:
    """Faults that strike a run; everything else is calm. Give it to a session as its ``schedule=``.

    Attributes:
        faults: in any order.

    Raises:
        ConvergenceUsageError: two faults strike one agent before the same step, one partition begins while another lasts,
            or an agent crashes more often than a schedule lets it.
    """

    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", tuple(self.faults))
        for fault in self.faults:
            if not isinstance(fault, Fault):
                raise ConvergenceUsageError(
                    f"a plan consists of faults such as Fault.crash('a', step=3), not {fault!r}."
                )
        for place, fault in enumerate(self.faults):
            for other in self.faults[:place]:
                if fault.collides(other):
                    raise ConvergenceUsageError(f"these faults go not together: {other}; {fault}.")
            crashes = [each for each in self.faults if each.kind == fault.kind == "crash"]
            crashes = [each for each in crashes if each.agents == fault.agents]
            if len(crashes) > MOST_CRASHES:
                raise ConvergenceUsageError(
                    f"{fault.agents[0]!r} crashes {len(crashes)} times; a schedule crashes an agent {MOST_CRASHES} times "
                    "at most."
                )

    @property
    def is_calm(self) -> bool:
        """Whether nothing happens."""
        return not self.faults

    def schedule(self, agents: Sequence[str], *, seed: int = 0) -> Schedule:
        """Return the schedule of this plan for a session of these ``agents``.

        Raises:
            ConvergenceUsageError: a fault hits an agent that does not exist, or a partition cuts off everybody.
        """
        deviations: dict[str, int] = {}
        for fault in self.faults:
            for name in fault.agents:
                if name not in agents:
                    raise unknown_name("agent in the fault plan", name, agents)
            lasts_ns = round(fault.seconds * NS_PER_SECOND)
            if fault.kind == "partition":
                if set(fault.agents) == set(agents):
                    raise ConvergenceUsageError(f"{fault}: nobody is left from whom they could be cut off.")
                tick = round(fault.at * NS_PER_SECOND) // TICK_NS
                deviations[f"partition #{tick}"] = _cut(fault, agents, lasts_ns)
            else:
                deviations[f"{fault.kind} {fault.agents[0]} #{int(fault.at)}"] = lasts_ns // _US
        kinds = tuple(kind for kind in PLANNED_KINDS if any(fault.kind == kind for fault in self.faults))
        return Schedule.of(deviations, seed=seed, faults=kinds)

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults)) or "calm"

    def __repr__(self) -> str:
        return f"FaultPlan({list(self.faults)!r})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show what evaluates to this plan in failing examples of Hypothesis, not its fields."""
        printer.text(repr(self))


def _cut(fault: Fault, agents: Sequence[str], lasts_ns: int) -> int:
    cut = Cut(list(agents))
    option = cut.option(fault.agents, lasts_ns)
    if set(cut.group(option)) != set(fault.agents):
        raise ConvergenceUsageError(
            f"{fault}: among {len(agents)} agents a schedule cannot cut off just these; every twelfth shares its fate. Use "
            "session.network.partition() in a scenario."
        )
    return option


def _name(agent: Any) -> str:
    name: Any = getattr(agent, "name", agent)
    if not isinstance(name, str) or not name:
        raise ConvergenceUsageError(f"a fault hits an agent by its name, not {agent!r}.")
    return name


def _step(step: Any) -> int:
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise ConvergenceUsageError(f"step must be a whole number >= 1, not {step!r}.")
    return step


def _duration(seconds: Any, unit_ns: int) -> float:
    lasts_ns = to_ns(seconds, "seconds")
    if lasts_ns < unit_ns:
        raise ConvergenceUsageError(f"seconds must be at least {unit_ns / NS_PER_SECOND:g}, not {seconds!r}.")
    return lasts_ns // unit_ns * unit_ns / NS_PER_SECOND

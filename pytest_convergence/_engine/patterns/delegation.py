"""What an agent remembers of the tasks that it was given, and of the parts that it gave to others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from pytest_convergence._engine.base.effects import Observe
from pytest_convergence._engine.base.time import to_seconds
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["LAPS", "Job", "Part", "Phase", "begin_fact", "cancel_fact", "end_fact", "naming"]

LAPS: Final = 16
"""Into how many laps the time for a task is divided, at least: how finely its holder knows what is left."""

_LONGEST_LAP_NS: Final = 1_000_000_000


class Phase(StrEnum):
    """Where a job stands."""

    SPLITTING = "splitting"
    WAITING = "waiting"
    COMBINING = "combining"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_active(self) -> bool:
        """Whether something is still to be done."""
        return self not in (Phase.DONE, Phase.FAILED, Phase.STOPPED)


@dataclass(slots=True)
class Part:
    """A part of a task, delegated to a child.

    Attributes:
        task: its name, unique in the run; ``place`` is the same in every attempt of what it is a part of.
        agent: who does it.
        given: the part itself.
        attempt: the newest attempt; what comes of an older one does not count.
        done: whether the result is here.
        result: the result.
    """

    task: str
    place: str
    agent: str
    given: Any
    attempt: int = 1
    done: bool = False
    result: Any = None


@dataclass(slots=True)
class Job:
    """A task that an agent was given, in its newest attempt.

    Attributes:
        task: its name; the root's is the root's own name.
        attempt: which attempt this is, by the count of whoever delegated it.
        place: where in the tree of parts it stands, whatever the attempts; unique among tasks that may go on together.
        line: the attempts of the tasks that it is a part of, from the root's down: what is of an older line is over.
        given: the task itself.
        left_ns: nanoseconds until its deadline, as of the last lap.
        lap_ns: how long a lap is.
        phase: where it stands.
        names: for whom each part is, if it was split into a mapping.
        parts: the parts, in the order of the split.
        restarted: how many restarts there have been.
        recent: the numbers of those that still count.
        blamed: the tasks that failed last.
        value: the result.
        reason: why it failed.
    """

    task: str
    attempt: int
    place: str
    line: tuple[int, ...] = ()
    given: Any = None
    left_ns: int = 0
    lap_ns: int = 0
    phase: Phase = Phase.STOPPED
    names: tuple[str, ...] | None = None
    parts: list[Part] = field(default_factory=list)
    restarted: int = 0
    recent: list[int] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)
    value: Any = None
    reason: str = ""

    def give_time(self, left_ns: int) -> None:
        """Set the time that is left, and how it is counted."""
        self.left_ns = left_ns
        self.lap_ns = max(1, min(_LONGEST_LAP_NS, left_ns // LAPS))

    def grant_ns(self, share: float) -> int:
        """Return how long a part may take. The present lap counts as over: it may be."""
        return max(0, int((self.left_ns - self.lap_ns) * share))

    def deal(self, agent: str, children: Sequence[str], value: Any) -> None:
        """Give each part that a split of ``agent`` returned a name and a child.

        Raises:
            ConvergenceUsageError: it returned something else, or names somebody who is not a child.
        """
        if isinstance(value, Mapping):
            for child in value:
                if child not in children:
                    raise unknown_name(f"child of {agent!r} in what split returned", child, children)
            self.names = tuple(value)
            dealt = list(value.items())
        elif isinstance(value, list | tuple):
            self.names = None
            dealt = [(children[number % len(children)], part) for number, part in enumerate(value)]
        else:
            raise ConvergenceUsageError(
                f"split of {agent!r} must return a list of parts, a mapping child -> part, or None (do it yourself), not "
                f"{value!r}."
            )
        for child, part in dealt:
            self.add_part(child, part)

    def add_part(self, child: str, given: Any) -> None:
        """Add a part for ``child``. Its name tells the attempt that it belongs to, too."""
        path = self.task if self.attempt == 1 else f"{self.task}~{self.attempt}"
        number = sum(part.agent == child for part in self.parts) + 1
        name = child if number == 1 else f"{child}.{number}"
        self.parts.append(Part(f"{path}/{name}", f"{self.place}/{name}", child, given))

    @property
    def branch(self) -> str:
        """The place of what this is a part of."""
        return self.place.rpartition("/")[0]

    @property
    def line_of_parts(self) -> tuple[int, ...]:
        """The line of the parts of this attempt."""
        return (*self.line, self.attempt)

    def results(self) -> Any:
        """Return the parts' results, as ``combine`` gets them: by the split, never by who was first."""
        if self.names is not None:
            return dict(zip(self.names, (part.result for part in self.parts), strict=True))
        return [part.result for part in self.parts]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for storage; what users gave or returned is in it as it is."""
        saved: dict[str, Any] = {name: getattr(self, name) for name in _JOB_FIELDS}
        saved["phase"], saved["recent"] = self.phase.value, list(self.recent)
        saved["parts"] = [{name: getattr(part, name) for name in _PART_FIELDS} for part in self.parts]
        return saved

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Job:
        """Return the job that :meth:`as_dict` wrote."""
        job = cls(**saved)
        job.phase, job.line = Phase(saved["phase"]), tuple(saved["line"])
        job.parts = [Part(**part) for part in saved["parts"]]
        return job


_PART_FIELDS: Final = tuple(each.name for each in fields(Part))
_JOB_FIELDS: Final = tuple(each.name for each in fields(Job))


def begin_fact(job: Job) -> Observe:
    """Say that the work on a task begins, or goes on after a restart."""
    return Observe("begin", {"task": job.task, "attempt": job.attempt, "seconds": to_seconds(job.left_ns)})


def end_fact(job: Job) -> Observe:
    """Say that it is over, and how."""
    data = {"task": job.task, "attempt": job.attempt, "how": job.phase.value}
    return Observe("end", {**data, "reason": job.reason} if job.reason else data)


def naming(job: Job, part: Part) -> dict[str, Any]:
    """Return how a message names an attempt of a part of ``job``."""
    return {"task": part.task, "attempt": part.attempt, "place": part.place, "line": job.line_of_parts}


def cancel_fact(told: Mapping[str, Any]) -> Observe:
    """Say that an attempt is not wanted any more; ``told`` is what its agent is told."""
    return Observe("cancel", {"task": told["task"], "attempt": told["attempt"]})

"""What an agent remembers of the tasks that it was given, and of the parts that it gave to others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

__all__ = ["LAPS", "Job", "Part", "Phase"]

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
        task: its name, unique in the run.
        agent: who does it.
        given: the part itself.
        attempt: the newest attempt; what comes of an older one does not count.
        done: whether the result is here.
        result: the result.
    """

    task: str
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

    def part_name(self, child: str) -> str:
        """Return the name of the next part for ``child``; it names the attempt that it belongs to, too."""
        path = self.task if self.attempt == 1 else f"{self.task}~{self.attempt}"
        number = sum(part.agent == child for part in self.parts) + 1
        return f"{path}/{child}" if number == 1 else f"{path}/{child}.{number}"

    def results(self) -> Any:
        """Return the parts' results, as ``combine`` gets them: by the split, never by who was first."""
        if self.names is not None:
            return dict(zip(self.names, (part.result for part in self.parts), strict=True))
        return [part.result for part in self.parts]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for storage; what users gave or returned is in it as it is."""
        saved: dict[str, Any] = {name: getattr(self, name) for name in _JOB_FIELDS}
        saved["phase"] = self.phase.value
        saved["parts"] = [{name: getattr(part, name) for name in _PART_FIELDS} for part in self.parts]
        return saved

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Job:
        """Return the job that :meth:`as_dict` wrote."""
        job = cls(**saved)
        job.phase = Phase(saved["phase"])
        job.parts = [Part(**part) for part in saved["parts"]]
        return job


_PART_FIELDS: Final = tuple(each.name for each in fields(Part))
_JOB_FIELDS: Final = tuple(each.name for each in fields(Job))

"""Who delegated what to whom, and who works on it: read from facts, for the properties of hierarchies.

A task has one name in the whole run. Its attempts are numbered by whoever delegates it, upwards, across crashes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of

__all__ = ["GRACE_NS", "HELD", "Delegated", "Delegations", "Work", "attempt_of", "task_of"]

HELD: Final = frozenset({"pause", "resume", "stall"})
"""Events that say how long an agent could not act; only deadlines care."""

GRACE_NS: Final = 50_000_000
"""By how much a deadline may be missed: what a scheduler may hold an agent up without a word."""


def task_of(data: Mapping[str, Any]) -> str:
    """The task that a fact is about."""
    return str(data.get("task", ""))


def attempt_of(data: Mapping[str, Any]) -> int:
    """The attempt that a fact is about; the first, if it does not say."""
    return int(data.get("attempt", 1))


@dataclass(slots=True)
class Delegated:
    """A task that somebody delegated.

    Attributes:
        by, to: who, and to whom.
        parent: the task that it is a part of, in the attempt ``parent_attempt``.
        attempt: the newest one.
        accepted: the attempt whose result was accepted last, 0 if none was.
        cancelled: the newest attempt that was cancelled, 0 if none was.
        granted_ns: how long the newest attempt may take; ``None`` if nobody said.
    """

    task: str
    by: str
    to: str
    parent: str
    parent_attempt: int
    attempt: int = 0
    accepted: int = 0
    cancelled: int = 0
    granted_ns: int | None = None


@dataclass(slots=True)
class Work:
    """An attempt that an agent began; ``how`` it ended is ``""`` while it goes on."""

    task: str
    attempt: int
    agent: str
    since_ns: int
    deadline_ns: int | None = None
    how: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it goes on."""
        return not self.how

    def __str__(self) -> str:
        return f"{self.agent}'s work on {self.task!r} (attempt {self.attempt})"


class Delegations:
    """What was delegated and begun so far.

    Attributes:
        tasks: name -> what is known of its delegation; the root's has none.
        works: (task, attempt) -> the work on it.
        newest: task -> the attempt that was begun last.
    """

    __slots__ = ("_paused", "newest", "tasks", "works")

    def __init__(self) -> None:
        self.tasks: dict[str, Delegated] = {}
        self.works: dict[tuple[str, int], Work] = {}
        self.newest: dict[str, int] = {}
        self._paused: dict[str, int] = {}

    def feed(self, event: TraceEvent) -> None:
        """Take the next event."""
        fact, data = fact_of(event)
        if fact == "delegate":
            self._delegate(event, data)
        elif fact == "begin":
            self._begin(event, data)
        elif fact == "end":
            work = self.works.get((task_of(data), attempt_of(data)))
            if work is not None:
                work.how = str(data.get("how", "done"))
        elif fact in ("accept", "cancel"):
            self._mark(fact, data)
        elif event.kind == "crash":
            for work in self.active(event.agent):
                work.how = "crashed"
            for task in self.tasks.values():
                if task.by == event.agent:
                    task.accepted = 0  # what it remembers it will act on; what it forgot counts for nothing
        elif event.kind in HELD:
            self._hold(event)

    def active(self, agent: str | None = None) -> Iterator[Work]:
        """The works that go on, of one agent or of all."""
        return (work for work in self.works.values() if work.is_active and agent in (None, work.agent))

    def parent_work(self, task: Delegated) -> Work | None:
        """The work of which ``task`` is a part."""
        return self.works.get((task.parent, task.parent_attempt))

    def above(self, name: str) -> Iterator[Delegated]:
        """What ``name`` is a part of, and what that is a part of, up to the root."""
        seen: list[str] = []
        while name in self.tasks and name not in seen:
            seen.append(name)
            yield self.tasks[name]
            name = self.tasks[name].parent

    def _delegate(self, event: TraceEvent, data: Mapping[str, Any]) -> None:
        name, attempt = task_of(data), attempt_of(data)
        task = self.tasks.get(name)
        if task is None:
            parent = str(data.get("parent", ""))
            task = Delegated(name, event.agent, str(data.get("to", "")), parent, self.newest.get(parent, 1))
            self.tasks[name] = task
        if attempt >= task.attempt:
            seconds = data.get("seconds")
            granted_ns = None if seconds is None else round(seconds * NS_PER_SECOND)
            if attempt > task.attempt or task.granted_ns is None:
                task.granted_ns = granted_ns
            task.attempt = attempt
            task.by, task.to = event.agent, str(data.get("to", task.to))

    def _begin(self, event: TraceEvent, data: Mapping[str, Any]) -> None:
        task, attempt, seconds = task_of(data), attempt_of(data), data.get("seconds")
        deadline_ns = None if seconds is None else event.at_ns + round(seconds * NS_PER_SECOND)
        self.works[task, attempt] = Work(task, attempt, event.agent, event.at_ns, deadline_ns)
        self.newest[task] = attempt

    def _mark(self, fact: str, data: Mapping[str, Any]) -> None:
        task = self.tasks.get(task_of(data))
        if task is not None:
            attempt = data.get("attempt", task.attempt)
            if fact == "accept":
                task.accepted = attempt
            else:
                task.cancelled = max(task.cancelled, attempt)

    def _hold(self, event: TraceEvent) -> None:
        """Put off the deadlines of an agent that could not act."""
        if event.kind == "pause":
            self._paused[event.agent] = event.at_ns
            return
        if event.kind == "stall":
            held_ns = int(event.detail["us"]) * 1_000
        else:
            held_ns = event.at_ns - self._paused.pop(event.agent, event.at_ns)
        for work in self.active(event.agent):
            if work.deadline_ns is not None:
                work.deadline_ns += held_ns

"""What a property is, what a checker of it does, and what a violation says.

1. A :class:`Property` is a name, a kind, and a way to make a checker for one run.
2. A :class:`Checker` is incremental: it is fed the events of the run, in order, and told the final state. It answers with
   the first :class:`Violation` that it can prove, and is not asked again.
3. A checker says which kinds of events it needs at present (``kinds``); others may be left out. That makes a run pay only
   for what is judged.
4. Liveness is demanded of the *core* alone: the agents that are alive and reach one another when faults have stopped, and
   only if they are a quorum of the configured ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, final

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence.errors import unknown_name

__all__ = ["Checker", "FinalState", "Kind", "Property", "Scope", "Violation"]


class Kind(StrEnum):
    """When a property is judged."""

    ALWAYS = "always"
    """After every event."""
    EVENTUALLY = "eventually"
    """At the end, after faults have stopped and the world has settled."""
    NEVER = "never"
    """After every event: it must not hold."""
    SOMETIMES = "sometimes"
    """It must hold at some event of some run, or the test is vacuous."""
    LEADS_TO = "leads-to"
    """Each time one thing becomes true, another must be true then or later."""
    HISTORY = "history"
    """Over all that was ever recorded."""
    TRANSITION = "transition"
    """On a transition of one agent: a crash, a restart, a sending, a decision."""


@final
@dataclass(frozen=True, slots=True)
class Violation:
    """A property did not hold.

    Attributes:
        property: the name of the property.
        message: what happened, in one sentence.
        at_ns: virtual nanoseconds of the event that proves it.
        agents: the agents that took part in it.
        facts: the values that prove it, by name.
    """

    property: str
    message: str
    at_ns: int
    agents: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        first, line_break, details = self.message.partition("\n")
        return f"{self.property}: {first} (at {format_ns(self.at_ns)}){line_break}{details}"


@final
@dataclass(frozen=True, slots=True)
class Scope:
    """What a run tells its checkers in advance.

    Attributes:
        agents: the configured agents.
        quorum: how many of them are a quorum; a strict majority by default.
        allowed: whether an input or a resolver could have produced a value; nothing is, by default.
        subject: what predicates of the user's are called with (the session).
        inputs: what the run was given for its pattern, by name.
        is_excerpt: whether a checker is shown a part of a run: what it is not shown may have been told all the same.
    """

    agents: tuple[str, ...]
    quorum: int | None = None
    allowed: Callable[[Any], bool] | None = None
    subject: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    is_excerpt: bool = False

    @property
    def needed(self) -> int:
        """The number of agents that a live quorum has."""
        return len(self.agents) // 2 + 1 if self.quorum is None else self.quorum


@final
@dataclass(frozen=True, slots=True)
class FinalState:
    """The end of a run.

    Attributes:
        at_ns: virtual nanoseconds.
        core: the agents that are alive and can reach one another.
        views: what the live agents expose.
        settled: whether faults had stopped and the world had come to rest (or had the time to).
        moving: what still goes on that is no periodic upkeep, in words; nothing once the run is quiescent.
        lacking: says what the session is for and has not come to, in words; nothing once it has converged.
    """

    at_ns: int
    core: tuple[str, ...] = ()
    views: Mapping[str, Any] = field(default_factory=dict)
    settled: bool = True
    moving: tuple[str, ...] = ()
    lacking: Callable[[], Sequence[str]] = tuple

    def demands_progress(self, scope: Scope) -> bool:
        """Whether liveness can be asked for: the world has settled and the core is a quorum."""
        return self.settled and len(self.core) >= scope.needed


class Checker(Protocol):
    """Judges one property over one run.

    ``kinds`` are the kinds of events that it needs at present; it may change with every event. A checker that has an
    attribute ``facts`` is fed, of what agents observe, the facts of these names alone.

    A checker that has an attribute ``patient`` which is true speaks of what may come about while no view changes: a run that
    has settled goes on for a while where its ``finish`` would object, and is judged when it does so no more, or time is up.
    """

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of events that the checker needs now."""
        ...

    def feed(self, event: TraceEvent) -> Violation | None:
        """Take the next event."""
        ...

    def finish(self, final: FinalState) -> Violation | None:
        """Take the end of the run."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Property:
    """A property by name.

    Attributes:
        name: how reports and options call it.
        kind: when it is judged; its name will do (``"always"``).
        summary: what must hold, in one sentence.
        checker: makes the checker for one run.
        patterns: to which it applies unasked, once the hook ``pytest_convergence_properties`` or an engine knows it: their
            names, ``"none"`` for sessions without a pattern, ``"*"`` for all sessions.
    """

    name: str
    kind: Kind
    summary: str
    checker: Callable[[Scope], Checker]
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "patterns", (self.patterns,) if isinstance(self.patterns, str) else tuple(self.patterns)
        )
        try:
            object.__setattr__(self, "kind", Kind(self.kind))  # its name will do
        except ValueError:
            raise unknown_name("kind of property", self.kind, [each.value for each in Kind]) from None

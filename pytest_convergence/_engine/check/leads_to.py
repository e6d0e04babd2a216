"""Leads to: each time one thing becomes true, another must be true then or later.

The operator is ``~>`` of TLA+ (Lamport 2002, *Specifying Systems*, section 8.1), on the finite trace of one run, with a
bound where one is given (*bounded response* of metric temporal logic, Koymans 1990):

1. An obligation begins at each instant at which the trigger *becomes* true: at the first judgement if it is true from the
   start, and again only after it was false.
2. It is met as soon as the response is true, at that instant or later. One response meets all that are open.
3. Without a bound it must be met by the end of the run, when faults have stopped and the world has settled. With one, it
   must be met within so many virtual seconds; and if nothing more can happen before they are over, it never will be.
   A run whose time is up before that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from textwrap import indent
from typing import Any, Final, final

from pytest_convergence._engine.base.time import format_ns, to_ns
from pytest_convergence._engine.base.trace import KINDS, TraceEvent
from pytest_convergence._engine.check.predicates import Predicate, check_predicate, described, judged
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["LeadsTo", "LeadsToChecker"]

_EVERY_EVENT: Final = frozenset(KINDS)


@final
class LeadsToChecker:
    """Judges one trigger and its response over one run."""

    __slots__ = ("_name", "_open_since", "_response", "_subject", "_trigger", "_was_true", "_within_ns")

    kinds: Final = _EVERY_EVENT

    def __init__(
        self, name: str, trigger: Predicate, response: Predicate, within_ns: int | None, scope: Scope
    ) -> None:
        self._name = name
        self._trigger = trigger
        self._response = response
        self._within_ns = within_ns
        self._subject: Any = scope.subject
        self._was_true = False
        self._open_since: tuple[int, str | None] | None = None

    def feed(self, event: TraceEvent) -> Violation | None:
        """Judge after an event."""
        # Until this event nothing has changed: if the time was up before it, the response came too late.
        late = self._overdue(event.at_ns)
        if late is None:
            self._judge(event.at_ns, event.agent)
        return late

    def finish(self, final: FinalState) -> Violation | None:
        """Judge at the end."""
        late = self._overdue(final.at_ns)
        if late is not None:
            return late
        self._judge(final.at_ns, None)
        if self._open_since is None or (self._within_ns is not None and not final.settled):
            return None
        return self._violation(self._open_since, final.at_ns, "until the world had settled")

    def _judge(self, at_ns: int, agent: str | None) -> None:
        is_true = judged(self._trigger, self._subject)[0]
        if is_true and not self._was_true and self._open_since is None:
            self._open_since = at_ns, agent
        self._was_true = is_true
        if self._open_since is not None and judged(self._response, self._subject)[0]:
            self._open_since = None

    def _overdue(self, now_ns: int) -> Violation | None:
        if self._open_since is None or self._within_ns is None:
            return None
        due_ns = self._open_since[0] + self._within_ns
        if now_ns <= due_ns:
            return None
        return self._violation(self._open_since, due_ns, f"until {format_ns(due_ns)}")

    def _violation(self, since: tuple[int, str | None], at_ns: int, until: str) -> Violation:
        since_ns, agent = since
        of = f" (after an event of {agent})" if agent else ""
        within = "" if self._within_ns is None else f" within {format_ns(self._within_ns)}"
        message = (
            f"this must follow{within}, but the trigger became true at {format_ns(since_ns)}{of}, and from then {until} the "
            "response did not hold"
        )
        said = judged(self._response, self._subject)[2]
        details = "\n".join(filter(None, (said, described(self._subject))))
        facts: dict[str, Any] = {"triggered_at": since_ns / 1e9}
        if self._within_ns is not None:
            facts["within"] = self._within_ns / 1e9
        if details:
            facts["agents"] = details
            message += "\n" + indent(details, "    ")
        return Violation(self._name, message, at_ns, (), facts)


def LeadsTo(  # noqa: N802 - it reads as the name of what it makes
    name: str,
    trigger: Callable[[Any], object],
    response: Callable[[Any], object],
    *,
    within: float | None = None,
    patterns: Iterable[str] = (),
) -> Property:
    """The property that ``trigger`` leads to ``response``: each time it becomes true, the response is true then or later.

    Args:
        name: what reports call it.
        trigger, response: functions of the session; they must not change anything.
        within: virtual seconds from the trigger to the response; without, the end of the settled run is soon enough.
        patterns: to which it applies unasked, once the hook ``pytest_convergence_properties`` has returned it.

    Raises:
        ConvergenceUsageError: one of the two is not a plain function, or ``within`` is no duration.
    """
    check_predicate(name, trigger)
    check_predicate(name, response)
    within_ns = None if within is None else to_ns(within, "within")
    bound = "" if within_ns is None else f" within {format_ns(within_ns)}"
    return Property(
        name,
        Kind.LEADS_TO,
        f"leads to{bound} {name}",
        lambda scope: LeadsToChecker(name, trigger, response, within_ns, scope),
        patterns=tuple(patterns),
    )

"""ShiViz logs: events with the vector clocks that their hosts gave them, read and written.

A log is text. Which part of it is an event, its host and its clock is said by a regular expression with the named groups
``event``, ``clock`` (a JSON object from hosts to counts) and ``host`` (optional: else the host whose count is new).
That is the format of ShiViz (I. Beschastnikh et al., Visualizing Distributed System Executions, 2020), so what is written
here can be looked at there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pytest_convergence._engine.base.causality import Causality
from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import Trace, TraceEvent
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["DEFAULT_PATTERN", "LoggedEvent", "parse_shiviz", "render_shiviz", "write_shiviz"]

DEFAULT_PATTERN: Final = r"(?P<host>\S+) (?P<clock>\{[^{}]*\})\s*\n(?P<event>.*)"
"""What ShiViz expects unless told otherwise: host and clock on one line, what happened on the next."""


_UNSAFE: Final = re.compile(r"[\s{}\"\\]")
"""What a host's name cannot hold, between the patterns that find it."""


class LoggedEvent(NamedTuple):
    """One event of a log: where it happened, when (by its vector clock), and what."""

    host: str
    clock: VectorClock
    text: str


def parse_shiviz(text: str, pattern: str = DEFAULT_PATTERN) -> tuple[LoggedEvent, ...]:
    """Read a log; ``pattern`` tells what an event looks like.

    Raises:
        ConvergenceUsageError: the pattern has no group ``clock``, a clock is not a JSON object of counts, or it is not
            known whose event one is.
    """
    expression = re.compile(pattern, re.MULTILINE)
    if "clock" not in expression.groupindex:
        raise ConvergenceUsageError(f"the pattern {pattern!r} of a log has no group (?P<clock>…).")
    return tuple(_events(expression, text))


def _events(expression: re.Pattern[str], text: str) -> Iterator[LoggedEvent]:
    counts: dict[str, int] = {}
    for match in expression.finditer(text):
        groups = match.groupdict()
        try:
            clock = VectorClock(json.loads(groups["clock"]))
        except (ValueError, AttributeError) as error:
            raise ConvergenceUsageError(
                f"{groups['clock']!r} in a log is not a vector clock: {error}"
            ) from error
        host = groups.get("host") or _whose(clock, counts)
        counts[host] = clock[host]
        yield LoggedEvent(host, clock, (groups.get("event") or "").strip())


def _whose(clock: VectorClock, counts: dict[str, int]) -> str:
    hosts = [host for host, count in clock.items() if count == counts.get(host, 0) + 1]
    if len(hosts) != 1:
        raise ConvergenceUsageError(
            f"whose event {clock!r} is does not follow from the counts before it; give the pattern a group (?P<host>…)."
        )
    return hosts[0]


def write_shiviz(events: Iterable[LoggedEvent]) -> str:
    """Write a log that :func:`parse_shiviz` reads by its default pattern."""
    lines = []
    for host, clock, text in events:
        lines += [f"{host} {json.dumps(dict(clock.items()))}", " ".join(text.split())]
    return "".join(f"{line}\n" for line in lines)


def render_shiviz(trace: Trace) -> str:
    """Write a trace as a log, with the clocks that follow from its messages.

    The format cannot quote: in the names of hosts ``_`` stands for what it would not understand.
    """
    hosts = _hosts(trace.agents)
    return write_shiviz(
        LoggedEvent(
            hosts[event.agent],
            VectorClock({hosts[agent]: count for agent, count in clock.items()}),
            f"{format_ns(event.at_ns)} {_what(event)}",
        )
        for event, clock in Causality(trace).clocks()
    )


def _hosts(agents: Iterable[str]) -> dict[str, str]:
    """Names without blanks, braces and quotes, still one for each agent."""
    hosts: dict[str, str] = {}
    taken: dict[str, str] = {}
    for agent in agents:
        plain = host = _UNSAFE.sub("_", agent) or "_"
        number = 1
        while host in taken:
            number += 1
            host = f"{plain}_{number}"
        hosts[agent] = taken.setdefault(host, host)
    return hosts


def _what(event: TraceEvent) -> str:
    if event.message is not None:
        return f"{event.kind} {event.message.id} {event.message.type}"
    return event.kind if event.detail is None else f"{event.kind} {event.detail}"

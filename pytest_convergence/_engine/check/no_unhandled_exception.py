"""No unhandled exception: no agent dies of an exception that it has not declared.

"Let it crash" is a way to build systems (J. Armstrong, *Making Reliable Distributed Systems in the Presence of Software
Errors*, 2003, section 4.3), but what crashes has to say so: an agent that means to die of an error crashes itself
(``agent.crash()``), or raises where somebody waits for it. Everything else is a bug in that agent.

A run fails by it as an :class:`~pytest_convergence.AgentError`, whose ``__cause__`` is the exception; here it has a name
beside the other properties, in ``outcome.violations`` and in the metrics.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["NO_UNHANDLED_EXCEPTION"]


class _Checker:
    kinds: Final = frozenset({"error"})

    def __init__(self, scope: Scope) -> None:
        pass

    def feed(self, event: TraceEvent) -> Violation | None:
        message = f"{event.agent} died of an exception that it did not declare: {event.detail}"
        return Violation(NO_UNHANDLED_EXCEPTION.name, message, event.at_ns, (event.agent,))

    def finish(self, final: FinalState) -> None:
        return None


NO_UNHANDLED_EXCEPTION: Final = Property(
    "no_unhandled_exception",
    Kind.ALWAYS,
    "No agent dies of an exception that it did not declare.",
    _Checker,
)
"""No unhandled exception."""

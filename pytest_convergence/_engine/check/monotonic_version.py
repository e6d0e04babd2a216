"""Monotonic version: the version of a replica never decreases, restarts included.

A version that was told to somebody is a promise: it names a state that must not come back as an older one (the session
guarantee *monotonic reads* of D. Terry et al., Session Guarantees for Weakly Consistent Replicated Data, 1994, section 3).
"""

from __future__ import annotations

from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["MONOTONIC_VERSION"]


class _Checker:
    kinds: Final = frozenset({"observe"})
    facts: Final = frozenset({"replica"})

    def __init__(self, scope: Scope) -> None:
        self._versions: dict[str, Any] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        version = data.get("version")
        if fact != "replica" or version is None:
            return None
        before = self._versions.get(event.agent, version)
        self._versions[event.agent] = version
        if version >= before:
            return None
        message = f"the version of {event.agent} went back from {before} to {version}"
        facts = {"before": before, "after": version}
        return Violation(MONOTONIC_VERSION.name, message, event.at_ns, (event.agent,), facts)

    def finish(self, final: FinalState) -> None:
        return None


MONOTONIC_VERSION: Final = Property(
    "monotonic_version", Kind.TRANSITION, "The version of a replica never decreases.", _Checker
)
"""Judged on facts that carry a ``version``."""

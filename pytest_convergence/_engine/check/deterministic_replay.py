"""Deterministic replay: the same schedule and inputs give the same trace.

No checker of one run can judge it. The plugin does: of a test that asks for this property each schedule is run twice, the
two traces are compared, and the first event in which they differ is named. It costs each run twice, so it is not judged by
default; with the option ``--convergence-check-determinism`` it is judged of every test.
(That one run determines the next is what makes simulation testing work: a failure that cannot be repeated cannot be
shrunk, explained or pinned. J. Zhou and others, *FoundationDB: A Distributed Unbundled Transactional Key Value Store*,
2021, section 4.)
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope

__all__ = ["DETERMINISTIC_REPLAY"]


class _Checker:
    kinds: Final[frozenset[str]] = frozenset()

    def __init__(self, scope: Scope) -> None:
        pass

    def feed(self, event: TraceEvent) -> None:
        return None

    def finish(self, final: FinalState) -> None:
        return None


DETERMINISTIC_REPLAY: Final = Property(
    "deterministic_replay",
    Kind.TRANSITION,
    "The same schedule gives the same trace: each schedule of the test is run twice.",
    _Checker,
)
"""Deterministic replay."""

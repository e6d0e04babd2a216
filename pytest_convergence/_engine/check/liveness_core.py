"""Liveness of a core: once faults have stopped, a live quorum comes to its result, whoever stays down.

After the noise a schedule may leave a minority down for good and heal the others (the "liveness mode" of TigerBeetle's
simulator: pick a core, heal only that, freeze the rest). A protocol that waits for all agents where a quorum would do, or
that cannot get rid of a leader that never comes back, makes no progress then. No algorithm can promise more than that
(M. Fischer, N. Lynch, M. Paterson, *Impossibility of Distributed Consensus with One Faulty Process*, 1985).

A minority stays down under the profiles ``fast-restart``, ``leader-target`` and ``swarm``, with ``faults=["crash"]``, where
the pattern can do without one: consensus by Paxos and Raft, leader-follower. There ``termination`` and
``eventually_one_leader``, which are judged by default, demand the *pattern's* result of that very quorum. This property
demands more, and is therefore asked for by name: equal views and the goal of the test besides, which by default make an
outcome diverged and are no error.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["LIVENESS_CORE"]


class _Checker:
    kinds: Final[frozenset[str]] = frozenset()

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def feed(self, event: TraceEvent) -> None:
        return None

    def finish(self, final: FinalState) -> Violation | None:
        # A run that has not settled when its time was up has had the time to; that it still moves is no progress.
        if len(final.core) < self._scope.needed:
            return None
        lacking = final.lacking()
        if not lacking:
            return None
        down = tuple(agent for agent in self._scope.agents if agent not in final.core)
        without = f" without {', '.join(down)}" if down else ""
        message = f"{', '.join(final.core)} are a live quorum and make no progress{without}: {lacking[0]}"
        facts = {"core": final.core, "down": down}
        return Violation(LIVENESS_CORE.name, message, final.at_ns, final.core, facts)


LIVENESS_CORE: Final = Property(
    "liveness_core",
    Kind.EVENTUALLY,
    "Once faults have stopped, a live quorum comes to the result of the session, whoever stays down.",
    _Checker,
)
"""Liveness of a core."""

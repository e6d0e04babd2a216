"""Consensus by a replicated log: the first command that is committed is the decision.

Source: Ongaro and Ousterhout (2014); the reduction of consensus to a log is that of Schneider, *Implementing Fault-Tolerant
Services Using the State Machine Approach* (1990), section 4.

1. Each agent proposes its value to the log of :class:`~.raft_replication.RaftReplica`, with its name as the id.
2. All agents apply the same commands in the same order, so the first one is the same for all: that is the decision.
3. A restarted agent does not know how far its log is committed, until it hears of a leader; then it decides again, what
   it had decided before.
4. Who has decided proposes no more, and a leader that has decided takes no more proposals. Heartbeats go on, as upkeep:
   whoever was away learns of the decision by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_convergence._engine.base.effects import CancelTimer, Decide, Effect, Observe
from pytest_convergence._engine.patterns.raft_log import NO_OP, Entry
from pytest_convergence._engine.patterns.raft_replication import REQUEST_TIMER, RaftReplica, ReplicaRules

__all__ = ["RaftConsensus"]


class RaftConsensus(RaftReplica):
    """One agent's side of consensus by Raft (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(self, agent: str, agents: Sequence[str], proposal: Any, rules: ReplicaRules) -> None:
        super().__init__(agent, agents, rules)
        self.proposal = proposal
        self.decision: tuple[Any] | None = None

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin a life, with a proposal for the log."""
        effects: list[Effect] = [Observe("propose", {"value": self.proposal})]
        effects += super().on_start(durable)
        return effects + self._propose(self.name, self.proposal)

    def view(self) -> Any:
        """Return the decided value, or ``None``."""
        return None if self.decision is None else self.decision[0]

    def _apply(self, index: int, entry: Entry) -> list[Effect]:
        effects = super()._apply(index, entry)
        if self.decision is not None or entry.id == NO_OP:
            return effects
        self.decision = (entry.command,)
        self.pending.clear()
        decided: list[Effect] = [Observe("decide", {"value": entry.command}), Decide(entry.command)]
        return [*effects, CancelTimer(REQUEST_TIMER), *decided]

    def _on_propose(self, sender: str, payload: Any) -> list[Effect]:
        return [] if self.decision is not None else super()._on_propose(sender, payload)

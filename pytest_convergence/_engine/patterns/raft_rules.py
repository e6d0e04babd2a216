"""What a replicated log shows and takes: its view, its rules, and the argument of its commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_convergence._engine.patterns.raft import RaftTiming

__all__ = ["Proposal", "ReplicaRules", "ReplicaView"]


class ReplicaView(NamedTuple):
    """What an agent exposes of a replicated log: its leader, the term, and what it has applied.

    Attributes:
        leader: the leader that it follows, or is.
        term: the term.
        index: the index up to which it has applied the log.
        state: what the commands have come to; the tuple of the commands, unless the pattern says how to apply them.
    """

    leader: str | None
    term: int
    index: int  # type: ignore[assignment]  # tuple.index gives way to the field
    state: Any


class ReplicaRules(NamedTuple):
    """What all replicas share.

    Attributes:
        timing: of the election.
        pre_vote: whether an agent asks if an election could be won before it starts one.
        lease: whether leaders serve reads by a lease.
        max_clock_drift: by how much of its rate a clock may be wrong.
        max_entries: how many entries a message may carry.
        apply: a pure function of (state, command) that returns the next state; ``None`` collects the commands.
        initial: the state before the first command.
    """

    timing: RaftTiming
    pre_vote: bool = True
    lease: bool = False
    max_clock_drift: float = 0.0
    max_entries: int = 64
    apply: Callable[[Any, Any], Any] | None = None
    initial: Any = None


class Proposal(NamedTuple):
    """The argument of the command ``"propose"``: a command for the log, and an id that no other proposal has."""

    id: str
    command: Any

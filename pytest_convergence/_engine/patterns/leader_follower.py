"""The leader-follower pattern: its configuration, by Raft (with or without a log) or by the bully algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.patterns.bully import BullyElection, BullyTiming
from pytest_convergence._engine.patterns.pattern import FRUITLESS_TERMS, Pattern, check_function, positive_ns
from pytest_convergence._engine.patterns.quorum import majority
from pytest_convergence._engine.patterns.raft import LeaderView, RaftElection, RaftTiming
from pytest_convergence._engine.patterns.raft_replication import RaftReplica, ReplicaRules, ReplicaView
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["LeaderFollower"]

ALGORITHMS: Final = ("raft", "bully")
_INPUTS: Final = ("task",)
_PROPERTIES: Final = {
    "raft": (
        "election_safety",
        "term_monotonic",
        "promises_survive_restart",
        "reply_before_sync",
        "eventually_one_leader",
    ),
    # Without terms and quorums nothing keeps two sides of a partition from having a leader each.
    "bully": ("eventually_one_leader",),
}


LOG_PROPERTIES: Final = (
    "leader_completeness",
    "log_matching",
    "state_machine_safety",
    "committed_on_quorum",
    "committed_is_durable",
    "no_stale_read",
)


@final
@dataclass(frozen=True, slots=True)
class LeaderFollower(Pattern):
    """One agent leads and the others follow it; who, is elected again whenever the leader is lost.

    The defaults suit links of up to about 100 ms: a vote takes one round trip (200 ms), which is well below the
    shortest election timeout, and several heartbeats may be lost before anybody stands. On slower links Raft's agents learn
    to wait longer, doubling by doubling.

    Attributes:
        algorithm: ``"raft"`` (terms, durable votes, a quorum of the configured agents) or ``"bully"`` (the strongest
            reachable agent; agents are listed strongest first).
        heartbeat_seconds: virtual seconds between two heartbeats of a leader.
        election_timeout_seconds: ``(shortest, longest)`` virtual seconds of silence before an agent stands for
            election. Default: 5 and 10 heartbeats.
        pre_vote: ask whether an election could be won before starting it (Raft only).
        replicate: keep a replicated log as well (Raft only): ``session.log`` proposes commands and reads what they have
            come to.
        lease: let a leader serve reads by a lease, without asking a quorum each time (with ``replicate`` only).
        max_clock_drift: by how much of its rate a clock may be wrong (0 to less than 1); leases are shortened by it.
        apply: a pure function ``(state, command) -> state`` that every agent applies to the committed commands, in order;
            by default the state is the tuple of the commands.
        initial: the state before the first command, for ``apply``.
        max_entries: how many entries one message may carry.
    """

    algorithm: str = "raft"
    heartbeat_seconds: float = 0.1
    election_timeout_seconds: tuple[float, float] | None = None
    pre_vote: bool = True
    replicate: bool = False
    lease: bool = False
    max_clock_drift: float = 0.05
    apply: Callable[[Any, Any], Any] | None = None
    initial: Any = None
    max_entries: int = 64

    @property
    def name(self) -> str:
        """``"leader-follower"``."""
        return "leader-follower"

    @property
    def properties(self) -> tuple[str, ...]:
        """What the algorithm promises: safety and liveness for Raft, liveness alone for bully."""
        promised = _PROPERTIES[self.algorithm]
        return (*promised, *LOG_PROPERTIES) if self.replicate else promised

    @property
    def most_fruitless_terms(self) -> int:
        """Five hundred terms in a row without a lasting leader or a command applied are a livelock."""
        return FRUITLESS_TERMS

    def validate(self, agents: Sequence[str]) -> None:
        """Check the algorithm's name and the timing.

        Raises:
            ConvergenceUsageError: the algorithm is unknown, or a time is out of range.
        """
        if self.algorithm not in ALGORITHMS:
            raise unknown_name("leader-follower algorithm", self.algorithm, ALGORITHMS)
        if not agents:
            raise ConvergenceUsageError("the leader-follower pattern needs at least one agent.")
        self._timing()
        self._check_log()

    def _check_log(self) -> None:
        if self.replicate and self.algorithm != "raft":
            raise ConvergenceUsageError(
                f"replicate=True needs algorithm='raft': {self.algorithm!r} elects leaders that cannot keep a log safe."
            )
        for option, given in (("lease", self.lease), ("apply", self.apply is not None)):
            if given and not self.replicate:
                raise ConvergenceUsageError(
                    f"{option}= needs replicate=True: without a log there is nothing to read."
                )
        if self.apply is not None:
            check_function("apply", self.apply, "lambda state, command: state + command")
        drift: Any = self.max_clock_drift
        if isinstance(drift, bool) or not isinstance(drift, int | float) or not 0 <= drift < 1:
            raise ConvergenceUsageError(
                f"max_clock_drift must be a part of a clock's rate, 0 to less than 1 (0.05: five percent), not {drift!r}."
            )
        if self.lease and math.floor((1 - drift) / (1 + drift) * self._timing().election_min_ns) < 2 * (
            self._timing().heartbeat_ns
        ):
            raise ConvergenceUsageError(
                f"max_clock_drift={drift!r} leaves a lease of less than two heartbeats; lengthen election_timeout_seconds."
            )
        most: Any = self.max_entries
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ConvergenceUsageError(f"max_entries must be a whole number of at least 1, not {most!r}.")

    def _timing(self) -> RaftTiming:
        heartbeat_ns = positive_ns(self.heartbeat_seconds, "heartbeat_seconds")
        timeout: Any = self.election_timeout_seconds
        if timeout is None:
            return RaftTiming(heartbeat_ns, 5 * heartbeat_ns, 10 * heartbeat_ns)
        if not isinstance(timeout, tuple | list) or len(timeout) != 2:
            raise ConvergenceUsageError(
                f"election_timeout_seconds must be (shortest, longest) in seconds, not {timeout!r}."
            )
        low, high = (positive_ns(seconds, "election_timeout_seconds") for seconds in timeout)
        if low > high:
            raise ConvergenceUsageError(
                f"election_timeout_seconds={timeout!r}: the shortest is longer than the longest; swap the two."
            )
        if low <= heartbeat_ns:
            raise ConvergenceUsageError(
                f"election_timeout_seconds={timeout!r} must be longer than heartbeat_seconds="
                f"{self.heartbeat_seconds!r}: otherwise followers stand for election between two heartbeats."
            )
        return RaftTiming(heartbeat_ns, low, high)

    def dispensable(self, agents: Sequence[str]) -> int:
        """All but a quorum: a live quorum must elect a leader."""
        return len(agents) - self.quorum_of(agents)

    def quorum_of(self, agents: Sequence[str]) -> int:
        """Return a strict majority for Raft, and 1 for bully: whoever is alone leads."""
        return majority(len(agents)) if self.algorithm == "raft" else 1

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        """Check that nothing but ``task`` is given, and that it can be called.

        Raises:
            ConvergenceUsageError: an input is unknown, or ``task`` is not a function.
        """
        for key, value in inputs.items():
            if key not in _INPUTS:
                raise unknown_name("input of the leader-follower pattern", key, _INPUTS)
            if value is not None and not callable(value):
                raise ConvergenceUsageError(f"task must be a function of (leader, followers), not {value!r}.")

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        """Make the election machine of one life of ``agent``."""
        timing = self._timing()
        if self.algorithm == "bully":
            return BullyElection(agent, agents, BullyTiming(timing.heartbeat_ns, timing.election_min_ns))
        if not self.replicate:
            return RaftElection(agent, agents, timing, pre_vote=self.pre_vote)
        rules = ReplicaRules(
            timing,
            self.pre_vote,
            self.lease,
            self.max_clock_drift,
            self.max_entries,
            self.apply,
            self.initial,
        )
        return RaftReplica(agent, agents, rules)

    def output(self, views: Mapping[str, Any]) -> str | None:
        """Return the leader that all of ``views`` name, in the same term (and with the same log, where there is one)."""
        held = list(views.values())
        return self.leader(held[0]) if held and all(view == held[0] for view in held) else None

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        """Whether ``value`` is a configured agent."""
        return value in agents

    def leader(self, view: Any) -> str | None:
        """Return the leader that ``view`` names."""
        return view.leader if isinstance(view, LeaderView | ReplicaView) else None

    def observed(self, agent: str, facts: Sequence[tuple[str, Mapping[str, Any]]]) -> Any:
        """Return whom the agent said last that it follows, or that it leads itself; with a log, what it has applied too."""
        view: LeaderView | None = None
        for fact, data in facts:
            term = data.get("term", 0)
            if fact == "leader":
                view = LeaderView(agent, term)
            elif fact == "follow":
                view = LeaderView(data.get("leader"), term)
            elif fact == "step_down":
                view = LeaderView(None, term)
        if view is None or not self.replicate:
            return view
        return ReplicaView(view.leader, view.term, *self._observed_state(facts))

    def _observed_state(self, facts: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[int, Any]:
        applied = {data["index"]: data["value"] for fact, data in facts if fact == "apply"}
        commands = [applied[index] for index in sorted(applied) if applied[index] is not None]
        state: Any = tuple(commands)
        if self.apply is not None:
            state = snapshot(self.initial)
            for command in commands:
                state = self.apply(state, command)
        return max(applied, default=0), state

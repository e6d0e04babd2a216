"""Properties by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, final

from pytest_convergence._engine.check.acyclic_delegation import ACYCLIC_DELEGATION
from pytest_convergence._engine.check.agreement import AGREEMENT
from pytest_convergence._engine.check.antichain import ANTICHAIN
from pytest_convergence._engine.check.atomic_apply import ATOMIC_APPLY
from pytest_convergence._engine.check.award_known_bidder import AWARD_KNOWN_BIDDER
from pytest_convergence._engine.check.backpressure import BACKPRESSURE
from pytest_convergence._engine.check.bounded_retry import BOUNDED_RETRY
from pytest_convergence._engine.check.cancel_propagates import CANCEL_PROPAGATES
from pytest_convergence._engine.check.capability_match import CAPABILITY_MATCH
from pytest_convergence._engine.check.causal_context import CAUSAL_CONTEXT
from pytest_convergence._engine.check.clock_is_happens_before import CLOCK_IS_HAPPENS_BEFORE
from pytest_convergence._engine.check.commit_validity import COMMIT_VALIDITY
from pytest_convergence._engine.check.committed_is_durable import COMMITTED_IS_DURABLE
from pytest_convergence._engine.check.committed_on_quorum import COMMITTED_ON_QUORUM
from pytest_convergence._engine.check.completeness_or_flag import COMPLETENESS_OR_FLAG
from pytest_convergence._engine.check.conservation import CONSERVATION
from pytest_convergence._engine.check.context_intact import CONTEXT_INTACT
from pytest_convergence._engine.check.convergence import CONVERGENCE
from pytest_convergence._engine.check.deadline_respected import DEADLINE_RESPECTED
from pytest_convergence._engine.check.decision_stable import DECISION_STABLE
from pytest_convergence._engine.check.declared_order import DECLARED_ORDER
from pytest_convergence._engine.check.dependants_undone import DEPENDANTS_UNDONE
from pytest_convergence._engine.check.detect_exact import DETECT_EXACT
from pytest_convergence._engine.check.deterministic_replay import DETERMINISTIC_REPLAY
from pytest_convergence._engine.check.deterministic_resolution import DETERMINISTIC_RESOLUTION
from pytest_convergence._engine.check.dlq_complete import DLQ_COMPLETE
from pytest_convergence._engine.check.each_part_once import EACH_PART_ONCE
from pytest_convergence._engine.check.effect_at_most_once import EFFECT_AT_MOST_ONCE
from pytest_convergence._engine.check.election_safety import ELECTION_SAFETY
from pytest_convergence._engine.check.escalation_reaches_root import ESCALATION_REACHES_ROOT
from pytest_convergence._engine.check.eventually_one_leader import EVENTUALLY_ONE_LEADER
from pytest_convergence._engine.check.every_bidder_answered import EVERY_BIDDER_ANSWERED
from pytest_convergence._engine.check.failover_within import FAILOVER_WITHIN
from pytest_convergence._engine.check.fair_vote import FAIR_VOTE
from pytest_convergence._engine.check.first_come_order import FIRST_COME_ORDER
from pytest_convergence._engine.check.fold_is_state import FOLD_IS_STATE
from pytest_convergence._engine.check.handler_idempotent import HANDLER_IDEMPOTENT
from pytest_convergence._engine.check.hedge_idempotent import HEDGE_IDEMPOTENT
from pytest_convergence._engine.check.hybrid_clock import HYBRID_CLOCK
from pytest_convergence._engine.check.idempotent_resync import IDEMPOTENT_RESYNC
from pytest_convergence._engine.check.inflationary import INFLATIONARY
from pytest_convergence._engine.check.integrity import INTEGRITY
from pytest_convergence._engine.check.interval_covered import INTERVAL_COVERED
from pytest_convergence._engine.check.last_write_rule import LAST_WRITE_RULE
from pytest_convergence._engine.check.late_bid_rejected import LATE_BID_REJECTED
from pytest_convergence._engine.check.leader_completeness import LEADER_COMPLETENESS
from pytest_convergence._engine.check.liveness_core import LIVENESS_CORE
from pytest_convergence._engine.check.load_bound import LOAD_BOUND
from pytest_convergence._engine.check.log_matching import LOG_MATCHING
from pytest_convergence._engine.check.log_without_gap import LOG_WITHOUT_GAP
from pytest_convergence._engine.check.merge_laws import MERGE_LAWS
from pytest_convergence._engine.check.merge_order_independent import MERGE_ORDER_INDEPENDENT
from pytest_convergence._engine.check.monotonic_version import MONOTONIC_VERSION
from pytest_convergence._engine.check.no_acked_loss import NO_ACKED_LOSS
from pytest_convergence._engine.check.no_commit_without_accept import NO_COMMIT_WITHOUT_ACCEPT
from pytest_convergence._engine.check.no_feedback_loop import NO_FEEDBACK_LOOP
from pytest_convergence._engine.check.no_lost_owner import NO_LOST_OWNER
from pytest_convergence._engine.check.no_orphan_work import NO_ORPHAN_WORK
from pytest_convergence._engine.check.no_ping_pong import NO_PING_PONG
from pytest_convergence._engine.check.no_silent_loss import NO_SILENT_LOSS
from pytest_convergence._engine.check.no_stale_effect import NO_STALE_EFFECT
from pytest_convergence._engine.check.no_stale_read import NO_STALE_READ
from pytest_convergence._engine.check.no_starvation import NO_STARVATION
from pytest_convergence._engine.check.no_unexpected import NO_UNEXPECTED
from pytest_convergence._engine.check.no_unhandled_exception import NO_UNHANDLED_EXCEPTION
from pytest_convergence._engine.check.one_result_per_task import ONE_RESULT_PER_TASK
from pytest_convergence._engine.check.one_verdict import ONE_VERDICT
from pytest_convergence._engine.check.per_key_order import PER_KEY_ORDER
from pytest_convergence._engine.check.pivot_no_undo import PIVOT_NO_UNDO
from pytest_convergence._engine.check.priority_rule import PRIORITY_RULE
from pytest_convergence._engine.check.promises_survive_restart import PROMISES_SURVIVE_RESTART
from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.check.quiescence import QUIESCENCE
from pytest_convergence._engine.check.reply_before_sync import REPLY_BEFORE_SYNC
from pytest_convergence._engine.check.resent_until_acked import RESENT_UNTIL_ACKED
from pytest_convergence._engine.check.restart_intensity import RESTART_INTENSITY
from pytest_convergence._engine.check.restart_scope import RESTART_SCOPE
from pytest_convergence._engine.check.rollback_exact import ROLLBACK_EXACT
from pytest_convergence._engine.check.round_isolation import ROUND_ISOLATION
from pytest_convergence._engine.check.saga_atomic import SAGA_ATOMIC
from pytest_convergence._engine.check.sec import SEC
from pytest_convergence._engine.check.single_award import SINGLE_AWARD
from pytest_convergence._engine.check.single_owner import SINGLE_OWNER
from pytest_convergence._engine.check.state_machine_safety import STATE_MACHINE_SAFETY
from pytest_convergence._engine.check.straggler_bound import STRAGGLER_BOUND
from pytest_convergence._engine.check.sync_equivalence import SYNC_EQUIVALENCE
from pytest_convergence._engine.check.term_monotonic import TERM_MONOTONIC
from pytest_convergence._engine.check.termination import TERMINATION
from pytest_convergence._engine.check.three_way_identities import THREE_WAY_IDENTITIES
from pytest_convergence._engine.check.token_unique_monotonic import TOKEN_UNIQUE_MONOTONIC
from pytest_convergence._engine.check.transfer_exactly_once import TRANSFER_EXACTLY_ONCE
from pytest_convergence._engine.check.trigger_once import TRIGGER_ONCE
from pytest_convergence._engine.check.validity import VALIDITY
from pytest_convergence._engine.check.winner_rule import WINNER_RULE
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["BUILT_IN", "PropertyRegistry", "find_property"]

BUILT_IN: Final[Mapping[str, Property]] = {
    each.name: each
    for each in (
        NO_UNHANDLED_EXCEPTION,
        QUIESCENCE,
        LIVENESS_CORE,
        DETERMINISTIC_REPLAY,
        PROMISES_SURVIVE_RESTART,
        REPLY_BEFORE_SYNC,
        CONVERGENCE,
        VALIDITY,
        ELECTION_SAFETY,
        TERM_MONOTONIC,
        EVENTUALLY_ONE_LEADER,
        AGREEMENT,
        INTEGRITY,
        DECISION_STABLE,
        TERMINATION,
        LEADER_COMPLETENESS,
        LOG_MATCHING,
        STATE_MACHINE_SAFETY,
        COMMITTED_ON_QUORUM,
        COMMITTED_IS_DURABLE,
        NO_STALE_READ,
        COMMIT_VALIDITY,
        SEC,
        MONOTONIC_VERSION,
        SYNC_EQUIVALENCE,
        IDEMPOTENT_RESYNC,
        INFLATIONARY,
        INTERVAL_COVERED,
        RESENT_UNTIL_ACKED,
        ATOMIC_APPLY,
        LOG_WITHOUT_GAP,
        FOLD_IS_STATE,
        CAUSAL_CONTEXT,
        ANTICHAIN,
        CLOCK_IS_HAPPENS_BEFORE,
        HYBRID_CLOCK,
        NO_ACKED_LOSS,
        EFFECT_AT_MOST_ONCE,
        NO_UNEXPECTED,
        PER_KEY_ORDER,
        BOUNDED_RETRY,
        DLQ_COMPLETE,
        BACKPRESSURE,
        CONSERVATION,
        ONE_RESULT_PER_TASK,
        NO_ORPHAN_WORK,
        DEADLINE_RESPECTED,
        CANCEL_PROPAGATES,
        RESTART_SCOPE,
        RESTART_INTENSITY,
        ACYCLIC_DELEGATION,
        ESCALATION_REACHES_ROOT,
        DECLARED_ORDER,
        HANDLER_IDEMPOTENT,
        SAGA_ATOMIC,
        PIVOT_NO_UNDO,
        NO_FEEDBACK_LOOP,
        TRIGGER_ONCE,
        EACH_PART_ONCE,
        HEDGE_IDEMPOTENT,
        ROUND_ISOLATION,
        MERGE_ORDER_INDEPENDENT,
        MERGE_LAWS,
        THREE_WAY_IDENTITIES,
        COMPLETENESS_OR_FLAG,
        STRAGGLER_BOUND,
        SINGLE_AWARD,
        WINNER_RULE,
        LATE_BID_REJECTED,
        AWARD_KNOWN_BIDDER,
        EVERY_BIDDER_ANSWERED,
        NO_COMMIT_WITHOUT_ACCEPT,
        SINGLE_OWNER,
        NO_LOST_OWNER,
        NO_STALE_EFFECT,
        TOKEN_UNIQUE_MONOTONIC,
        TRANSFER_EXACTLY_ONCE,
        CONTEXT_INTACT,
        CAPABILITY_MATCH,
        LOAD_BOUND,
        NO_PING_PONG,
        FAILOVER_WITHIN,
        DETECT_EXACT,
        NO_SILENT_LOSS,
        DETERMINISTIC_RESOLUTION,
        LAST_WRITE_RULE,
        FIRST_COME_ORDER,
        PRIORITY_RULE,
        NO_STARVATION,
        ONE_VERDICT,
        FAIR_VOTE,
        ROLLBACK_EXACT,
        DEPENDANTS_UNDONE,
    )
}
"""The properties that come with the package."""


_UNASKED: Final = tuple(each for each in BUILT_IN.values() if each.patterns)
"""Those of them that apply to some sessions without being named."""


@final
class PropertyRegistry:
    """The properties that one test run knows: the built-in ones, and those that plugins add."""

    __slots__ = ("_properties", "_unasked")

    def __init__(self, more: Iterable[Property] = ()) -> None:
        self._properties: dict[str, Property] = dict(BUILT_IN)
        self._unasked = list(_UNASKED)
        for each in more:
            self.add(each)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that :meth:`find` answers."""
        return tuple(self._properties)

    def add(self, new: Property) -> None:
        """Make a property known under its name.

        Raises:
            ConvergenceUsageError: it is no property, or the name is taken.
        """
        if not isinstance(new, Property):
            raise ConvergenceUsageError(
                f"{new!r} is no property; make one with Always(…), Never(…), Eventually(…), Sometimes(…), LeadsTo(…) or "
                "Property(…)."
            )
        if new.name in self._properties:
            raise ConvergenceUsageError(f"a property named {new.name!r} exists already; choose another name.")
        self._properties[new.name] = new
        if new.patterns:
            self._unasked.append(new)

    def applying_to(self, pattern: str) -> tuple[Property, ...]:
        """The properties that apply unasked to sessions of that pattern (``"none"``: without one)."""
        return tuple(each for each in self._unasked if pattern in each.patterns or "*" in each.patterns)

    def find(self, wanted: object) -> Property:
        """Return the property of that name; a :class:`Property` is returned as it is.

        Raises:
            ConvergenceUsageError: there is none of that name.
        """
        if isinstance(wanted, Property):
            return wanted
        found = self._properties.get(wanted) if isinstance(wanted, str) else None
        if found is None:
            raise unknown_name("property", wanted, self._properties)
        return found

    def find_all(self, wanted: Iterable[object]) -> tuple[Property, ...]:
        """Return the properties, each once, in the order of their first mention.

        Raises:
            ConvergenceUsageError: a name is unknown, or two different properties share one.
        """
        found: dict[str, Property] = {}
        for each in map(self.find, wanted):
            if found.setdefault(each.name, each) is not each:
                raise ConvergenceUsageError(f"two different properties are named {each.name!r}; rename one.")
        return tuple(found.values())


def find_property(wanted: object) -> Property:
    """Return a built-in property by name; a :class:`Property` is returned as it is.

    Raises:
        ConvergenceUsageError: there is none of that name.
    """
    if isinstance(wanted, Property):
        return wanted
    found = BUILT_IN.get(wanted) if isinstance(wanted, str) else None
    if found is None:
        raise unknown_name("property", wanted, BUILT_IN)
    return found

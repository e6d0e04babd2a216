"""Test agents that must agree, in a simulated world inside pytest.

This module holds the public names and nothing else. Each is imported when it is first asked for (PEP 562), so that a
test suite which installs the plugin and does not use it loads no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pytest_convergence._engine.base.clocks import VectorClock
    from pytest_convergence._engine.base.effects import (
        AgentRef,
        Call,
        CancelCall,
        CancelTimer,
        Decide,
        Machine,
        Observe,
        Persist,
        Raised,
        Returned,
        Send,
        SetTimer,
        Sync,
    )
    from pytest_convergence._engine.base.messages import Message, MessageKind
    from pytest_convergence._engine.base.schedule import Schedule
    from pytest_convergence._engine.base.trace import Trace, TraceEvent
    from pytest_convergence._engine.check.leads_to import LeadsTo
    from pytest_convergence._engine.check.predicates import Always, Eventually, Never, Sometimes
    from pytest_convergence._engine.check.progress import ItemProgress, ItemState, item_progress
    from pytest_convergence._engine.check.property import Property, Violation
    from pytest_convergence._engine.patterns.competitive import Competitive
    from pytest_convergence._engine.patterns.consensus import Consensus
    from pytest_convergence._engine.patterns.contract_net import Award
    from pytest_convergence._engine.patterns.durable import Slots
    from pytest_convergence._engine.patterns.events import HandlerFailed, Publish
    from pytest_convergence._engine.patterns.handoff import FencingToken, HandoffReason, HandoffState
    from pytest_convergence._engine.patterns.hierarchical import Hierarchical
    from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
    from pytest_convergence._engine.patterns.parallel_merge import ParallelMerge
    from pytest_convergence._engine.patterns.pattern import Pattern
    from pytest_convergence._engine.patterns.pipeline import DeadLetter, Pipeline, Rejected, Stage, Unfinished
    from pytest_convergence._engine.patterns.raft_log import LogEntry
    from pytest_convergence._engine.patterns.reactive import Reactive
    from pytest_convergence._engine.patterns.saga import Saga, Step
    from pytest_convergence._engine.patterns.tally import Tally
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.cancellable import cancellable
    from pytest_convergence._engine.run.engine import ConvergenceEngine, EngineStats
    from pytest_convergence._engine.run.fencing import FencedResource
    from pytest_convergence._engine.run.goal import Criterion, Goal
    from pytest_convergence._engine.run.handing import Handoff, HandoffResult, HandoffStats
    from pytest_convergence._engine.run.handlers import Notice, SessionEvent
    from pytest_convergence._engine.run.hosts import SimulatedHost
    from pytest_convergence._engine.run.lifecycle import SessionState
    from pytest_convergence._engine.run.outcome import Outcome, RunMetrics
    from pytest_convergence._engine.run.progress import Phase
    from pytest_convergence._engine.run.replicated import ReplicatedLog
    from pytest_convergence._engine.run.session import Session
    from pytest_convergence._engine.sim.conditions import Network
    from pytest_convergence._engine.sim.plans import Fault, FaultPlan
    from pytest_convergence._engine.state.conflict_types import ConflictType, Severity
    from pytest_convergence._engine.state.conflicts import UNKNOWN, Conflict, Resolution
    from pytest_convergence._engine.state.laws import assert_merge_laws
    from pytest_convergence._engine.state.resolution import (
        ByArbitration,
        ByMerge,
        ByPriority,
        ByVote,
        Resolve,
        Resolver,
    )
    from pytest_convergence._engine.state.sync import Crdt, Delta, EventLog, Full, Siblings, SyncStrategy
    from pytest_convergence._engine.state.three_way import MergeConflict, Merged, three_way_merge
    from pytest_convergence._engine.state.updates import DELETED
    from pytest_convergence.errors import (
        AgentCrashedError,
        AgentError,
        BudgetExceeded,
        ConvergenceError,
        ConvergenceUsageError,
        ConvergenceWarning,
        DeadlockError,
        InternalError,
        LivelockError,
        PropertyViolation,
        RefusedCallError,
        RunFailure,
        SimulationEscapeError,
        StaleScheduleWarning,
        StaleTokenError,
    )
    from pytest_convergence.explore.states import MachineState, StateSpace, StateViolation, explore_states

__all__ = [
    "ConvergenceEngine",
    "EngineStats",
    "Session",
    "SessionEvent",
    "Notice",
    "Phase",
    "RunMetrics",
    "SimulatedAgent",
    "SimulatedHost",
    "cancellable",
    "Handoff",
    "HandoffResult",
    "HandoffReason",
    "HandoffState",
    "HandoffStats",
    "FencingToken",
    "FencedResource",
    "Outcome",
    "SessionState",
    "Goal",
    "Criterion",
    "Network",
    "Schedule",
    "Fault",
    "FaultPlan",
    "Message",
    "MessageKind",
    "Consensus",
    "LeaderFollower",
    "ReplicatedLog",
    "LogEntry",
    "ParallelMerge",
    "Merged",
    "MergeConflict",
    "Competitive",
    "Award",
    "Hierarchical",
    "Reactive",
    "Publish",
    "HandlerFailed",
    "Saga",
    "Step",
    "Pipeline",
    "Stage",
    "DeadLetter",
    "Rejected",
    "Unfinished",
    "ItemProgress",
    "ItemState",
    "item_progress",
    "Pattern",
    "Machine",
    "Slots",
    "Call",
    "CancelCall",
    "Returned",
    "Raised",
    "AgentRef",
    "Send",
    "SetTimer",
    "CancelTimer",
    "Persist",
    "Sync",
    "Decide",
    "Observe",
    "VectorClock",
    "Tally",
    "Property",
    "Always",
    "Never",
    "Eventually",
    "Sometimes",
    "LeadsTo",
    "Violation",
    "Conflict",
    "ConflictType",
    "Severity",
    "Resolution",
    "Resolve",
    "Resolver",
    "ByPriority",
    "ByMerge",
    "ByArbitration",
    "ByVote",
    "DELETED",
    "UNKNOWN",
    "Trace",
    "TraceEvent",
    "explore_states",
    "StateSpace",
    "StateViolation",
    "MachineState",
    "assert_merge_laws",
    "Full",
    "Delta",
    "EventLog",
    "Crdt",
    "Siblings",
    "SyncStrategy",
    "three_way_merge",
    "AgentCrashedError",
    "AgentError",
    "BudgetExceeded",
    "ConvergenceError",
    "ConvergenceUsageError",
    "ConvergenceWarning",
    "DeadlockError",
    "InternalError",
    "LivelockError",
    "PropertyViolation",
    "RefusedCallError",
    "RunFailure",
    "SimulationEscapeError",
    "StaleScheduleWarning",
    "StaleTokenError",
]

_HOMES: Final = {
    "ConvergenceEngine": "_engine.run.engine",
    "EngineStats": "_engine.run.engine",
    "SessionEvent": "_engine.run.handlers",
    "Notice": "_engine.run.handlers",
    "Phase": "_engine.run.progress",
    "RunMetrics": "_engine.run.outcome",
    "Session": "_engine.run.session",
    "SimulatedAgent": "_engine.run.agent",
    "SimulatedHost": "_engine.run.hosts",
    "cancellable": "_engine.run.cancellable",
    "Handoff": "_engine.run.handing",
    "HandoffResult": "_engine.run.handing",
    "HandoffStats": "_engine.run.handing",
    "HandoffReason": "_engine.patterns.handoff",
    "HandoffState": "_engine.patterns.handoff",
    "FencingToken": "_engine.patterns.handoff",
    "FencedResource": "_engine.run.fencing",
    "Outcome": "_engine.run.outcome",
    "SessionState": "_engine.run.lifecycle",
    "Goal": "_engine.run.goal",
    "Criterion": "_engine.run.goal",
    "Network": "_engine.sim.conditions",
    "Schedule": "_engine.base.schedule",
    "Fault": "_engine.sim.plans",
    "FaultPlan": "_engine.sim.plans",
    "Message": "_engine.base.messages",
    "MessageKind": "_engine.base.messages",
    "Consensus": "_engine.patterns.consensus",
    "LeaderFollower": "_engine.patterns.leader_follower",
    "ReplicatedLog": "_engine.run.replicated",
    "LogEntry": "_engine.patterns.raft_log",
    "ParallelMerge": "_engine.patterns.parallel_merge",
    "Merged": "_engine.state.three_way",
    "MergeConflict": "_engine.state.three_way",
    "Competitive": "_engine.patterns.competitive",
    "Award": "_engine.patterns.contract_net",
    "Hierarchical": "_engine.patterns.hierarchical",
    "Reactive": "_engine.patterns.reactive",
    "Publish": "_engine.patterns.events",
    "HandlerFailed": "_engine.patterns.events",
    "Saga": "_engine.patterns.saga",
    "Step": "_engine.patterns.saga",
    "Pipeline": "_engine.patterns.pipeline",
    "Stage": "_engine.patterns.pipeline",
    "DeadLetter": "_engine.patterns.pipeline",
    "Rejected": "_engine.patterns.pipeline",
    "Unfinished": "_engine.patterns.pipeline",
    "ItemProgress": "_engine.check.progress",
    "ItemState": "_engine.check.progress",
    "item_progress": "_engine.check.progress",
    "Pattern": "_engine.patterns.pattern",
    "Slots": "_engine.patterns.durable",
    "Machine": "_engine.base.effects",
    "Call": "_engine.base.effects",
    "CancelCall": "_engine.base.effects",
    "Returned": "_engine.base.effects",
    "Raised": "_engine.base.effects",
    "AgentRef": "_engine.base.effects",
    "Send": "_engine.base.effects",
    "SetTimer": "_engine.base.effects",
    "CancelTimer": "_engine.base.effects",
    "Persist": "_engine.base.effects",
    "Sync": "_engine.base.effects",
    "Decide": "_engine.base.effects",
    "Observe": "_engine.base.effects",
    "VectorClock": "_engine.base.clocks",
    "Tally": "_engine.patterns.tally",
    "Property": "_engine.check.property",
    "Always": "_engine.check.predicates",
    "Never": "_engine.check.predicates",
    "Eventually": "_engine.check.predicates",
    "Sometimes": "_engine.check.predicates",
    "LeadsTo": "_engine.check.leads_to",
    "Violation": "_engine.check.property",
    "Conflict": "_engine.state.conflicts",
    "ConflictType": "_engine.state.conflict_types",
    "Severity": "_engine.state.conflict_types",
    "Resolution": "_engine.state.conflicts",
    "UNKNOWN": "_engine.state.conflicts",
    "Resolve": "_engine.state.resolution",
    "Resolver": "_engine.state.resolution",
    "ByPriority": "_engine.state.resolution",
    "ByMerge": "_engine.state.resolution",
    "ByArbitration": "_engine.state.resolution",
    "ByVote": "_engine.state.resolution",
    "DELETED": "_engine.state.updates",
    "Trace": "_engine.base.trace",
    "TraceEvent": "_engine.base.trace",
    "explore_states": "explore.states",
    "StateSpace": "explore.states",
    "StateViolation": "explore.states",
    "MachineState": "explore.states",
    "assert_merge_laws": "_engine.state.laws",
    "Full": "_engine.state.sync",
    "Delta": "_engine.state.sync",
    "EventLog": "_engine.state.sync",
    "Crdt": "_engine.state.sync",
    "Siblings": "_engine.state.sync",
    "SyncStrategy": "_engine.state.sync",
    "three_way_merge": "_engine.state.three_way",
    "AgentCrashedError": "errors",
    "AgentError": "errors",
    "BudgetExceeded": "errors",
    "ConvergenceError": "errors",
    "ConvergenceUsageError": "errors",
    "ConvergenceWarning": "errors",
    "DeadlockError": "errors",
    "InternalError": "errors",
    "LivelockError": "errors",
    "PropertyViolation": "errors",
    "RefusedCallError": "errors",
    "RunFailure": "errors",
    "SimulationEscapeError": "errors",
    "StaleScheduleWarning": "errors",
    "StaleTokenError": "errors",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})

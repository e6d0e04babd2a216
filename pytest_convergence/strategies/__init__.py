"""Hypothesis strategies for agents that must agree: ``from pytest_convergence import strategies as cst``.

Each shrinks to the calm, the empty, the equal: to the order that was given, to the schedule on which nothing happens, to
agents that hold the same. What is left of a counterexample is there because the failure needs it.

Importing this module registers the types that the strategies draw with :func:`hypothesis.strategies.from_type`.
"""

from __future__ import annotations

from pytest_convergence._engine.state.laws import MergeLawViolation, assert_merge_laws
from pytest_convergence.strategies._registration import register_types
from pytest_convergence.strategies.causality import (
    History,
    HistoryEvent,
    histories,
    hybrid_clocks,
    lamport_clocks,
    vector_clocks,
)
from pytest_convergence.strategies.faults import fault_plans
from pytest_convergence.strategies.orderings import message_orderings, messages
from pytest_convergence.strategies.schedules import schedules
from pytest_convergence.strategies.sessions import goals, networks, proposals
from pytest_convergence.strategies.stateful import ConvergenceStateMachine
from pytest_convergence.strategies.states import ConflictingStates, conflicting_states, deltas

__all__ = [
    "conflicting_states",
    "message_orderings",
    "schedules",
    "fault_plans",
    "histories",
    "vector_clocks",
    "deltas",
    "proposals",
    "networks",
    "goals",
    "messages",
    "lamport_clocks",
    "hybrid_clocks",
    "assert_merge_laws",
    "ConvergenceStateMachine",
    "ConflictingStates",
    "History",
    "HistoryEvent",
    "MergeLawViolation",
]

register_types()

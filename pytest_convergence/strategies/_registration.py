"""Which strategy draws which type."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_convergence._engine.base.clocks import HybridClock, LamportClock, VectorClock
from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.goal import Goal
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.plans import FaultPlan
from pytest_convergence._engine.state.updates import Delta
from pytest_convergence.strategies.causality import (
    History,
    histories,
    hybrid_clocks,
    lamport_clocks,
    vector_clocks,
)
from pytest_convergence.strategies.faults import fault_plans
from pytest_convergence.strategies.orderings import messages
from pytest_convergence.strategies.schedules import schedules
from pytest_convergence.strategies.sessions import goals, networks
from pytest_convergence.strategies.states import ConflictingStates, conflicting_states, deltas

__all__ = ["register_types"]


def register_types() -> None:
    """Tell Hypothesis how to draw our types, so that ``st.from_type`` and ``st.builds`` know them."""
    st.register_type_strategy(VectorClock, vector_clocks())
    st.register_type_strategy(LamportClock, lamport_clocks())
    st.register_type_strategy(HybridClock, hybrid_clocks())
    st.register_type_strategy(Message, messages())
    st.register_type_strategy(Schedule, schedules())
    st.register_type_strategy(FaultPlan, fault_plans())
    st.register_type_strategy(Network, networks())
    st.register_type_strategy(Goal, goals())
    st.register_type_strategy(Delta, deltas())
    st.register_type_strategy(History, histories())
    st.register_type_strategy(ConflictingStates, conflicting_states())

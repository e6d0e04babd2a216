"""The fixtures. What they give belongs to the running test: its marker's options are the defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.engine import ConvergenceEngine
    from pytest_convergence._engine.run.session import Session

__all__ = ["convergence_engine", "convergence_session", "convergence_session_factory", "simulated_agents"]


@pytest.fixture
def convergence_engine(request: pytest.FixtureRequest) -> ConvergenceEngine:
    """A fresh engine; its sessions take the options of the test's marker where they are not given others."""
    from pytest_convergence._engine.run.engine import ConvergenceEngine
    from pytest_convergence._pytest.marker import known_names
    from pytest_convergence._pytest.runtime import runtime_of

    running = runtime_of(request.config).running(request.node)
    return ConvergenceEngine(
        running.defaults(),
        created=running.created,
        finished=running.finished,
        seed_from=running.nodeid,
        known=known_names(request.config),
    )


@pytest.fixture(scope="session")
def convergence_session_factory(request: pytest.FixtureRequest) -> Callable[..., Session]:
    """A callable that makes sessions: ``convergence_session_factory(agents=3, network="lossy")``.

    It takes the marker's options, and ``schedule=``, ``goal=``, ``states=`` and ``name=``. Each session belongs to the test
    that runs when it is made: the marker of that test holds for what is not given. Usable under ``@given``.
    """
    from pytest_convergence._pytest.runtime import runtime_of

    runtime = runtime_of(request.config)
    runtime.current = runtime.current or request._pyfuncitem

    def make_session(**options: Any) -> Session:
        return runtime.running(runtime.current).make_session(options)

    return make_session


@pytest.fixture
def convergence_session(request: pytest.FixtureRequest) -> Session:
    """The one session that the test's marker describes; without a marker, one with no agents yet."""
    from pytest_convergence._pytest.runtime import runtime_of

    item = request.node
    return runtime_of(request.config).running(item).make_session({}, name=item.name)


@pytest.fixture
def simulated_agents(convergence_session: Session) -> Mapping[str, SimulatedAgent]:
    """The agents of ``convergence_session``: a read-only mapping, name to agent."""
    return convergence_session.agents

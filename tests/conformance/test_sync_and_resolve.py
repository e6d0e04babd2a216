"""A scenario that is written once runs under each way to synchronise and each way to settle conflicts."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import Conflict, ConvergenceEngine, Session
from pytest_convergence._engine.state.resolution import KNOWN_STRATEGIES
from pytest_convergence._engine.state.sync import SYNCS


def longest(conflict: Conflict) -> str:
    return max(map(str, conflict.values.values()), key=lambda text: (len(text), text))


EXPECTED = {
    "priority": "from b, later",
    "first-come": "from a",
    "last-write": "from b, later",
    "merge": "from b, later",
    "arbitration": "from b, later",
    "rollback": "before",
    "voting": "from b, later",
    "longest": "from b, later",
}


async def scenario(session: Session) -> None:
    """Two write a title at once; everybody notes something; a third changes what nobody else touches."""
    a, b, c = session.agents.values()
    a.state.set("plan.title", "before")
    await session.sleep(5)
    with session.network.partition([a], [b, c]):
        a.state.set("plan.title", "from a")
        await session.sleep(1)
        b.state.set("plan.title", "from b, later")
        c.state.set("plan.owner", "c")
        for agent in (a, b, c):
            agent.state.increment("count")
        await session.sleep(5)


@pytest.mark.parametrize("network", ["perfect", "flaky"])
@pytest.mark.parametrize(
    "resolve", [*KNOWN_STRATEGIES, longest], ids=lambda each: getattr(each, "__name__", each)
)
@pytest.mark.parametrize("sync", SYNCS)
def test_every_combination_ends_in_one_state_and_one_conflict(sync: str, resolve: Any, network: str) -> None:
    session = ConvergenceEngine().create_session(
        "scenario", agents=["a", "b", "c"], sync=sync, resolve=resolve, network=network, seed=3
    )
    outcome = session.run(scenario)
    assert outcome.converged, str(outcome)
    (conflict,) = outcome.conflicts
    assert conflict.path == "plan.title"
    assert conflict.values == {"a": "from a", "b": "from b, later"}
    assert conflict.resolution is not None
    title = EXPECTED[getattr(resolve, "__name__", resolve)]
    for agent in session.agents.values():
        assert agent.state.as_dict() == {"plan": {"title": title, "owner": "c"}, "count": 3}

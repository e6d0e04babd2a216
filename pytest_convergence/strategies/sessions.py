"""What a session is made with: proposals, network conditions, goals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from pytest_convergence._engine.run.goal import CRITERIA, Goal
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence.strategies._names import agent_names

__all__ = ["goals", "networks", "proposals"]


def proposals(
    agents: int | Iterable[str] = 3, values: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[dict[str, Any]]:
    """Proposals for ``run(proposals=…)`` of a consensus: agent -> value. Shrinks to everybody proposing the same.

    ``values`` is a strategy of the values; by default a few letters, so that agents often propose the same.
    """
    names = agent_names(agents)
    drawn = values if values is not None else st.sampled_from("ABC")

    def among(first: Any) -> st.SearchStrategy[dict[str, Any]]:
        others = [st.one_of(st.just(first), drawn)] * (len(names) - 1)
        return st.tuples(st.just(first), *others).map(lambda chosen: dict(zip(names, chosen, strict=True)))

    return drawn.flatmap(among)


def networks(
    *, max_latency: float = 1.0, max_loss: float = 0.3, max_duplicate: float = 0.2, max_reorder: float = 0.3
) -> st.SearchStrategy[Network]:
    """Network conditions. Shrinks to a network without latency that loses, duplicates and reorders nothing.

    ``max_latency`` is in virtual seconds, the others are probabilities. Numbers are drawn in steps of a hundredth of
    the maximum.
    """
    numbers = st.tuples(*[st.integers(0, 100)] * 5)

    @st.composite
    def network(draw: st.DrawFn) -> Network:
        least, spread, loss, duplicate, reorder = draw(numbers)
        latency = (least * max_latency / 200, (least + spread) * max_latency / 200)
        return Network(
            latency=latency,
            loss=loss * max_loss / 100,
            duplicate=duplicate * max_duplicate / 100,
            reorder=reorder * max_reorder / 100,
        )

    return network()


def goals() -> st.SearchStrategy[Goal]:
    """Goals with criteria that have names. Shrinks to a goal without criteria or bounds."""
    return st.builds(
        Goal,
        st.sampled_from(("agree", "finish the plan", "elect a leader")),
        st.lists(st.sampled_from(tuple(CRITERIA)), unique=True, max_size=3).map(tuple),
        timeout=st.none() | st.integers(1, 3_600).map(float),
        max_iterations=st.none() | st.integers(1, 10),
        convergence_threshold=st.integers(0, 100).map(lambda percent: 1 - percent / 100),
    )

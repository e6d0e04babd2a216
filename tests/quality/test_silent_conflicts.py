"""Replicas that settle their conflicts correctly raise no alarm, by whatever strategy, and every run ends in agreement."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.state.resolution import ByArbitration, ByVote, Resolve
from tests.quality.silence import NETWORKS, SEEDS, SWEEPING, silent

AGENTS = ["a", "b", "c", "d"]
STRATEGIES: dict[str, Any] = {
    "priority": "priority",
    "first-come": "first-come",
    "last-write": "last-write",
    "merge": "merge",
    "arbitration": "arbitration",
    "voting": ByVote(tie="last-write"),
    "rollback": "rollback",
    "function": lambda conflict: max(map(str, conflict.values.values())),
    "escalation": Resolve(
        ByVote(vote=lambda agent, conflict: None), escalate_to=ByArbitration(arbiter="b", attempts=3)
    ),
    "by type": {"task overlap": "first-come", "state mismatch": "arbitration", "default": "merge"},
}


async def rival_writers(session: Session) -> None:
    """Everybody writes, again and again, and nobody waits for the others."""
    for turn in range(3):
        for number, agent in enumerate(session.agents.values()):
            if agent.is_alive:
                agent.state.set("plan.title", f"{agent.name} {turn}")
                agent.state.set(f"task.{turn}", agent.name)
                title = agent.state.get("plan.title")
                agent.state.set(f"seen.{agent.name}", f"{title}!", depends_on=["plan.title"])
                with agent.state.derived_from(f"seen.{AGENTS[number - 1]}"):
                    agent.state.append("log", f"{agent.name} {turn}")
                if number == turn:
                    agent.state.set("plan", {"title": "anew", "size": turn})
                agent.state.increment("writes")
        await session.sleep(0.7)


def _is_settled(outcome: Outcome) -> bool:
    ids = [conflict.id for conflict in outcome.conflicts]
    return outcome.converged and len(set(ids)) == len(ids) and outcome.metrics.unresolved >= 0


def test_what_a_rollback_took_back_stays_taken_back_when_the_conflict_has_grown_unseen() -> None:
    """b is down while the conflict grows to one that has no write in common with what it reported last."""
    options = {"agents": AGENTS, "network": "wan", "resolve": "rollback"}
    silent(options, seeds=(169,), scenario=rival_writers, accept=_is_settled)


@pytest.mark.parametrize(("seed", "network"), [(81, "perfect"), (30, "lan"), (48, "lossy")])
def test_a_rollback_that_others_know_to_be_none_is_not_asked_for(seed: int, network: str) -> None:
    """d reports a rollback and crashes; the conflict grows to one that nobody can roll back, and is written over."""
    options = {"agents": AGENTS, "network": network, "resolve": "rollback"}
    silent(options, seeds=(seed,), scenario=rival_writers, accept=_is_settled)


def test_a_rollback_goes_back_no_further_than_to_what_all_had_seen() -> None:
    """c writes at a deeper path in between, so that nobody says what stood at the path of the conflict."""
    options = {"agents": AGENTS, "network": "perfect", "resolve": "rollback"}
    silent(options, seeds=(103,), scenario=rival_writers, accept=_is_settled)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("resolve", STRATEGIES)
def test_rival_writers_agree_in_the_end(resolve: str, network: str) -> None:
    options = {"agents": AGENTS, "network": network, "resolve": STRATEGIES[resolve]}
    seeds = SEEDS if SWEEPING else 2  # for each of ten strategies
    silent(options, seeds=seeds, scenario=rival_writers, accept=_is_settled)

"""Bugs planted in arbitration and voting are caught, by random schedules too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pytest_convergence import (
    ByArbitration,
    ByVote,
    Conflict,
    ConvergenceEngine,
    PropertyViolation,
    Resolution,
    Session,
)
from pytest_convergence._engine.base.effects import Effect
from pytest_convergence._engine.patterns.settlement import Settlement
from pytest_convergence._engine.run import resolving
from pytest_convergence._engine.state.court import Verdict


class ForgetsItsVerdicts(Settlement):  # type: ignore[misc]  # final for users
    """Begins each life without what the life before had decided and voted."""

    def on_start(self, durable: Mapping[str, Any]) -> Iterator[Effect]:
        return super().on_start({})


class Guesses(Settlement):  # type: ignore[misc]
    """Decides itself where the judge does not answer at once."""

    def _ask_again(self, key: str) -> Iterator[Effect]:
        asking = self._asking.get(key)
        if asking is None:
            return iter(())
        conflict = asking.question.conflict
        first = conflict.agents[0]
        return self._learn(key, Verdict(Resolution(asking.question.step.name, conflict.values[first], first)))


class ElectsTheLastWithoutVotes(Settlement):  # type: ignore[misc]
    """Takes the last write where the votes elect nobody."""

    def _close(self, key: str, case: Any, counted: Any) -> Iterator[Effect]:
        if counted.winner is None:
            counted = counted._replace(winner=case.conflict.writes[-1].agent)
        return super()._close(key, case, counted)


class CountsStrangers(Settlement):  # type: ignore[misc]
    """Asks those who are eligible, and counts one who is not."""

    def _decide(self, key: str, case: Any, resolution: Any, counted: Any = None) -> Iterator[Effect]:
        if counted is not None:
            counted = counted._replace(votes={**counted.votes, "d": "a"})
        return super()._decide(key, case, resolution, counted)


def _by_chance(agent: Any, conflict: Conflict) -> Any:
    return agent.random.choice(conflict.agents)


async def scenario(session: Session) -> None:
    for turn in range(3):
        for agent in session.agents.values():
            if agent.is_alive:
                agent.state.set("title", f"{agent.name} {turn}")
        await session.sleep(1.5)


def broken_by(machine: Any, resolve: Any, seeds: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    monkeypatch.setattr(resolving, "Settlement", machine)
    broken: dict[str, int] = {}
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}",
            agents=["a", "b", "c", "d"],
            network="flaky",
            faults=["crash", "partition"],
            resolve=resolve,
            seed=seed,
        )
        try:
            session.run(scenario)
        except PropertyViolation as violation:
            for found in violation.violations:
                broken[found.property] = broken.get(found.property, 0) + 1
    return broken


@pytest.mark.parametrize(
    ("bug", "resolve", "name", "at_least"),
    [
        (ForgetsItsVerdicts, ByArbitration(decide=_by_chance), "one_verdict", 2),
        (ForgetsItsVerdicts, ByVote(vote=_by_chance), "fair_vote", 1),
        (Guesses, ByArbitration(decide=_by_chance), "one_verdict", 5),
        (ElectsTheLastWithoutVotes, ByVote(vote=lambda conflict: None), "fair_vote", 8),
        (CountsStrangers, ByVote(voters=["a", "b", "c"]), "fair_vote", 8),
    ],
)
def test_a_bug_is_caught(
    bug: Any, resolve: Any, name: str, at_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken_by(bug, resolve, 10, monkeypatch).get(name, 0) >= at_least


@pytest.mark.parametrize(
    "resolve", [ByArbitration(decide=_by_chance), ByVote(vote=_by_chance, tie="last-write")]
)
def test_without_a_bug_nothing_is_broken(resolve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_by(Settlement, resolve, 10, monkeypatch) == {}

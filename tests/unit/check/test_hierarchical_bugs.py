"""Bugs in a hierarchy are caught by the property that is meant for them; the reference protocol is silent."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import CancelCall, CancelTimer, Effect, Observe
from pytest_convergence._engine.patterns.delegation import Job, Part
from pytest_convergence._engine.patterns.hierarchical import Hierarchical
from pytest_convergence._engine.patterns.hierarchy import Hierarchy
from pytest_convergence._engine.patterns.tree import tree_of
from tests.unit.check.planted import Planted, broken

AGENTS = ("boss", "left", "right", "a", "b", "c", "d")
TREE = {"boss": ["left", "right"], "left": ["a", "b"], "right": ["c", "d"]}


async def work(agent: Any, part: list[int]) -> int:
    await asyncio.sleep(agent.random.uniform(0.1, 4))
    return sum(part)


async def slow_work(agent: Any, part: list[int]) -> int:
    await asyncio.sleep(agent.random.uniform(1, 40))
    return sum(part)


def fails_often(agent: Any, part: list[int]) -> int:
    if agent.random.random() < 0.7:
        raise ValueError("no luck")
    return sum(part)


def fails_for_a(agent: Any, part: list[int]) -> int:
    if agent.name == "a":
        raise ValueError("no luck")
    return sum(part)


def halves(task: list[int]) -> list[list[int]]:
    return [task[: len(task) // 2], task[len(task) // 2 :]]


INPUTS = {"tree": TREE, "task": list(range(8)), "split": halves, "work": work, "combine": sum}
NERVOUS = Hierarchical(silence_seconds=2.0, max_restarts=20)
PATIENT = Hierarchical(silence_seconds=3.0, max_restarts=20, deadline_seconds=60.0)
SHORT = Hierarchical(deadline_seconds=30.0, max_restarts=20)
ALL = Hierarchical("one_for_all", max_restarts=30, deadline_seconds=60.0)
REST = Hierarchical("rest_for_one", deadline_seconds=60.0)
ONE = Hierarchical(max_restarts=30)


class TakesAnyAttempt(Hierarchy):
    """22: the result of a superseded attempt is as good as another."""

    def _counts(self, part: Part, attempt: int) -> bool:
        return not part.done


class IgnoresItsDeadline(Hierarchy):
    """22: works until it is done, and never looks at the time."""

    def _on_lap(self, job: Job) -> list[Effect]:
        return [] if not self.children else super()._on_lap(job)


class GivesTooMuchTime(Hierarchy):
    """Every child has twice as long as the root had at the beginning."""

    def _delegate_fact(self, job: Job, part: Part) -> Observe:
        fact = super()._delegate_fact(job, part)
        return Observe("delegate", {**fact.data, "seconds": 2 * self.rules.deadline_ns / 1e9})


class CannotBeStopped(Hierarchy):
    """Says that it stopped, and goes on."""

    def _halt(self, job: Job) -> list[Effect]:
        return [effect for effect in super()._halt(job) if not isinstance(effect, CancelCall | CancelTimer)]

    def _stop(self, job: Job) -> list[Effect]:
        return [effect for effect in super()._stop(job) if not _is_end(effect)]


class RestartsTooFew(Hierarchy):
    """Whatever the strategy says, only who failed is restarted."""

    def _scope(self, job: Job, failed: Sequence[int]) -> Sequence[int]:
        return failed


class RestartsTooMany(Hierarchy):
    """Whatever the strategy says, everybody is restarted."""

    def _scope(self, job: Job, failed: Sequence[int]) -> Sequence[int]:
        return range(len(job.parts))


class NeverGivesUp(Hierarchy):
    """Restarts for ever."""

    def _part_failed(self, job: Job, failed: Sequence[int], reason: str) -> list[Effect]:
        job.recent.clear()
        return super()._part_failed(job, failed, reason)


class DelegatesUpwards(Hierarchy):
    """Asks its supervisor to do the work."""

    def _deal(self, job: Job, value: Any) -> None:
        super()._deal(job, value)
        if self.supervisor is not None:
            job.parts[0].agent = self.supervisor


class SwallowsFailures(Hierarchy):
    """Combines what is here when a part fails."""

    def _part_failed(self, job: Job, failed: Sequence[int], reason: str) -> list[Effect]:
        for number in failed:
            job.parts[number].done, job.parts[number].result = True, 0
        return self._finish(job, 0) if all(part.done for part in job.parts) else self._save()


def _is_end(effect: Effect) -> bool:
    return isinstance(effect, Observe) and effect.fact == "end"


def planted(machine: type[Hierarchy], pattern: Hierarchical) -> Planted:
    return Planted(
        pattern,
        lambda agent, agents, inputs: machine(
            agent, agents, tree_of(inputs["tree"], agents), inputs["task"], pattern._supervision()
        ),
    )


@pytest.mark.parametrize(
    ("bug", "pattern", "name", "work", "at_least"),
    [
        pytest.param(TakesAnyAttempt, NERVOUS, "one_result_per_task", work, 6, id="22 superseded"),
        pytest.param(
            IgnoresItsDeadline, SHORT, "deadline_respected", slow_work, 6, id="22 past its deadline"
        ),
        pytest.param(GivesTooMuchTime, SHORT, "deadline_respected", work, 8, id="deadlines grow"),
        pytest.param(CannotBeStopped, PATIENT, "no_orphan_work", slow_work, 4, id="orphans"),
        pytest.param(CannotBeStopped, PATIENT, "cancel_propagates", slow_work, 4, id="goes on"),
        pytest.param(RestartsTooFew, ALL, "restart_scope", fails_often, 6, id="too few"),
        pytest.param(RestartsTooMany, ONE, "restart_scope", fails_often, 6, id="too many"),
        pytest.param(NeverGivesUp, Hierarchical(), "restart_intensity", fails_for_a, 8, id="never gives up"),
        pytest.param(DelegatesUpwards, Hierarchical(), "acyclic_delegation", work, 8, id="upwards"),
        pytest.param(SwallowsFailures, PATIENT, "escalation_reaches_root", fails_for_a, 6, id="swallows"),
    ],
)
def test_a_bug_in_a_hierarchy_is_caught(
    bug: type[Hierarchy], pattern: Hierarchical, name: str, work: Any, at_least: int
) -> None:
    found = broken(planted(bug, pattern), AGENTS, {**INPUTS, "work": work}, 8)
    assert found[name] >= at_least


@pytest.mark.parametrize(
    ("pattern", "work"),
    [(PATIENT, work), (SHORT, slow_work), (ALL, fails_often), (REST, fails_often), (SHORT, fails_for_a)],
    ids=["patient", "short", "all", "rest", "hopeless"],
)
def test_the_reference_protocol_is_silent(pattern: Hierarchical, work: Any) -> None:
    assert not broken(pattern, AGENTS, {**INPUTS, "work": work}, 4)

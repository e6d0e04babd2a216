"""Correct replicas and clocks of a user's own raise no alarm, under every network with crashes and partitions."""

from __future__ import annotations

import pytest

from tests.quality.silence import NETWORKS, silent
from tests.unit.check.own_merge import BASE, ThreeWay, cast
from tests.unit.check.own_replicas import CORRECT, Member, behaviour
from tests.unit.check.test_bugs_of_own_replicas import AGENTS, SCENARIOS, for_a_while


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("member", CORRECT, ids=[member.__name__.lower() for member in CORRECT])
def test_replicas_and_clocks_of_a_users_own_are_silent(member: type[Member], network: str) -> None:
    options = {"agents": dict.fromkeys(AGENTS, behaviour(member)), "network": network}
    silent(options, scenario=SCENARIOS.get(member, for_a_while), accept=lambda _: True)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_three_way_merge_of_a_users_own_is_silent(network: str) -> None:
    options = {"pattern": "parallel-merge", "agents": ["boss", "a", "b", "c"], "network": network}
    inputs = {"tasks": {"a": "a", "b": "b", "c": "c"}, "work": lambda task: task, "merge": "three-way"}
    silent(
        lambda _: {**options, "protocol": cast(ThreeWay)},
        {**inputs, "base": dict(BASE)},
        accept=lambda _: True,
    )

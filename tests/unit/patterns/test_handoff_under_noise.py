"""Hand-offs in a world of its own: crashes between any two effects, loss, duplication, reordering, partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import Call
from pytest_convergence._engine.check.handoff import HANDOFF_PROPERTIES
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.property import FinalState, Scope
from pytest_convergence._engine.check.registry import PropertyRegistry
from pytest_convergence._engine.patterns.handoff import HandoffTiming
from pytest_convergence._engine.patterns.handoff_core import Role
from pytest_convergence._engine.patterns.handoff_machine import HandoffMachine
from tests.unit.patterns.driver import MS, PROFILES, SECOND, Noise, World

FIVE = ("a", "b", "c", "d", "e")
WORKS = ("w1", "w2", "w3")
TIMING = HandoffTiming(400 * MS, 3 * SECOND, 300 * MS)
CRASHES = PROFILES[1]._replace(crash=0.03, loss=0.2, partitions=2)


def asked(id: str, **changes: Any) -> dict[str, Any]:
    """What a hand-off is asked for."""
    given = {
        "id": id,
        "ticket": f"ticket {id}",
        "task": f"do {id}",
        "state": {"of": id},
        "has_state": True,
        "to": None,
        "capabilities": ["work"],
        "reason": "delegation",
        "priority": 0,
        "max_hops": 16,
        "timeout_ns": 60 * SECOND,
    }
    return given | changes


class Office:
    """Five machines, of which four take work, and one that hands three works off."""

    def __init__(self, seed: int, noise: Noise) -> None:
        self.monitor = Monitor(PropertyRegistry().find_all(HANDOFF_PROPERTIES), Scope(FIVE))
        self.concluded: list[dict[str, Any]] = []
        functions: dict[str, Callable[..., Any]] = {
            "work": lambda record: f"done {record['task']}",
            "concluded": self.concluded.append,
            "ended": lambda id, value: None,
        }
        self.world = World(
            FIVE, self._make, seed=seed, noise=noise, watch=self.monitor.feed, functions=functions
        )
        for place, id in enumerate(WORKS):
            self.world._at(place * SECOND, self._hand_off, id)

    def _make(self, name: str) -> HandoffMachine:
        machine = HandoffMachine(name, FIVE, lambda: self.world.now, TIMING)
        if name != "a":
            machine.core.declare(["work"], 2, 0)
            self.monitor_offers(name)
        return machine

    def monitor_offers(self, name: str) -> None:
        self.world_record(name, {"fact": "offers", "capabilities": ["work"], "capacity": 2})

    def world_record(self, name: str, detail: dict[str, Any]) -> None:
        self.world.record("observe", name, detail=detail)

    def _hand_off(self, id: str) -> None:
        agent = self.world.agents["a"]
        if agent.machine is None:  # its next life has not begun
            self.world._at(self.world.now + SECOND, self._hand_off, id)
        else:
            self.world.command("a", "hand_off", asked(id))

    def roles(self, id: str) -> dict[str, Role]:
        """What each agent is to a work."""
        found = {}
        for name, agent in self.world.agents.items():
            if isinstance(agent.machine, HandoffMachine) and id in agent.machine.core.entries:
                found[name] = agent.machine.core.entries[id].role
        return found

    def is_over(self) -> bool:
        """Whether everybody who has to do with them knows that all works are done, or were never handed off."""
        ended = {"done", "none"}
        return all({role.value for role in self.roles(id).values()} <= ended for id in WORKS)


def settle(office: Office, noise: Noise) -> None:
    world = office.world
    world.run(until=noise.until)
    world.settle(200 * SECOND, lambda: bool(office.monitor.violations) or office.is_over())
    if not office.monitor.violations:
        office.monitor.finish(FinalState(world.now, world.live(), world.views()))


@pytest.mark.parametrize(
    "noise", [*PROFILES, CRASHES], ids=["uniform", "fast restart", "heavy tail", "crashes"]
)
def test_works_are_done_and_no_property_is_broken(noise):
    for seed in range(12):
        office = Office(seed, noise)
        settle(office, noise)
        assert not office.monitor.violations, (seed, office.monitor.violations)
        assert office.is_over(), (seed, {id: office.roles(id) for id in WORKS})


def test_results_are_those_of_the_work():
    office = Office(3, PROFILES[0])
    settle(office, PROFILES[0])
    done = [
        (entry.id, entry.value)
        for agent in office.world.agents.values()
        if isinstance(agent.machine, HandoffMachine)
        for entry in agent.machine.core.entries.values()
        if entry.role is Role.DONE
    ]
    assert done
    assert all(value == f"done do {id}" for id, value in done)


def test_a_hand_off_in_peace_takes_two_round_trips():
    office = Office(1, Noise(until=0))
    office.world.run(until=10 * SECOND)
    assert [said["state"] for said in office.concluded] == ["transferred"] * 3
    assert all(isinstance(said["continuation"], str) for said in office.concluded)
    assert isinstance(Call("x", "work"), tuple)

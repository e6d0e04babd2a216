"""What an agent can do: messages, requests, storage, faults, and what is refused."""

import pytest

from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import ConvergenceUsageError
from tests.unit.sim.harness import run_session


def test_a_scenario_can_send_and_receive_for_agents_without_a_behaviour():
    async def scenario(session: Session) -> object:
        a, b = session.agents.values()
        await a.send("b", "hi")
        return (await b.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == "hi"


def test_an_agent_without_a_behaviour_loses_its_mail_when_it_crashes():
    async def scenario(session: Session) -> object:
        a, b = session.agents.values()
        await a.send("b", "before")
        await session.sleep(1)
        b.crash()
        b.restart()
        await a.send("b", "after")
        return (await b.receive()).payload

    assert run_session(scenario, agents=["a", "b"]).output == "after"

"""Settings that every agent has a copy of. What becomes of them when two agents change one while they cannot talk?"""

import pytest

from pytest_convergence import Session, SimulatedAgent


async def settings_by_broadcast(agent: SimulatedAgent) -> None:
    """A first attempt: each agent keeps a dict, and takes over what the others send."""
    settings: dict[str, str] = {}
    agent.expose(lambda: settings)  # what the agents must agree on in the end
    async for message in agent.inbox:
        if message.type == "change":  # from a user, by way of the test
            settings.update(message.payload)
            await agent.broadcast(message.payload, type="news")
        else:
            settings.update(message.payload)


@pytest.mark.convergence(agents={"left": settings_by_broadcast, "right": settings_by_broadcast})
def test_settings_by_broadcast_part_for_ever_after_a_partition(convergence_session: Session) -> None:
    async def scenario(session: Session) -> None:
        left, right = session.agents.values()
        with session.network.partition([left], [right]):
            await left.send(left, {"theme": "dark"}, type="change")
            await right.send(right, {"theme": "light"}, type="change")
            await session.sleep(1)

    outcome = convergence_session.run(scenario)
    assert not outcome.converged  # the partition has healed, and nobody will ever notice the difference
    assert outcome.reasons == (
        "left and right expose different views: {'theme': 'dark'} and {'theme': 'light'}",
    )


@pytest.mark.convergence(agents=["left", "right"], resolve="last-write")
def test_settings_in_the_shared_state_meet_again(convergence_session: Session) -> None:
    async def scenario(session: Session) -> None:
        left, right = session.agents.values()
        with session.network.partition([left], [right]):
            left.state.set("theme", "dark")
            await session.sleep(1)
            right.state.set("theme", "light")

    outcome = convergence_session.run(scenario)
    assert outcome.converged
    assert {agent.state.get("theme") for agent in convergence_session.agents.values()} == {"light"}
    # What was overruled is not lost: it is on record.
    assert [conflict.path for conflict in outcome.conflicts] == ["theme"]

"""Does the team agree, and does it deliver, whoever crashes on the way?"""

import pytest

from examples.agent_team.team import OPINIONS, SCRIPT, TEAM, member, open_steps, see_to
from pytest_convergence import Session


@pytest.mark.convergence(pattern="consensus", agents=TEAM)
def test_the_majority_decides_what_is_done(convergence_session: Session) -> None:
    outcome = convergence_session.run(proposals=OPINIONS)
    assert outcome.converged
    assert outcome.output == "rewrite the parser"


@pytest.mark.convergence(
    pattern="consensus", agents=TEAM, network="lossy", faults=["crash", "partition"], schedules=25
)
def test_the_team_agrees_although_members_crash_and_lose_touch(convergence_session: Session) -> None:
    outcome = convergence_session.run(proposals=OPINIONS)
    assert outcome.converged, str(outcome)
    assert outcome.output == "rewrite the parser"


@pytest.mark.convergence(
    pattern="leader-follower", agents=dict.fromkeys(TEAM, member), network="lossy", schedules=25
)
def test_the_work_goes_on_when_the_leader_crashes(convergence_session: Session) -> None:
    async def scenario(session: Session) -> dict[str, str]:
        first = await session.wait_for_leader()
        await see_to(first, "design")
        await session.sleep(3)  # time for the others to learn of it
        first.crash()

        second = await session.wait_for_leader(other_than=first, timeout=60)
        first.restart()  # it is a follower now, and may have something to do
        left = open_steps(second)
        assert left == ["code", "tests", "review"]  # the design is not made twice
        for step in left:
            await see_to(second, step)
        done: dict[str, str] = second.state.get("done")
        return done

    outcome = convergence_session.run(scenario)
    assert outcome.output == SCRIPT
    assert outcome.converged, str(outcome)  # everybody knows that everything is done, and who leads

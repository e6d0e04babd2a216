"""My agents hand a draft to one another. Does it ever have two owners, or none? They say who owns it; the plugin looks.

A hand-off takes four messages: an offer, an acceptance, the draft itself, and a receipt. Whoever leaves one out has a race.
"""

from collections.abc import Callable

import pytest

from pytest_convergence import PropertyViolation, Session, SimulatedAgent

TEAM = ("planner", "writer", "reviewer")
PROPERTIES = ["single_owner", "no_lost_owner", "token_unique_monotonic", "transfer_exactly_once"]


def member(
    *, waits_for_acceptance: bool = True, knows_old_drafts: bool = True
) -> Callable[[SimulatedAgent], object]:
    """An agent of the team. The two switches plant bugs, so that the tests below can show what becomes of them."""

    async def work(agent: SimulatedAgent) -> None:
        following = TEAM[(TEAM.index(agent.name) + 1) % len(TEAM)]
        owned, newest, promised = 0, 0, 0  # versions of the draft; each hand-off makes a new one

        def own(version: int) -> int:
            agent.observe("own", task="draft", token=version)
            return version

        def release() -> int:
            agent.observe("release", task="draft", token=owned)
            return 0

        if agent.name == TEAM[0]:
            owned = newest = own(1)
        while agent.now() < 20:
            if promised:
                await agent.send(following, promised, type="draft")  # until there is a receipt
            elif owned and agent.now() < 10:
                await agent.send(following, owned + 1, type="offer" if waits_for_acceptance else "draft")
                owned = owned if waits_for_acceptance else release()
            try:
                message = await agent.receive(timeout=0.2)
            except TimeoutError:
                continue
            version = message.payload
            if message.type == "offer" and version > newest:
                await agent.send(message.sender, version, type="accept")
            elif message.type == "accept" and owned and version == owned + 1:
                owned, promised = release(), version
            elif message.type == "draft":
                if version > newest or not knows_old_drafts:  # it may arrive twice
                    owned = newest = own(version)
                await agent.send(message.sender, version, type="receipt")
            elif message.type == "receipt" and version == promised:
                promised = 0

    return work


@pytest.mark.convergence(
    agents=dict.fromkeys(TEAM, member()),
    properties=PROPERTIES,
    network="lossy",
    faults=["partition", "pause"],
    schedules=10,
)
def test_the_draft_always_has_one_owner(convergence_session: Session) -> None:
    convergence_session.run()


@pytest.mark.parametrize(
    ("careless", "words"),
    [
        (member(waits_for_acceptance=False), "no_lost_owner"),  # the draft is on its way to nobody
        (member(knows_old_drafts=False), "transfer_exactly_once"),  # the copy of an old message
    ],
    ids=["lets go too early", "takes an old draft"],
)
def test_a_careless_team_is_found_out(
    convergence_session_factory: Callable[..., Session],
    careless: Callable[[SimulatedAgent], object],
    words: str,
) -> None:
    with pytest.raises(PropertyViolation, match=words):
        for seed in range(30):
            convergence_session_factory(
                agents=dict.fromkeys(TEAM, careless),
                properties=PROPERTIES,
                network="lossy",
                faults=["partition", "pause"],
                seed=seed,
            ).run()

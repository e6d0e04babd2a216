"""Do all agents end with the same list, and is everything on it?"""

import pytest

from examples.crdt_notes.notes import ITEMS, naive_note_taker, note_taker
from pytest_convergence import Network, PropertyViolation, Session

BAD_NETWORK = Network(latency=(0.01, 0.3), loss=0.2, duplicate=0.1, reorder=0.2)


def nothing_is_lost(session: Session) -> bool:
    """Everybody's items are on everybody's list. Agreement alone would be cheap: an empty list is easily agreed on."""
    everything = [item for items in ITEMS.values() for item in items]
    return all(item in agent.exposed for agent in session.agents.values() for item in everything)


async def a_day_with_a_partition(session: Session) -> None:
    with session.network.partition(["ann"], ["bob", "cho"]):
        await session.sleep(12)  # both sides write
    await session.sleep(10)  # the network is whole again, and as bad as before


@pytest.mark.convergence(agents=dict.fromkeys(ITEMS, note_taker), network=BAD_NETWORK, schedules=25)
def test_documents_converge_and_keep_everything(convergence_session: Session) -> None:
    convergence_session.eventually("nothing is lost", nothing_is_lost)
    outcome = convergence_session.run(a_day_with_a_partition)
    assert outcome.converged, str(outcome)


@pytest.mark.convergence(agents=dict.fromkeys(ITEMS, note_taker), network=BAD_NETWORK)
def test_the_network_really_was_bad(convergence_session: Session) -> None:
    metrics = convergence_session.run(a_day_with_a_partition).metrics
    assert metrics.lost > 0
    assert metrics.duplicated > 0


@pytest.mark.convergence(agents=dict.fromkeys(ITEMS, naive_note_taker))
def test_the_naive_lists_differ_in_the_end(convergence_session: Session) -> None:
    # Not even a bad network is needed: the partition keeps words from arriving, and nobody ever asks for them again.
    outcome = convergence_session.run(a_day_with_a_partition)
    assert not outcome.converged
    assert "expose different views" in outcome.reasons[0]


@pytest.mark.convergence(agents=dict.fromkeys(ITEMS, naive_note_taker), network=BAD_NETWORK, schedules=25)
def test_the_naive_lists_lose_what_somebody_wrote(convergence_session: Session) -> None:
    convergence_session.eventually("nothing is lost", nothing_is_lost)
    with pytest.raises(PropertyViolation, match="nothing is lost"):
        convergence_session.run(a_day_with_a_partition)

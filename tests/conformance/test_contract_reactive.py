"""Section 2 of the usage contract in words: the reactive pattern."""

import pytest

from pytest_convergence import Publish


@pytest.mark.convergence(pattern="reactive", agents=["shop", "depot", "ledger"])
def test_agents_react_to_events_and_cause_further_ones(convergence_session):
    outcome = convergence_session.run(
        handlers={
            "ordered": {"depot": lambda order: Publish("sent", order), "ledger": lambda order: f"{order} due"},
            "sent": {"ledger": lambda order: f"{order} on its way"},
        },
        events=[("ordered", "book"), ("ordered", "pen")],
    )
    assert outcome.converged
    assert outcome.output == {
        "ordered": {
            "depot": [Publish("sent", "book"), Publish("sent", "pen")],
            "ledger": ["book due", "pen due"],
        },
        "sent": {"ledger": ["book on its way", "pen on its way"]},
    }

"""Real concurrent edits, replayed by one agent per author: on replicas alone, and in a session under faults.

The whole recording is replayed where ``CONVERGENCE_QUALITY_SEEDS`` is set, as in the quality run; otherwise its beginning.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.updates import Update
from tests.unit.state.editing import Recording, Understood, read, understand

WHOLE = "CONVERGENCE_QUALITY_SEEDS" in os.environ
LENGTH = None if WHOLE else 1500


@pytest.fixture(scope="module")
def recording(vectors: Path) -> Recording:
    return read(vectors, LENGTH)


@pytest.fixture(scope="module")
def understood(recording: Recording) -> Understood:
    found = understand(recording.edits)
    if WHOLE:
        assert found.text() == recording.text
    return found


def test_replicas_that_see_what_the_authors_saw_end_in_the_same_text(
    recording: Recording, understood: Understood
) -> None:
    made: list[list[tuple[Update, ...]]] = [[], []]
    fresh: list[Update] = []
    replicas = [Replica(name, on_update=fresh.append) for name in ("a", "b")]
    heard = [0, 0]
    for edit in recording.edits:
        author, other = edit.author, 1 - edit.author
        replica = replicas[author]
        for missing in made[other][heard[author] : edit.known[other]]:
            replica.apply(*missing)
        heard[author] = edit.known[other]
        for at, erased, text in edit.patches:
            replica.erase("text", at, erased)
            replica.insert("text", at, *text)
        made[author].append(tuple(fresh))
        fresh.clear()
    for author, replica in enumerate(replicas):
        for updates in made[1 - author][heard[author] :]:
            replica.apply(*updates)
        assert "".join(replica.get("text")) == understood.text()
        assert not replica.conflicts


def _author(me: int, recording: Recording, understood: Understood) -> Any:
    """An agent that makes one author's edits, each as soon as everything that the author had seen has come.

    What it edits may be ahead of what the author saw. So it does not go by positions, but by characters: an item of the
    sequence is the rank of a character among all that were ever typed, and goes where its rank belongs.
    """
    rank = {character: place for place, character in enumerate(understood.order)}

    async def behaviour(agent: SimulatedAgent) -> None:
        state = agent.state
        for number, edit in enumerate(recording.edits):
            if edit.author != me or edit.known[me] < state.get(f"made.{me}", 0):
                continue  # another's, or made in an earlier life
            while state.get(f"made.{1 - me}", 0) < edit.known[1 - me]:
                await agent.session.sleep(0.05)
            for character in understood.erased[number]:
                shown = state._items(("text",))  # looked at, and not copied
                place = bisect_left(shown, rank[character])
                if shown[place : place + 1] == [rank[character]]:
                    state.erase("text", place)
            for character in understood.typed[number]:
                shown = state._items(("text",))
                place = bisect_left(shown, rank[character])
                if shown[place : place + 1] != [rank[character]]:
                    state.insert("text", place, rank[character])
            state.set(f"made.{me}", edit.known[me] + 1)

    return behaviour


@pytest.mark.parametrize("network", ["perfect", "chaos"])
def test_agents_that_edit_at_the_same_time_end_in_the_same_text(
    recording: Recording, understood: Understood, network: str
) -> None:
    agents = {name: _author(me, recording, understood) for me, name in enumerate(("a", "b"))}
    session = ConvergenceEngine().create_session(
        "editing",
        agents=agents,
        sync="crdt",
        network=network,
        faults=["crash", "partition"] if network == "chaos" else [],
        seed=1,
        max_events=10**9,
        real_timeout=None,
        trace=False,
    )
    outcome = session.run()
    assert outcome.converged
    assert not outcome.conflicts
    for agent in session.agents.values():
        characters = [understood.order[place] for place in agent.state.get("text")]
        assert "".join(character.text for character in characters) == understood.text()

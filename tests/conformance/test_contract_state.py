"""Section 5 of the usage contract in words: replicas, conflicts, and their resolution over the simulated links."""

import pytest

from pytest_convergence import VectorClock


def run_apart(factory, write_a, write_b, **options):
    """Let a and b write while they cannot talk; return the session and its outcome."""

    async def scenario(session):
        a, b = session.agents["a"], session.agents["b"]
        with session.network.partition([a], [b]):
            write_a(a.state)
            write_b(b.state)
            await session.sleep(1)

    session = factory(agents=["a", "b"], **options)
    return session, session.run(scenario)


def test_state_gets_sets_and_deletes_by_dotted_path(convergence_session_factory):
    async def scenario(session):
        state = session.agents["a"].state
        state.set("plan.title", "draft")
        state.set("plan.size", 3)
        assert state.get("plan.title") == "draft"
        assert state.get("plan") == {"title": "draft", "size": 3}
        assert state.get("plan.author", "nobody") == "nobody"
        state.delete("plan.size")
        assert state.as_dict() == {"plan": {"title": "draft"}}

    assert convergence_session_factory(agents=["a", "b"]).run(scenario).converged


def test_increments_append_and_merge_travel_to_the_other_replicas(convergence_session_factory):
    async def scenario(session):
        state = session.agents["a"].state
        state.increment("votes")
        state.increment("votes", 2)
        state.append("log", "first")
        state.merge({"plan": {"title": "draft"}})

    session = convergence_session_factory(agents=["a", "b"])
    assert session.run(scenario).converged
    assert session.agents["b"].state.as_dict() == {"votes": 3, "log": ["first"], "plan": {"title": "draft"}}


def test_a_state_has_a_clock_a_version_a_checksum_and_a_history_to_roll_back_to(convergence_session_factory):
    async def scenario(session):
        state = session.agents["a"].state
        assert state.version == 0
        state.set("title", "first")
        before = state.checksum
        state.set("title", "second")
        assert isinstance(state.clock, VectorClock)
        assert state.version == 2
        assert state.checksum != before
        assert [entry.path for entry in state.history] == ["title", "title"]
        state.rollback(1)
        assert state.get("title") == "first"
        assert state.checksum == before
        assert state.version == 3

    session = convergence_session_factory(agents=["a", "b"])
    assert session.run(scenario).converged
    assert session.agents["b"].state.get("title") == "first"


def test_a_conflict_is_listed_once_however_many_replicas_see_it(convergence_session_factory):
    async def scenario(session):
        a, b, *_ = session.agents.values()
        with session.network.partition([a]):
            a.state.set("title", "from a")
            b.state.set("title", "from b")
            await session.sleep(1)

    outcome = convergence_session_factory(agents=5).run(scenario)
    assert [conflict.path for conflict in outcome.conflicts] == ["title"]
    assert outcome.metrics.conflicts == 1
    assert outcome.metrics.unresolved == 0


def test_writes_to_different_paths_are_no_conflict(convergence_session_factory):
    session, outcome = run_apart(
        convergence_session_factory,
        lambda state: state.set("plan.title", "from a"),
        lambda state: state.set("plan.owner", "b"),
    )
    assert outcome.converged
    assert outcome.conflicts == ()
    assert session.agents["a"].state.as_dict() == {"plan": {"title": "from a", "owner": "b"}}


def test_concurrent_increments_add_up(convergence_session_factory):
    session, outcome = run_apart(
        convergence_session_factory,
        lambda state: state.increment("votes", 2),
        lambda state: state.increment("votes", 3),
    )
    assert outcome.converged
    assert session.agents["a"].state.get("votes") == 5


def test_a_causal_successor_is_no_conflict(convergence_session_factory):
    async def scenario(session):
        a, b = session.agents.values()
        a.state.set("title", "from a")
        await session.sleep(1)
        b.state.set("title", "from b, who has seen it")

    outcome = convergence_session_factory(agents=["a", "b"]).run(scenario)
    assert outcome.converged
    assert outcome.conflicts == ()


def test_a_resolver_may_be_a_function(convergence_session_factory):
    session, outcome = run_apart(
        convergence_session_factory,
        lambda state: state.set("title", "from a"),
        lambda state: state.set("title", "from b"),
        resolve=lambda conflict: "both",
    )
    assert outcome.converged
    assert session.agents["a"].state.get("title") == session.agents["b"].state.get("title") == "both"
    assert outcome.conflicts[0].resolution is not None


@pytest.mark.convergence(
    agents=["a", "b", "c"], network="chaos", faults=["crash", "partition", "skew"], schedules=15
)
def test_replicas_converge_under_faults(convergence_session):
    async def scenario(session):
        for turn in range(10):
            for agent in session.agents.values():
                if agent.is_alive:
                    agent.state.set(f"note.{turn}", agent.name)
                    agent.state.increment("writes")
            await session.sleep(1)

    outcome = convergence_session.run(scenario)
    assert outcome.converged, str(outcome)


def test_vector_clocks_are_immutable_hashable_and_ordered_by_happens_before():
    start = VectorClock()
    a = start.tick("a")
    b = start.tick("b")
    assert start < a
    assert not a < b
    assert a.concurrent_with(b)
    assert not a.concurrent_with(a | b)
    assert a < (a | b)
    assert (a | b) == (b | a)
    assert len({a, start.tick("a"), b}) == 2
    assert start == VectorClock()  # ticking made new clocks

"""Section 2 of the usage contract in words: parallel-merge and competitive, and what they do by default."""

import asyncio

import pytest

from pytest_convergence import (
    AgentError,
    Award,
    Competitive,
    ConvergenceUsageError,
    Decide,
    MergeConflict,
    Merged,
    ParallelMerge,
    Send,
)

FAULTS = ["crash", "partition", "pause"]


async def double(agent, task):
    await asyncio.sleep(task)
    return 2 * task


@pytest.mark.convergence(pattern="parallel-merge", agents=["a", "b", "c"])
def test_the_parts_are_merged_by_a_function_of_all_results(convergence_session):
    outcome = convergence_session.run(
        tasks={"a": 3, "b": 2, "c": 1}, work=double, merge=lambda results: list(results.values())
    )
    assert outcome.converged
    assert outcome.output == [6, 4, 2]  # in the order of the tasks, not in that of completion
    assert outcome.duration >= 3  # they worked at the same time


@pytest.mark.convergence(pattern="competitive", agents=["fast", "thorough", "sloppy"])
def test_the_best_by_the_users_score_wins(convergence_session):
    async def compete(agent, task):
        return f"{task}, {agent.name}"

    def score(result, agent):
        assert result == f"report, {agent.name}"
        return {"fast": 1, "thorough": 3, "sloppy": 2}[agent.name]

    outcome = convergence_session.run(task="report", compete=compete, score=score)
    assert outcome.converged
    assert isinstance(outcome.output, Award)
    assert outcome.output.winner == "thorough"
    assert outcome.output.result == "report, thorough"
    assert outcome.output.score == 3
    assert outcome.output.ranking == ("thorough", "sloppy", "fast")
    assert outcome.output.scores == (3, 2, 1)


# -- parallel-merge ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "merge"),
    [
        (lambda task: [task], lambda one, other: one + other),
        (lambda agent, task: [task], lambda results: [*results["c"], *results["a"]]),
        (
            lambda task: [task],
            lambda agent, results: [agent.name == "a" and task for [task] in results.values()],
        ),
    ],
    ids=["of two", "of all", "with the agent"],
)
def test_functions_may_leave_the_agent_out(convergence_session_factory, work, merge):
    session = convergence_session_factory(pattern="parallel-merge", agents=["a", "b", "c"])
    assert session.run(tasks={"c": 3, "a": 1}, work=work, merge=merge).output == [3, 1]


def test_functions_may_be_async(convergence_session_factory):
    async def merge(one, other):
        await asyncio.sleep(1)
        return one + other

    session = convergence_session_factory(pattern="parallel-merge", agents=2)
    assert session.run(tasks={"agent-1": 1, "agent-2": 2}, work=double, merge=merge).output == 6


def test_several_rounds_have_a_result_each(convergence_session_factory):
    session = convergence_session_factory(
        pattern="parallel-merge", agents=["a", "b"], network="lossy", seed=1
    )
    outcome = session.run(
        tasks=[{"a": 1, "b": 2}, {"b": 5}], work=double, merge=lambda one, other: one + other
    )
    assert outcome.output == (6, 10)
    assert outcome.metrics.rounds == 2


async def all_but_one(agent, task):
    await asyncio.sleep(10_000 if agent.name == "b" else 1)
    return task


def test_a_straggler_is_flagged_and_the_rest_is_merged(convergence_session_factory):
    session = convergence_session_factory(pattern=ParallelMerge(deadline_seconds=20), agents=["a", "b", "c"])
    outcome = session.run(
        tasks={"a": 1, "b": 2, "c": 4}, work=all_but_one, merge=lambda one, other: one + other
    )
    assert outcome.converged
    assert outcome.output == Merged(5, (), ("b",), {})
    assert not outcome.output.is_complete
    assert 20 <= outcome.duration < 21


def test_a_hedge_makes_up_for_a_straggler(convergence_session_factory):
    session = convergence_session_factory(pattern=ParallelMerge(hedge_seconds=5), agents=["a", "b", "c"])
    outcome = session.run(
        tasks={"a": 1, "b": 2, "c": 4}, work=all_but_one, merge=lambda one, other: one + other
    )
    assert outcome.output == 7
    assert outcome.duration < 7


def test_an_exception_in_the_work_fails_the_test_with_the_agents_name(convergence_session_factory):
    def work(agent, task):
        if agent.name == "b":
            raise LookupError("no such part")
        return task

    tasks = {"a": 1, "b": 2}
    session = convergence_session_factory(pattern="parallel-merge", agents=["a", "b"])
    with pytest.raises(AgentError, match="'b' raised LookupError: no such part") as caught:
        session.run(tasks=tasks, work=work, merge="crdt")
    assert isinstance(caught.value.__cause__, LookupError)
    flagged = convergence_session_factory(pattern=ParallelMerge(errors="flag"), agents=["a", "b"])
    outcome = flagged.run(tasks=tasks, work=work, merge="crdt")
    assert outcome.output == Merged(1, (), (), {"b": "LookupError: no such part"})


def test_a_three_way_merge_reports_exact_paths(convergence_session_factory):
    base = {"title": "draft", "body": {"intro": "", "end": ""}}
    edits = {
        "a": {"title": "draft", "body": {"intro": "by a", "end": "a"}},
        "b": {"title": "final", "body": {"intro": "", "end": "b"}},
    }
    session = convergence_session_factory(pattern="parallel-merge", agents=["a", "b"])
    outcome = session.run(tasks=edits, work=lambda task: task, merge="three-way", base=base)
    assert outcome.converged
    assert outcome.output.value == {"title": "final", "body": {"intro": "by a", "end": ""}}
    assert outcome.output.conflicts == (MergeConflict("body.end", "", {"a": "a", "b": "b"}, ("body", "end")),)


def test_results_may_be_patches_of_the_base(convergence_session_factory):
    base = {"title": "draft", "tags": ["new"]}
    for results, patches in (
        ("merge-patch", {"a": {"title": "final"}, "b": {"tags": None}}),
        (
            "json-patch",
            {
                "a": [{"op": "replace", "path": "/title", "value": "final"}],
                "b": [{"op": "remove", "path": "/tags"}],
            },
        ),
    ):
        session = convergence_session_factory(pattern=ParallelMerge(results=results), agents=["a", "b"])
        outcome = session.run(tasks=patches, work=lambda task: task, merge="three-way", base=base)
        assert outcome.output == {"title": "final"}


def test_a_coordinator_goes_on_where_it_was_when_it_crashed(convergence_session_factory):
    done = []

    async def work(agent, task):
        await asyncio.sleep(task)
        done.append(agent.name)
        return [agent.name]

    async def scenario(session):
        await session.sleep(3)
        session.agents["boss"].crash()
        await session.sleep(10)
        session.agents["boss"].restart()
        await session.sleep(30)

    session = convergence_session_factory(pattern="parallel-merge", agents=["boss", "a", "b", "c"])
    outcome = session.run(
        scenario, tasks={"a": 1, "b": 2, "c": 5}, work=work, merge=lambda one, other: one + other
    )
    assert outcome.converged
    assert outcome.output == ["a", "b", "c"]
    assert done == ["a", "b", "c"]  # what was counted is not asked for again


def test_another_agent_may_coordinate(convergence_session_factory):
    session = convergence_session_factory(pattern=ParallelMerge(coordinator="b"), agents=["a", "b"])
    outcome = session.run(
        tasks={"a": 1}, work=double, merge=lambda agent, results: (agent.name, *results.values())
    )
    assert outcome.output == ("b", 2)


class Halves:
    """A worker written after the table of messages in the documentation: it does half of what it is asked for."""

    def __init__(self, name, agents, inputs):
        self.result = None

    def on_start(self, durable):
        return ()

    def on_message(self, sender, kind, payload):
        if kind == "work":
            answer = {"round": payload["round"], "part": payload["part"], "value": [payload["task"] / 2]}
            return [Send(sender, "result", answer)]
        self.result = payload["value"]
        known = Send(sender, "decided", {"value": self.result, "ask": False})
        return [Decide(self.result), known] if payload["ask"] else [Decide(self.result)]

    def on_timer(self, name):
        return ()

    def on_command(self, name, argument):
        return ()

    def view(self):
        return self.result


def test_a_machine_written_after_the_table_of_messages_works_among_reference_agents(
    convergence_session_factory,
):
    for seed in range(5):
        session = convergence_session_factory(
            pattern="parallel-merge",
            agents=["a", "b", "c"],
            protocol={"b": Halves},
            network="flaky",
            seed=seed,
        )
        outcome = session.run(
            tasks={"a": 1, "b": 2, "c": 3}, work=double, merge=lambda one, other: one + other
        )
        assert outcome.converged
        assert outcome.output == 2 + 1 + 6


# -- competitive -------------------------------------------------------------------------------------------------------


async def bid_by_name(agent, task):
    await asyncio.sleep({"a": 3, "b": 2, "c": 1}.get(agent.name, 0))
    return agent.name


def test_of_equal_bids_the_agent_configured_first_wins_however_slow(convergence_session_factory):
    session = convergence_session_factory(pattern="competitive", agents=["a", "b", "c"])
    assert session.run(task=None, compete=bid_by_name, score=lambda result: 1).output.winner == "a"


def test_a_late_bid_plays_no_part(convergence_session_factory):
    session = convergence_session_factory(pattern=Competitive(deadline_seconds=2.5), agents=["c", "b", "a"])
    award = session.run(task=None, compete=bid_by_name, score=lambda result: -ord(result)).output
    assert award.winner == "b"
    assert award.ranking == ("b", "c")


def test_who_returns_none_declines_and_without_bids_nobody_wins(convergence_session_factory):
    def compete(agent, task):
        return None if agent.name in task else agent.name

    def run(decliners):
        session = convergence_session_factory(pattern="competitive", agents=["a", "b"])
        return session.run(task=decliners, compete=compete, score=len)

    assert run(["a"]).output.winner == "b"
    nobody = run(["a", "b"])
    assert nobody.converged
    assert nobody.output == Award(None, None, None, number=0)


def test_scores_may_be_asked_of_a_judge_that_takes_its_time(convergence_session_factory):
    async def score(result, agent):
        await asyncio.sleep(5)
        return (result == "b", len(agent.name))

    session = convergence_session_factory(pattern=Competitive(manager="judge"), agents=["a", "b", "judge"])
    outcome = session.run(task=None, compete=bid_by_name, score=score)
    assert outcome.output.winner == "b"
    assert 7 < outcome.duration < 9  # all bids are judged at the same time


def test_the_contract_of_a_winner_that_crashes_is_revoked_and_goes_to_the_next(convergence_session_factory):
    async def perform(agent, task, result):
        await asyncio.sleep(10)
        return f"{task} by {agent.name}"

    async def scenario(session):
        await session.sleep(6)
        session.agents["a"].crash()
        await session.sleep(60)
        session.agents["a"].restart()
        await session.sleep(10)

    session = convergence_session_factory(
        pattern=Competitive(manager="boss", perform_seconds=30), agents=["boss", "a", "b", "c"]
    )
    outcome = session.run(
        scenario,
        task="house",
        compete=bid_by_name,
        score=lambda result: {"a": 3, "b": 2, "c": 1}[result],
        perform=perform,
    )
    assert outcome.converged
    assert outcome.output.winner == "b"
    assert outcome.output.result == "house by b"
    assert outcome.output.number == 2
    facts = [event.detail["fact"] for event in outcome.trace if event.kind == "observe"]
    assert facts.index("award_revoked") < len(facts) - facts[::-1].index("award") - 1


def test_a_manager_that_crashes_keeps_the_bids_and_its_award(convergence_session_factory):
    asked = []

    async def compete(agent, task):
        asked.append(agent.name)
        return agent.name

    async def scenario(session):
        await session.sleep(1)
        session.agents["boss"].crash()
        await session.sleep(10)
        session.agents["boss"].restart()
        await session.sleep(20)

    async def perform(agent, task, result):
        await asyncio.sleep(5)
        return result * 2

    session = convergence_session_factory(pattern=Competitive(manager="boss"), agents=["boss", "a", "b"])
    outcome = session.run(scenario, task=None, compete=compete, score=ord, perform=perform)
    assert outcome.converged
    assert outcome.output[:3] == ("b", "bb", ord("b"))
    assert asked == ["a", "b"]


def test_a_tournament_is_played_in_rounds(convergence_session_factory):
    played = []

    def compete(agent, task):
        played.append(agent.name)
        return agent.name

    session = convergence_session_factory(pattern=Competitive(mode="tournament"), agents=list("abcde"))
    outcome = session.run(task=None, compete=compete, score=ord)
    assert outcome.output.winner == "e"
    assert outcome.metrics.rounds == 3
    assert sorted(played) == sorted([*"abcde", *"bde", *"de"])
    assert outcome.output.ranking == ("e", "d", "b", "c", "a")


def test_an_exception_of_a_competitor_fails_the_test_or_counts_as_a_refusal(convergence_session_factory):
    def compete(agent, task):
        if agent.name == "b":
            raise LookupError("cannot")
        return agent.name

    def run(pattern):
        return convergence_session_factory(pattern=pattern, agents=["a", "b"]).run(
            task=None, compete=compete, score=ord
        )

    with pytest.raises(AgentError, match="'b' raised LookupError: cannot"):
        run("competitive")
    assert run(Competitive(errors="flag")).output.winner == "a"


def test_scores_that_do_not_compare_are_the_tests_mistake(convergence_session_factory):
    session = convergence_session_factory(pattern="competitive", agents=["a", "b"])
    with pytest.raises(AgentError, match="the scores cannot be compared") as caught:
        session.run(task=None, compete=bid_by_name, score=lambda result: {"a": 1, "b": "x"}[result])
    assert isinstance(caught.value.__cause__, ConvergenceUsageError)


@pytest.mark.convergence(
    pattern=Competitive(manager="agent-5"), agents=5, network="flaky", faults=FAULTS, schedules=10
)
def test_a_contract_net_keeps_its_promises_under_faults(convergence_session):
    outcome = convergence_session.run(
        task="T", compete=lambda agent, task: agent.name, score=lambda result: int(result[-1]) % 4
    )
    assert outcome.converged
    assert outcome.output.winner == outcome.output.ranking[outcome.output.number - 1]


@pytest.mark.convergence(pattern="parallel-merge", agents=5, network="flaky", faults=FAULTS, schedules=10)
def test_a_parallel_merge_keeps_its_promises_under_faults(convergence_session):
    outcome = convergence_session.run(
        tasks=dict.fromkeys(convergence_session.agents, 1), work=double, merge=lambda one, other: one + other
    )
    assert outcome.converged
    assert outcome.output == 10

"""Section 2 of the usage contract in words: parallel-merge and competitive, and what they do by default."""

import asyncio

import pytest

from pytest_convergence import Award, Competitive, ConvergenceUsageError, Merged, MergeConflict, ParallelMerge

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
    assert outcome.output.ranking == (("thorough", 3), ("sloppy", 2), ("fast", 1))

"""Section 2 of the usage contract in words: the hierarchical pattern."""

import pytest

TREE = {"boss": ["left", "right"], "left": ["a", "b"], "right": ["c", "d"]}
AGENTS = ["boss", "left", "right", "a", "b", "c", "d"]


def halves(task):
    middle = len(task) // 2
    return [task[:middle], task[middle:]]


@pytest.mark.convergence(pattern="hierarchical", agents=AGENTS)
def test_a_task_goes_down_the_tree_and_its_result_comes_up(convergence_session):
    outcome = convergence_session.run(
        tree=TREE, task=list(range(8)), split=halves, work=lambda part: sum(part), combine=sum
    )
    assert outcome.converged
    assert outcome.output == 28

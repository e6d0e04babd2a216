"""Section 2 of the usage contract in words: the hierarchical pattern."""

import asyncio

import pytest

from pytest_convergence import ConvergenceUsageError, Hierarchical, SessionState

TREE = {"boss": ["left", "right"], "left": ["a", "b"], "right": ["c", "d"]}
AGENTS = ["boss", "left", "right", "a", "b", "c", "d"]
PAIR = {"boss": ["a", "b"]}


def halves(task):
    middle = len(task) // 2
    return [task[:middle], task[middle:]]


def facts(outcome, name):
    """The data of every fact of that name, with its agent."""
    return [
        {**event.detail, "by": event.agent}
        for event in outcome.trace
        if event.kind == "observe" and event.detail["fact"] == name
    ]


def run(factory, pattern="hierarchical", agents=("boss", "a", "b"), scenario=None, **inputs):
    session = factory(pattern=pattern, agents=list(agents))
    given = {"tree": PAIR, "task": [1, 2], "split": list, "work": lambda part: part, "combine": sum, **inputs}
    return session.run(scenario, **given)


@pytest.mark.convergence(pattern="hierarchical", agents=AGENTS)
def test_a_task_goes_down_the_tree_and_its_result_comes_up(convergence_session):
    outcome = convergence_session.run(tree=TREE, task=list(range(8)), split=halves, work=sum, combine=sum)
    assert outcome.converged
    assert outcome.output == 28
    assert {fact["by"]: fact["task"] for fact in facts(outcome, "begin")}["d"] == "boss/right/d"


def test_results_come_in_the_order_of_the_parts_and_not_of_completion(convergence_session_factory):
    async def work(agent, part):
        await asyncio.sleep(5 - part)
        return part

    outcome = run(convergence_session_factory, task=[1, 2, 3, 4], work=work, combine=list)
    assert outcome.output == [1, 2, 3, 4]


def test_a_split_may_name_who_gets_what(convergence_session_factory):
    outcome = run(
        convergence_session_factory,
        split=lambda task, children: dict.fromkeys(children, task),
        work=lambda agent, part: f"{agent.name}:{len(part)}",
        combine=dict,
    )
    assert outcome.output == {"a": "a:2", "b": "b:2"}


def test_a_split_may_take_its_agent_and_keep_the_work(convergence_session_factory):
    outcome = run(
        convergence_session_factory,
        split=lambda agent, task, children: None,
        work=lambda agent, part: f"{agent.name} did {part}",
    )
    assert outcome.output == "boss did [1, 2]"


def test_a_split_into_nothing_is_combined(convergence_session_factory):
    assert run(convergence_session_factory, split=lambda task: [], combine=len).output == 0


def test_a_tree_may_be_a_single_agent(convergence_session_factory):
    outcome = run(convergence_session_factory, tree={"boss": []}, work=sum)
    assert outcome.output == 3


def test_async_functions_do_as_well(convergence_session_factory):
    async def split(task):
        await asyncio.sleep(1)
        return task

    async def combine(agent, results):
        await asyncio.sleep(1)
        return [agent.name, *results]

    outcome = run(convergence_session_factory, split=split, combine=combine)
    assert outcome.output == ["boss", 1, 2]
    assert outcome.duration >= 2


def test_a_root_that_gives_up_leaves_no_output_but_a_reason(convergence_session_factory):
    def work(part):
        raise ValueError("never")

    outcome = run(convergence_session_factory, Hierarchical(max_restarts=1), work=work)
    assert outcome.state is SessionState.DIVERGED
    assert outcome.output is None
    assert "the hierarchical pattern came to no result: the root gave up: more than 1 restart within" in str(
        outcome
    )
    assert "work raised ValueError: never" in str(outcome)


def test_a_child_that_hangs_is_restarted_and_the_rest_of_the_time_is_shared(convergence_session_factory):
    async def work(agent, part):
        if part == 2 and not agent.storage.get("tried"):
            agent.storage.put("tried", True)
            await agent.storage.sync()
            await asyncio.Event().wait()
        return part

    outcome = run(convergence_session_factory, Hierarchical(deadline_seconds=40), work=work)
    assert outcome.output == 3
    given = [fact["seconds"] for fact in facts(outcome, "delegate") if fact["task"] == "boss/b"]
    assert given[0] == pytest.approx(20, rel=0.1)
    assert given[1] == pytest.approx(10, rel=0.2)


def test_a_root_whose_time_is_up_gives_up_and_everybody_stops(convergence_session_factory):
    async def work(agent, part):
        await asyncio.sleep(1000)

    outcome = run(convergence_session_factory, Hierarchical(deadline_seconds=10, max_restarts=99), work=work)
    assert outcome.output is None
    assert "time" in str(outcome)
    assert outcome.duration <= 11
    begun, ended = facts(outcome, "begin"), facts(outcome, "end")
    assert {(f["task"], f["attempt"]) for f in begun} == {(f["task"], f["attempt"]) for f in ended}


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [("one_for_one", {"b"}), ("one_for_all", {"a", "b", "c"}), ("rest_for_one", {"b", "c"})],
)
def test_the_strategy_says_who_is_restarted(convergence_session_factory, strategy, restarted):
    async def work(agent, part):
        if part == 2 and not agent.storage.get("tried"):
            agent.storage.put("tried", True)
            await agent.storage.sync()
            raise ValueError("once")
        return part

    outcome = run(
        convergence_session_factory,
        Hierarchical(strategy),
        agents=("boss", "a", "b", "c"),
        tree={"boss": ["a", "b", "c"]},
        task=[1, 2, 3],
        work=work,
    )
    assert outcome.output == 6
    assert outcome.metrics.retries == len(restarted)
    assert {fact["to"] for fact in facts(outcome, "delegate") if fact["attempt"] == 2} == restarted


def test_a_parent_that_crashes_goes_on_with_what_its_children_do(convergence_session_factory):
    async def work(agent, part):
        await asyncio.sleep(10)
        return part

    async def scenario(session):
        await session.sleep(5)
        session.agents["boss"].crash()
        await session.sleep(1)
        session.agents["boss"].restart()
        await session.sleep(20)

    outcome = run(convergence_session_factory, scenario=scenario, work=work)
    assert outcome.converged
    assert outcome.output == 3
    assert {fact["attempt"] for fact in facts(outcome, "begin") if fact["by"] != "boss"} == {1}


def test_a_parent_that_crashes_in_a_function_calls_it_again(convergence_session_factory):
    calls = []

    async def split(agent, task, children):
        calls.append("split")
        await asyncio.sleep(3)
        return task

    async def scenario(session):
        await session.sleep(1)
        session.agents["boss"].crash()
        session.agents["boss"].restart()
        await session.sleep(20)

    assert run(convergence_session_factory, scenario=scenario, split=split).output == 3
    assert calls == ["split", "split"]


def test_a_leaf_that_crashes_at_work_is_restarted(convergence_session_factory):
    async def work(agent, part):
        await asyncio.sleep(4)
        return part

    async def scenario(session):
        await session.sleep(1)
        session.agents["a"].crash()
        session.agents["a"].restart()
        await session.sleep(20)

    outcome = run(convergence_session_factory, scenario=scenario, work=work)
    assert outcome.output == 3
    assert [f["attempt"] for f in facts(outcome, "begin") if f["task"] == "boss/a" and f["by"] == "a"][
        -1
    ] == 2
    assert facts(outcome, "end")[0]["reason"] == "a crashed at work"


def test_the_result_of_a_superseded_attempt_is_refused(convergence_session_factory):
    async def work(agent, part):
        await asyncio.sleep(4)
        return part, agent.now()

    async def scenario(session):
        await session.sleep(1)
        with session.agents["a"].isolate():
            await session.sleep(15)
        await session.sleep(30)

    outcome = run(convergence_session_factory, scenario=scenario, work=work, combine=list)
    assert outcome.converged
    assert [part for part, _ in outcome.output] == [1, 2]
    assert outcome.output[0][1] > 15  # the first attempt of a was done at 4 s, and nobody could hear it
    assert {fact["task"]: fact["attempt"] for fact in facts(outcome, "accept")} == {"boss/a": 2, "boss/b": 1}


def test_what_gives_up_cancels_its_parts_all_the_way_down(convergence_session_factory):
    async def work(agent, part):
        if agent.name == "d":
            raise ValueError("no")
        await asyncio.sleep(100)
        return 0

    session = convergence_session_factory(pattern=Hierarchical(max_restarts=0), agents=AGENTS)
    outcome = session.run(tree=TREE, task=list(range(8)), split=halves, work=work, combine=sum)
    assert outcome.output is None
    stopped = {fact["by"] for fact in facts(outcome, "end") if fact["how"] == "stopped"}
    assert stopped == {"left", "a", "b", "c"}
    assert outcome.duration < 2


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"tree": {"boss": ["a", "bb"]}}, "unknown agent in tree 'bb': did you mean 'b'"),
        ({"tree": {"bos": ["a"]}}, "unknown agent in tree 'bos': did you mean 'boss'"),
        ({"tree": {}}, "needs run"),
        ({"tree": ["boss"]}, "needs run"),
        ({"tree": {"boss": "ab"}}, "must be a list of agents"),
        ({"tree": {"boss": ["a", "a"]}}, "everybody has one parent"),
        ({"tree": {"boss": ["b"], "a": ["b"]}}, "'b' is a child of 'boss' and of 'a'"),
        ({"tree": {"boss": [], "a": ["b"]}}, "the tree has 2 roots: 'boss', 'a'"),
        ({"tree": {"a": ["b"], "b": ["a"]}}, "cycle: 'b' works for 'a' works for 'b'"),
        ({"tree": {"boss": [], "a": ["b"], "b": ["a"]}}, "cycle"),
        ({"tree": {"boss": ["boss"]}}, "cycle: 'boss' works for 'boss'"),
        ({"work": 3}, "work= must be a function such as work"),
        ({"merge": sum}, "unknown input of the hierarchical pattern 'merge'"),
        ({"split": lambda agent, task: task}, "split.agent, task, children."),
    ],
)
def test_bad_input_is_refused_before_anything_runs(convergence_session_factory, inputs, words):
    with pytest.raises(ConvergenceUsageError, match=words):
        run(convergence_session_factory, **inputs)


def test_a_task_is_needed(convergence_session_factory):
    session = convergence_session_factory(pattern="hierarchical", agents=2)
    with pytest.raises(ConvergenceUsageError, match="needs run"):
        session.run(tree={"agent-1": ["agent-2"]}, split=list, work=sum, combine=sum)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"restart": "one_for_two"}, "did you mean 'one_for_one'"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"max_restarts": True}, "max_restarts"),
        ({"share": 1}, "at most 0.9"),
        ({"share": 0}, "share must be"),
        ({"deadline_seconds": 0}, "deadline_seconds must be greater than zero"),
        ({"silence_seconds": "long"}, "silence_seconds must be a number"),
    ],
)
def test_bad_options_are_refused(convergence_session_factory, options, words):
    with pytest.raises(ConvergenceUsageError, match=words):
        convergence_session_factory(pattern=Hierarchical(**options), agents=3)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (lambda task: {"c": 1}, "unknown child of 'boss' in what split returned 'c'"),
        (lambda task: "ab", "must return a list of parts"),
    ],
)
def test_a_split_that_returns_nonsense_fails_the_test(convergence_session_factory, split, words):
    with pytest.raises(Exception, match=words):
        run(convergence_session_factory, split=split)

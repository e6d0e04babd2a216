"""Failing tests of Hypothesis are explained as others are: the smallest example's deviations, diagram, and how to pin it."""

import re

import pytest

from tests.plugin.conftest import RunSuite

_GIVEN = "-p", "hypothesispytest"

RACE = """
from hypothesis import example, given, settings, strategies as st
from pytest_convergence import Network, Schedule, strategies as cst

quick = settings(max_examples=200, database=None, deadline=None, derandomize=True)

async def counter(agent):
    total = 0
    async for message in agent.inbox:
        if message.type == "set":
            total = message.payload
        else:
            await agent.reply(message, total)

async def adder(agent):
    await agent.send("counter", await agent.request("counter", type="get") + 1, type="set")

async def late_adder(agent):
    await asyncio.sleep(0.1)
    await adder(agent)

async def auditor(agent):
    await asyncio.sleep(9)
    return await agent.request("counter", type="get")

COUNTER = {"adder": adder, "late": late_adder, "counter": counter, "auditor": auditor}
"""

TWICE = (
    RACE
    + """
@quick
@given(schedule=cst.schedules(["delay"], cells=32), word=st.text(max_size=2))
def test_twice(convergence_session_factory, schedule, word):
    session = convergence_session_factory(agents=COUNTER, schedule=schedule, network="wan")
    assert session.run().results["auditor"] == 2
"""
)


def section(result: pytest.RunResult) -> str:
    text = str(result.stdout)
    return text.partition("- convergence counterexample -")[2]


def test_the_smallest_example_is_explained(run_suite: RunSuite) -> None:
    all_phases = TWICE.replace("derandomize=True)", "derandomize=True, phases=tuple(Phase))")
    result = run_suite(all_phases.replace("import example", "import Phase, example"), *_GIVEN)
    result.assert_outcomes(failed=1)
    text = section(result)
    assert "AssertionError: assert 1 == 2" in text
    assert re.search(
        r"It takes [12] deviations? from the calm schedule:\n  - message \S+→\S+ #\d delayed", text
    )
    assert re.search(r"What happened:\n +adder +late +counter +auditor\n", text)
    assert re.search(r"Found by example \d+ of Hypothesis, which shrank it in \d+ more runs\.", text)
    assert "run it again: pytest test_suite.py::test_twice  (Hypothesis tries" in text


def pinning_line(result: pytest.RunResult) -> str:
    found = re.search(r"or pin it: (@example\(.*\))", section(result))
    assert found is not None
    return found[1]


def test_the_line_pins_exactly_that_failure(run_suite: RunSuite) -> None:
    first = run_suite(TWICE, *_GIVEN)
    line = pinning_line(first)
    assert re.fullmatch(r'@example\(schedule=Schedule\.parse\("c1-\S+"\), word=\'\'\)', line)
    pinned = TWICE.replace("@quick\n", f"{line}\n@settings(quick, max_examples=1, phases=[Phase.explicit])\n")
    second = run_suite(pinned.replace("import example", "import Phase, example"), *_GIVEN)
    second.assert_outcomes(failed=1)
    assert "Found by an explicit @example." in section(second)
    told = [re.split(r"\n\n\S+ session|Found by", section(result))[0] for result in (first, second)]
    assert told[0] == told[1]
    assert "@example(schedule=Schedule.of({" in pinning_line(second)


def test_a_pin_of_a_repaired_race_passes(run_suite: RunSuite) -> None:
    line = pinning_line(run_suite(TWICE, *_GIVEN))
    pinned = TWICE.replace("@quick\n", f"{line}\n@settings(quick, max_examples=20)\n")
    repaired = pinned.replace(
        'await agent.request("counter", type="get") + 1, type="set"', '1, type="add"'
    ).replace(
        'if message.type == "set":',
        'if message.type == "add":\n            total += 1\n        elif message.type == "set":',
    )
    run_suite(repaired, *_GIVEN).assert_outcomes(passed=1)


def test_async_bodies_are_explained_too(run_suite: RunSuite) -> None:
    asynchronous = TWICE.replace("@quick", "@pytest.mark.convergence\n@quick").replace(
        "def test_twice", "async def test_twice"
    )
    result = run_suite(
        asynchronous.replace("session.run().results", "(await session.execute()).results"), *_GIVEN
    )
    result.assert_outcomes(failed=1)
    assert "from the calm schedule:" in section(result)
    assert pinning_line(result).startswith('@example(schedule=Schedule.parse("c1-')


def test_each_of_several_failures_is_explained(run_suite: RunSuite) -> None:
    result = run_suite(
        RACE
        + """
@quick
@given(schedule=cst.schedules(["delay", "loss"], cells=32))
def test_both(convergence_session_factory, schedule):
    session = convergence_session_factory(agents=PAIR, schedule=schedule)
    outcome = session.run()
    assert outcome.metrics.lost == 0, "lost"
    assert outcome.duration < 30.05, "late"
""",
        *_GIVEN,
    )
    result.assert_outcomes(failed=1)
    text = section(result)
    first, second = text.split("- another convergence counterexample -")
    assert sorted(re.findall(r"^AssertionError: (lost|late)$", text, re.MULTILINE)) == ["late", "lost"]
    assert all("It takes 1 deviation" in part and "@example(" in part for part in (first, second))


def test_two_sessions_of_one_schedule_are_pinned_together(run_suite: RunSuite) -> None:
    source = (
        RACE
        + """
@quick
@given(schedule=cst.schedules(["loss"], cells=32))
def test_both(convergence_session_factory, schedule):
    lost = [
        convergence_session_factory(agents=PAIR, schedule=schedule).run().metrics.lost for _ in range(2)
    ]
    assert not all(lost)
"""
    )
    first = run_suite(source, *_GIVEN)
    first.assert_outcomes(failed=1)
    assert re.search(r"  - session 1: message .* lost\n  - session 2: message .* lost\n", section(first))
    pinned = source.replace("@quick\n", f"{pinning_line(first)}\n@settings(quick, phases=[Phase.explicit])\n")
    second = run_suite(pinned.replace("import example", "import Phase, example"), *_GIVEN)
    second.assert_outcomes(failed=1)
    assert re.search(r"  - session 1: message .* lost\n  - session 2: message .* lost\n", section(second))


def test_a_schedule_that_hypothesis_did_not_draw_is_not_called_minimal(run_suite: RunSuite) -> None:
    result = run_suite(
        RACE
        + """
@pytest.mark.convergence(agents=PAIR, network=Network(loss=0.5), seed=3)
@quick
@given(number=st.integers(0, 9))
def test_drawn(convergence_session_factory, number):
    assert convergence_session_factory().run().metrics.lost == 0
""",
        *_GIVEN,
    )
    text = section(result)
    assert "(perhaps fewer: Hypothesis did not draw the schedule, so it was not reduced):" in text
    assert re.search(r"Found by example \d+ of Hypothesis\.", text)


def test_what_cannot_be_written_down_is_not_pinned(run_suite: RunSuite) -> None:
    result = run_suite(
        RACE
        + """
@quick
@given(data=st.data())
def test_drawn(convergence_session_factory, data):
    schedule = data.draw(cst.schedules(["loss"], cells=32))
    assert convergence_session_factory(agents=PAIR, schedule=schedule).run().metrics.lost == 0
""",
        *_GIVEN,
    )
    text = section(result)
    assert "It takes 1 deviation" in text
    assert "pin it" not in text


def test_a_flaky_test_is_not_explained(run_suite: RunSuite) -> None:
    result = run_suite(
        RACE
        + """
runs = []

@quick
@given(schedule=cst.schedules(["loss"], cells=32))
def test_flaky(convergence_session_factory, schedule):
    convergence_session_factory(agents=PAIR, schedule=schedule).run()
    runs.append(schedule)
    assert len(runs) != 3
""",
        *_GIVEN,
    )
    result.assert_outcomes(failed=1)
    assert "counterexample" not in str(result.stdout)
    result.stdout.fnmatch_lines(["*- convergence -*"])


def test_a_token_is_not_replayed_on_a_test_of_hypothesis(run_suite: RunSuite) -> None:
    token = pinning_line(run_suite(TWICE, *_GIVEN)).split('"')[1]
    result = run_suite(TWICE, *_GIVEN, f"--convergence-replay={token}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*--convergence-replay cannot replay *::test_twice: Hypothesis makes its examples*@example(schedule=*"
        ]
    )


def test_a_token_in_the_marker_pins_what_hypothesis_does_not_draw(run_suite: RunSuite) -> None:
    token = pinning_line(run_suite(TWICE, *_GIVEN)).split('"')[1]
    result = run_suite(
        RACE
        + f"""
@pytest.mark.convergence(agents=COUNTER, network="wan", schedule="{token}")
@quick
@given(number=st.integers(0, 9), schedule=cst.schedules(cells=32))
def test_drawn(convergence_session_factory, number, schedule):
    own = convergence_session_factory(schedule=schedule)
    assert own.schedule is schedule
    pinned = convergence_session_factory()
    assert pinned.schedule.deviations
""",
        *_GIVEN,
    )
    result.assert_outcomes(passed=1)


def test_violated_properties_are_failures_of_their_own(run_suite: RunSuite) -> None:
    result = run_suite(
        RACE
        + """
@quick
@given(schedule=cst.schedules(["delay", "loss"], cells=32))
def test_both(convergence_session_factory, schedule):
    session = convergence_session_factory(agents=PAIR, schedule=schedule, network="lan")
    session.never("something is lost", lambda session: session.messages_lost)
    session.always("all is quick", lambda session: session.messages_lost or session.now < 30.001)
    session.run()
""",
        *_GIVEN,
    )
    result.assert_outcomes(failed=1)
    text = section(result)
    assert sorted(re.findall(r"^violated: (something is lost|all is quick)", text, re.MULTILINE)) == [
        "all is quick",
        "something is lost",
    ]
    assert "violated something is lost" not in str(result.stdout)  # what tells them apart is not shown

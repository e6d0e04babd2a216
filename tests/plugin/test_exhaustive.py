"""``explore="exhaustive"``: the body of a test under every order of deliveries that makes a difference."""

from __future__ import annotations

import re

import pytest

RACE = """
import pytest

async def store(agent):
    value = 0
    async for message in agent.inbox:
        if message.type == "read":
            await agent.reply(message, value)
        else:
            value = message.payload

async def adder(agent):
    value = await agent.request("store", type="read")
    await agent.send("store", value + 1, type="write")

async def auditor(agent):
    await agent.receive(); await agent.receive()

AGENTS = {"store": store, "one": adder, "two": adder}
"""


@pytest.fixture(autouse=True)
def _without_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def race(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(race=RACE)
    pytester.syspathinsert()
    return pytester


def test_a_search_that_came_to_its_end_says_so(race):
    race.makepyfile(
        """
        import pytest
        from race import AGENTS

        @pytest.mark.convergence(agents=AGENTS, explore="exhaustive")
        def test_adding(convergence_session):
            convergence_session.run()

        @pytest.mark.convergence(agents=AGENTS, explore="exhaustive", schedules=2)
        async def test_stopped(convergence_session):
            await convergence_session.execute()
        """
    )
    result = race.runpytest_inprocess("-p", "convergence")
    result.assert_outcomes(passed=2)
    # Reads and writes of two adders: 4! / (2! 2!) interleavings.
    result.stdout.re_match_lines(
        [
            r".*::test_adding: exhausted: 6 schedules$",
            r".*::test_stopped: explored 2 schedules of at least [3-6], not exhausted$",
        ]
    )


def test_a_failure_is_told_as_deviations_and_can_be_replayed(race):
    race.makepyfile(
        """
        import pytest
        from race import AGENTS

        seen = []

        @pytest.mark.convergence(agents=AGENTS, explore="exhaustive")
        def test_nothing_is_lost(convergence_session):
            async def scenario(session):
                await session.finished()
                return await session.agents["one"].request("store", type="read")
            assert convergence_session.run(scenario).output == 2
        """
    )
    result = race.runpytest_inprocess("-p", "convergence")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*convergence counterexample*", "*assert 1 == 2*"])
    token = re.search(r"--convergence-replay=(\S+)", result.stdout.str())
    assert token is not None
    again = race.runpytest_inprocess("-p", "convergence", f"--convergence-replay={token[1]}")
    again.stdout.fnmatch_lines(["*assert 1 == 2*"])


LOST = """
import pytest

async def sink(agent):
    first = (await agent.receive()).payload
    assert first != 3, "three came first"

def sender(number):
    async def send(agent):
        await agent.send("sink", number)
    return send

@pytest.mark.convergence(
    agents={"sink": sink, **{f"sender-{number}": sender(number) for number in range(4)}}, explore="exhaustive"
)
def test_first(convergence_session):
    convergence_session.run()
"""


def test_an_order_that_only_a_search_finds_is_reduced_to_the_delays_that_it_needs(pytester):
    pytester.makepyfile(LOST)
    result = pytester.runpytest_inprocess("-p", "convergence")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*three came first*",
            "It takes 3 deviations from the calm schedule:",
            "*message sender-?→sink #1 delayed *",
        ]
    )


def test_each_schedule_twice_is_the_same_twice(race):
    race.makepyfile(
        """
        import pytest
        from race import AGENTS

        @pytest.mark.convergence(agents=AGENTS, explore="exhaustive")
        def test_adding(convergence_session):
            convergence_session.run()
        """
    )
    result = race.runpytest_inprocess("-p", "convergence", "--convergence-check-determinism")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_adding: exhausted: 6 schedules"])


def test_a_search_belongs_to_the_test_or_to_hypothesis(pytester):
    pytester.makepyfile(
        """
        import pytest
        from hypothesis import given, strategies as st

        @pytest.mark.convergence(agents=2, explore="exhaustive")
        @given(st.integers())
        def test_both(convergence_session_factory, number): pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "convergence", "-p", "hypothesispytest")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*::test_both: explore='exhaustive' chooses the schedules of a test itself*"]
    )


ONCE = """
import pytest

async def server(agent):
    paid = agent.storage.get("paid", 0)
    async for message in agent.inbox:
        paid += 1  # and forgets that it has done so already
        agent.storage.put("paid", paid)
        await agent.storage.sync()
        await agent.reply(message, paid)

async def client(agent):
    for _ in range(4):
        try:
            return await agent.request("server", timeout=1)
        except TimeoutError:
            pass

def run(session):
    assert session.run().results["client"] == 1, "paid twice"

AGENTS = {"server": server, "client": client}
"""


@pytest.mark.parametrize(
    ("faults", "deviation"),
    [
        (["loss"], "  - message server→client #1 lost"),
        (["crash"], "  - * crashed, back after 1 us at its step *"),
    ],
)
def test_a_fault_that_only_a_search_finds_is_told_and_replayed(pytester, faults, deviation):
    pytester.makepyfile(once=ONCE)
    pytester.syspathinsert()
    pytester.makepyfile(
        f"""
        import pytest
        from once import AGENTS, run

        @pytest.mark.convergence(agents=AGENTS, explore="exhaustive", faults={faults!r})
        def test_paid_once(convergence_session):
            run(convergence_session)
        """
    )
    result = pytester.runpytest_inprocess("-p", "convergence")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*paid twice*", "It takes 1 deviation from the calm schedule:", deviation])
    (line,) = [line for line in result.outlines if line.startswith("run it again: ")]
    token = line.partition("--convergence-replay=")[2].strip()
    again = pytester.runpytest_inprocess("-p", "convergence", f"--convergence-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*paid twice*"])


@pytest.mark.parametrize("options", [[], ["--convergence-isolate"]])
def test_how_many_faults_a_run_may_have_is_said_in_the_marker(pytester, options):
    pytester.makepyfile(once=ONCE)
    pytester.syspathinsert()
    pytester.makepyfile(
        """
        import pytest
        from once import AGENTS

        @pytest.mark.convergence(agents=AGENTS, explore="exhaustive", faults=["loss"], faults_at_most=2)
        def test_asking(convergence_session):
            convergence_session.run()
        """
    )
    result = pytester.runpytest_inprocess("-p", "convergence", *options)
    result.stdout.fnmatch_lines(["*::test_asking: exhausted: 7 schedules with at most 2 faults"])


def test_faults_without_an_end_are_refused(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.convergence(agents=2, explore="exhaustive", faults=["partition"])
        def test_cut(convergence_session): pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "convergence")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*: explore='exhaustive' goes through the orders of messages, *"])

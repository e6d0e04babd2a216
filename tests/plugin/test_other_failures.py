"""The schedule that fails first is seldom the one that needs the least: others are reduced as well."""

from __future__ import annotations

import pytest

SURVEY = """
import pytest
from pytest_convergence import Network

async def sink(agent):
    heard = []
    try:
        while True:
            heard.append((await agent.receive(timeout=9)).sender)
    except TimeoutError:
        return heard

async def sender(agent):
    await agent.send("sink", 0)

SENDERS = ["key", *(f"s{number}" for number in range(8))]

@pytest.mark.convergence(
    agents={"sink": sink, **dict.fromkeys(SENDERS, sender)},
    network=Network(latency=0.001, loss=0.4, duplicate=0.05),
    schedules=20,
)
def test_survey(convergence_session):
    heard = convergence_session.run().results["sink"]
    # Either five of eight are lost, or one message comes twice.
    assert heard.count("key") < 2 and len(set(heard) - {"key"}) > 3, "no survey"
"""


@pytest.fixture(autouse=True)
def _without_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_a_smaller_counterexample_of_another_schedule_is_told(pytester: pytest.Pytester):
    pytester.makepyfile(SURVEY)
    result = pytester.runpytest_inprocess("-p", "convergence", "--convergence-seed=2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "It takes 1 deviation from the calm schedule:",
            "  - message key→sink #1 duplicated, *",
        ]
    )


def test_it_is_replayed_like_any_other(pytester: pytest.Pytester):
    pytester.makepyfile(SURVEY)
    result = pytester.runpytest_inprocess("-p", "convergence", "--convergence-seed=2")
    (line,) = [line for line in result.outlines if line.startswith("run it again: ")]
    token = line.partition("--convergence-replay=")[2].strip()
    again = pytester.runpytest_inprocess("-p", "convergence", f"--convergence-replay={token}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["It takes 1 deviation from the calm schedule:"])


def test_schedules_of_fewer_kinds_are_looked_at(pytester: pytest.Pytester):
    kinds = pytester.path / "kinds"
    run = "    heard = convergence_session.run"
    note = (
        f"    with open({str(kinds)!r}, 'a') as file: print(*convergence_session.schedule.only, file=file)\n"
    )
    pytester.makepyfile(SURVEY.replace(run, note + run).replace("=20,", "=20, faults=['skew'],"))
    result = pytester.runpytest_inprocess("-p", "convergence", "--convergence-seed=2")
    result.assert_outcomes(failed=1)
    assert {"", "deliver"} <= set(kinds.read_text().splitlines())


@pytest.mark.parametrize("options", [(), ("--convergence-isolate",)])
def test_one_crash_takes_the_place_of_many_lost_messages(pytester: pytest.Pytester, options: tuple[str, ...]):
    """No failing schedule that was found holds that crash alone."""
    pytester.makepyfile(SURVEY.replace("=20,", "=20, faults=['crash'],"))
    result = pytester.runpytest_inprocess("-p", "convergence", "--convergence-seed=2", *options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["It takes 1 deviation from the calm schedule:", "  - sink crashed, back after *"]
    )


TWO_LEADERS = """
import pytest
from pytest_convergence import Network

async def voter(agent):
    await agent.send("chair", agent.name, type="vote")

async def chair(agent):
    votes = []
    try:
        while True:
            votes.append((await agent.receive(timeout=0.02)).sender)
    except TimeoutError:
        pass
    if len(votes) == 1:  # three of four are late
        agent.observe("leader", term=1)

async def deputy(agent):
    agent.observe("leader", term=1)

@pytest.mark.convergence(
    agents={"chair": chair, "deputy": deputy, **dict.fromkeys("abcd", voter)},
    network=Network(latency=(0.001, 0.05)),
    faults=["partition"],
    properties=["election_safety"],
    schedules=100,
)
def test_two_leaders(convergence_session):
    convergence_session.run()
"""


@pytest.mark.parametrize("options", [(), ("--convergence-isolate",)])
def test_what_decided_a_failure_is_disturbed_by_other_faults(
    pytester: pytest.Pytester, options: tuple[str, ...]
):
    pytester.makepyfile(TWO_LEADERS)
    result = pytester.runpytest_inprocess("-p", "convergence", "--convergence-profile=uniform", *options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["violated: election_safety: *", "It takes [12] deviation*", "  - *cut off for * at its step *"]
    )

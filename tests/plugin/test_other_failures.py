"""The schedule that fails first is seldom the one that needs the least: others are reduced as well."""

from __future__ import annotations

from functools import partial

import pytest

from pytest_convergence._pytest import search
from pytest_convergence.explore.effort import Effort

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


def _smallest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tick: float) -> str:
    """Return what is told of a failure that is reduced while the real clock goes on so far whenever it is read."""
    seconds = 0.0

    def now() -> float:
        nonlocal seconds
        seconds += tick
        return seconds

    monkeypatch.setattr(search, "Effort", partial(Effort, now=now))
    options = [
        "--convergence-profile=uniform",
        "--convergence-shrink-seconds=0.5",
        "--convergence-database=none",
    ]
    told = str(pytester.runpytest_inprocess("-p", "convergence", *options).stdout.str())
    return told.partition("It takes ")[2].partition("What contradicts")[0]


def test_how_far_a_failure_is_reduced_does_not_depend_on_the_speed_of_the_machine(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    pytester.makepyfile(TWO_LEADERS)
    told = _smallest(pytester, monkeypatch, 0.0)
    assert "deviation" in told
    assert "the time to shrink was up" not in told
    # So little time is not enough for all that may be tried; by real time alone the slower one would come to more.
    assert told == _smallest(pytester, monkeypatch, 0.004)


GIVES_UP = """
import pytest
from pytest_convergence import Network

async def owner(agent):
    agent.observe("own", task="work", token=1)
    for number in range(2_000):
        await agent.send("sink", number)
        try:
            await agent.receive(timeout=0.11)
        except TimeoutError:
            agent.observe("release", task="work", token=1)
            return

async def sink(agent):
    async for message in agent.inbox:
        await agent.send("owner", message.payload)

@pytest.mark.convergence(
    agents={"owner": owner, "sink": sink},
    network=Network(latency=(0.001, 0.05), loss=0.01),
    properties=["no_lost_owner"],
    schedules=20,
)
def test_work(convergence_session):
    with open(HORIZONS, "a") as file:
        print(convergence_session.horizon_ns, file=file)
    convergence_session.run()
"""


def test_runs_that_take_much_longer_than_the_smallest_that_has_failed_are_given_up(pytester: pytest.Pytester):
    """What fails in the end fails the sooner, the less comes late; so later candidates are worth less time."""
    path = pytester.path / "horizons"
    pytester.makepyfile(GIVES_UP.replace("HORIZONS", repr(str(path))))
    result = pytester.runpytest_inprocess("-p", "convergence", "--convergence-profile=uniform")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["violated: no_lost_owner: *", "It takes 1 deviation from the calm schedule:"]
    )
    horizons = [int(line) for line in path.read_text().splitlines()]
    limited = [each for each in horizons if each]
    assert limited == sorted(limited, reverse=True)
    assert limited[-1] < limited[0] / 2

"""A failing schedule is recorded, reduced, explained, and can be run again."""

import re

import pytest

from tests.plugin.conftest import RunSuite

RACE = """
from pytest_convergence import Network

async def bank(agent):
    balance = 100
    async for message in agent.inbox:
        if message.type == "write":
            balance = message.payload
        await agent.reply(message, balance)

async def teller(agent):
    balance = await agent.request("bank", type="read")
    await agent.request("bank", balance + 10, type="write")

async def second(agent):
    await asyncio.sleep(1)
    await teller(agent)

async def auditor(agent):
    await asyncio.sleep(9)
    assert await agent.request("bank", type="read") == 120, "money is lost"

BANK = {"teller-1": teller, "teller-2": second, "bank": bank, "auditor": auditor}
"""

LATE = (
    RACE
    + """
@pytest.mark.convergence(agents=BANK, network=Network(latency=(0.001, 2.0)), schedules=300)
def test_no_money_is_lost(convergence_session):
    convergence_session.run()
"""
)


@pytest.fixture
def told(run_suite: RunSuite) -> list[str]:
    result = run_suite(LATE)
    result.assert_outcomes(failed=1)
    lines = result.outlines
    start = next(place for place, line in enumerate(lines) if "convergence counterexample" in line)
    return lines[start:]


def token_in(lines: list[str]) -> str:
    found = re.search(r"--convergence-replay=(\S+)", "\n".join(lines))
    assert found is not None
    return found[1]


def test_it_says_what_failed_and_what_it_takes(told: list[str]) -> None:
    assert told[1] == "AgentError: agent 'auditor' raised AssertionError: money is lost"
    text = "\n".join(told)
    assert re.search(r"It takes \d deviations? from the calm schedule:\n  - message teller-1", text)
    assert "without it: the test passes (converged)" in text
    assert re.search(r"shrunk from \d+ to \d deviations? in \d+ runs", text)


def test_it_draws_what_happened(told: list[str]) -> None:
    text = "\n".join(told)
    assert re.search(r"What happened:\n +teller-1 +teller-2 +bank +auditor\n", text)
    assert "#2 write 110" in text


def test_the_token_fails_in_the_same_way(run_suite: RunSuite, told: list[str]) -> None:
    again = run_suite(LATE, f"--convergence-replay={token_in(told)}")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines([told[1], told[3], "Found by calm but for * deviation*."])


def test_a_token_pins_a_regression_in_the_marker(run_suite: RunSuite, told: list[str]) -> None:
    pinned = LATE.replace("schedules=300", f'schedules=300, schedule="{token_in(told)}"')
    run_suite(pinned).assert_outcomes(failed=1)
    repaired = pinned.replace('balance + 10, type="write"', '10, type="add"').replace(
        "balance = message.payload",
        'balance = message.payload\n        if message.type == "add":\n            balance += message.payload',
    )
    run_suite(repaired).assert_outcomes(passed=1)


def test_a_replay_is_of_one_test(run_suite: RunSuite, told: list[str]) -> None:
    result = run_suite(
        LATE + LATE.replace("test_no_", "test_also_no_"), f"--convergence-replay={token_in(told)}"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--convergence-replay replays one test, but 2 tests with the marker are selected*"]
    )


def test_without_time_to_shrink_the_failure_is_reported_as_it_was(run_suite: RunSuite) -> None:
    result = run_suite(LATE, "--convergence-shrink-seconds=0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- convergence -*", "run it again: pytest * --convergence-seed=*"])
    assert "counterexample" not in result.stdout.str()


def test_a_run_that_takes_too_long_to_be_repeated_is_reported_as_it_was(run_suite: RunSuite) -> None:
    result = run_suite(LATE, "--convergence-shrink-seconds=0.000001")
    result.assert_outcomes(failed=1)
    assert "counterexample" not in result.stdout.str()


def test_a_failure_of_the_calm_schedule_takes_no_deviation(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=5)
def test_fails(convergence_session):
    convergence_session.run()
    assert False
""").stdout.fnmatch_lines(["It needs nothing to go wrong: it fails under the calm schedule*"])


def test_a_failure_that_does_not_come_again_is_called_what_it_is(run_suite: RunSuite) -> None:
    result = run_suite("""
runs = []

@pytest.mark.convergence(agents=PAIR, network="lossy")
def test_fails_once(convergence_session):
    runs.append(convergence_session.run())
    assert len(runs) > 1
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["The failure did not come again when the same schedule was run once more*"])


def test_trials_are_not_counted(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=50)
def test_fails(convergence_session):
    assert convergence_session.run().metrics.lost == 0
""")
    found = re.search(r"Found by schedule (\d+) of 50", result.stdout.str())
    assert found is not None
    result.stdout.fnmatch_lines([f"{found[1]} schedule* explored*"])


def test_another_property_is_another_failure(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=50)
def test_fails(convergence_session):
    convergence_session.always("nothing is lost", lambda session: session.messages_lost == 0)
    outcome = convergence_session.run()
    assert outcome.schedule.kind == "seeded", "another failure, of every smaller schedule"
""")
    result.stdout.fnmatch_lines(
        ["*violated: nothing is lost*", "It takes 1 deviation from the calm schedule:"]
    )


def test_two_sessions_of_a_test_are_reduced_together(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=100)
def test_fails(convergence_session_factory):
    losses = [convergence_session_factory().run().metrics.lost for _ in range(2)]
    assert not all(losses)
""")
    result.stdout.fnmatch_lines(
        [
            "It takes 2 deviations from the calm schedule:",
            "  - session 1: message *→* #* lost",
            "  - session 2: message *→* #* lost",
        ]
    )


def test_only_the_last_run_shows_what_it_printed(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=50)
def test_fails(convergence_session):
    outcome = convergence_session.run()
    print("the schedule was", outcome.schedule)
    assert outcome.metrics.lost == 0
""")
    printed = [line for line in result.outlines if line.startswith("the schedule was")]
    assert printed == ["the schedule was calm but for 1 deviation"]


def test_async_tests_have_counterexamples_too(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=50)
async def test_fails(convergence_session):
    assert (await convergence_session.execute()).metrics.lost == 0
""")
    result.stdout.fnmatch_lines(["It takes 1 deviation from the calm schedule:", "  - message *→* #* lost"])


def test_the_diagram_shows_hand_offs_and_where_the_property_broke(run_suite: RunSuite) -> None:
    result = run_suite("""
async def giver(agent):
    await agent.hand_off({"job": 1}, to="b")

@pytest.mark.convergence(agents={"a": giver, "b": None}, network="lossy")
def test_fails(convergence_session):
    convergence_session.always("nothing is owned", lambda session: not session.handoffs.stats().transferred)
    convergence_session.run()
""")
    result.stdout.fnmatch_lines(["*#1 handoff_request *", "*▲ violated: nothing is owned"])


def test_what_replicas_held_is_told_as_documents(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=["a", "b"], network="lossy")
def test_fails(convergence_session):
    async def scenario(session):
        session.agents["a"].state.set("plan.title", "draft")
        session.agents["b"].crash()
    outcome = convergence_session.run(scenario)
    assert not outcome.crashed
""")
    result.stdout.fnmatch_lines(
        ["What each agent held at the end:", "  a: state {'plan': {'title': 'draft'}}", "  b: crashed"]
    )


def test_one_violation_is_told_once(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, network="lossy")
def test_fails(convergence_session):
    convergence_session.always("nobody asks", lambda session: False)
    convergence_session.run()
""")
    section = result.stdout.str().partition("convergence counterexample")[2]
    assert section.count("this must always hold") == 1


HUNG_UP = """
from pytest_convergence import Network

async def serve():
    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line)
        writer.close()
    async with await asyncio.start_server(handle, "0.0.0.0", 80) as server:
        await server.serve_forever()

async def ask():
    reader, writer = await asyncio.open_connection("server", 80)
    try:
        for number in b"1", b"2":
            writer.write(number + b"\\n")
            try:
                async with asyncio.timeout(0.2):
                    answer = await reader.readline()
            except TimeoutError:
                continue
            assert answer.strip() == number, "the answer of another"
    finally:
        writer.close()

@pytest.mark.convergence(network=Network(latency=(0.001, 0.3)), schedules=50)
def test_answers(convergence_session):
    convergence_session.host("server", serve)
    convergence_session.host("client", ask)
    convergence_session.run()
"""


def test_of_programs_on_hosts_it_says_who_gave_up_where_and_which_packets_it_took(
    run_suite: RunSuite,
) -> None:
    text = "\n".join(run_suite(HUNG_UP).outlines)
    assert "AgentError: host 'client' raised AssertionError: the answer of another" in text
    assert re.search(r"  - message (client→server|server→client) #2 \(tcp data\) delayed \d+ ms", text)
    assert re.search(
        r"✂   client: cancelled by asyncio\.timeout at test_suite\.py:\d+: answer = await reader\.readline\(\)",
        text,
    )
    assert re.search(r"!   client: AssertionError: the answer of another", text)
    assert "Where each program stood then:\n  server: test_suite.py:" in text
    assert re.search(r"  client: raised at test_suite\.py:\d+ in ask: assert answer", text)
    assert "of virtual time (2 hosts, calm but for 1 deviation)" in text

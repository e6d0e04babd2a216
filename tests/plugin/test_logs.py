"""Log records of a run carry the agent and the virtual time."""

import pytest

from tests.plugin.conftest import RunSuite

_LOGS = """
import logging

log = logging.getLogger("downstream")

async def chatty(agent):
    await asyncio.sleep(2.5)
    log.warning("hello", extra={"agent_name": agent.name})

@pytest.mark.convergence(agents={"one": chatty, "two": chatty})
def test_logs(convergence_session, caplog):
    log.warning("before")
    convergence_session.run()
    seen = [(record.agent, record.virtual_time) for record in caplog.records]
    assert seen[0] == ("-", 0)
    assert seen[1:] == [("one", 2.5), ("two", 2.5)]
    assert False
"""


def test_records_have_agent_and_virtual_time(run_suite: RunSuite) -> None:
    result = run_suite(_LOGS, "-o", "log_format=%(virtual_time)06.2f %(agent)s: %(message)s")
    result.stdout.fnmatch_lines(["000.00 -: before", "002.50 one: hello", "002.50 two: hello"])
    assert "assert False" in result.stdout.str()


def test_a_format_may_name_them_in_a_suite_without_sessions(run_suite: RunSuite) -> None:
    result = run_suite(
        "import logging\ndef test_idle():\n    logging.warning('idle')\n    assert False",
        "-o",
        "log_format=%(virtual_time).1f %(agent)s: %(message)s",
    )
    result.stdout.fnmatch_lines(["0.0 -: idle"])


def test_what_a_program_says_about_its_agent_itself_is_kept(run_suite: RunSuite) -> None:
    run_suite("""
import logging

async def chatty(agent):
    logging.warning("hello", extra={"agent": "my own"})

@pytest.mark.convergence(agents={"one": chatty})
def test_logs(convergence_session, caplog):
    convergence_session.run()
    assert [record.agent for record in caplog.records] == ["my own"]
""").assert_outcomes(passed=1)


@pytest.mark.parametrize("source", ["", "@pytest.mark.convergence(agents=PAIR)"])
def test_it_works_without_the_logging_plugin(run_suite: RunSuite, source: str) -> None:
    result = run_suite(
        f"{source}\ndef test_it(convergence_session): convergence_session.run()", "-p", "no:logging"
    )
    result.assert_outcomes(passed=1)

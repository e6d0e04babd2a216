"""Section 10 of the usage contract, end to end: one suite, and everything that a run of it leaves behind."""

import xml.etree.ElementTree as ElementTree

import pytest

# pytester forgets what a run in this process imported; what is loaded already stays.
import pytest_convergence._pytest.runtime
import pytest_convergence._pytest.summary
import pytest_convergence.metrics  # noqa: F401

SUITE = """
import pytest

async def server(agent):
    async for message in agent.inbox:
        await agent.reply(message, message.payload.upper())

async def client(agent):
    while True:
        try:
            return await agent.request("server", "hello", timeout=5)
        except TimeoutError:
            continue

@pytest.mark.convergence(agents={"server": server, "client": client}, network="lossy", schedules=20)
def test_talk(convergence_session):
    assert convergence_session.run().results["client"] == "HELLO"

@pytest.mark.convergence(pattern="consensus", agents=["a", "b"])
def test_vote(convergence_session):
    assert convergence_session.run(proposals={"a": 1, "b": 2}).output is None

@pytest.mark.convergence(agents=2)
def test_vacuous(convergence_session):
    convergence_session.sometimes("pigs fly", lambda session: False)
    assert convergence_session.run().converged
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a suite with this plugin alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *arguments):
        pytester.makepyfile(test_suite=source)
        return pytester.runpytest_inprocess("-p", "convergence", "-p", "no:cacheprovider", *arguments)

    return run


def test_a_run_leaves_a_summary_junit_properties_and_metrics(run, pytester):
    result = run(
        SUITE, "--strict-markers", "-W", "error", "--junitxml=junit.xml", "--convergence-metrics=metrics.prom"
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*= convergence =*",
            "pattern *sessions*converged*diverged*failed*rounds*to converge*sent*lost*duplicated*conflicts*handoffs*",
            "consensus *1 *0 *1 *0 *",
            "none *21 *21 *0 *0 *",
            "*22 schedules explored;*of virtual time in*of real time*",
            "*pigs fly*",
        ]
    )
    junit = ElementTree.parse(pytester.path / "junit.xml")
    names = {entry.get("name", "") for entry in junit.iter("property")}
    assert any(name.startswith("convergence") for name in names)
    metrics = (pytester.path / "metrics.prom").read_text(encoding="utf-8")
    assert 'convergence_sessions_total{outcome="converged",pattern="none"} 21.0' in metrics
    assert 'convergence_sessions_total{outcome="diverged",pattern="consensus"} 1.0' in metrics


def test_a_suite_without_a_session_has_no_section(run):
    result = run("def test_nothing(): pass")
    result.assert_outcomes(passed=1)
    assert "= convergence =" not in result.stdout.str()


def test_options_of_the_command_line_go_before_the_marker_and_the_marker_before_the_ini_file(run, pytester):
    pytester.makeini("[pytest]\nconvergence_seed = 1\nconvergence_schedules = 2\nconvergence_profile = wan\n")
    source = """
import pytest
{marker}
def test_it(convergence_session):
    options = convergence_session.options
    print("seen", options.get("seed"), options.get("network"))
    convergence_session.run()
"""
    plain, marked = (
        "@pytest.mark.convergence(agents=2)",
        '@pytest.mark.convergence(agents=2, seed=3, network="lan")',
    )
    run(source.format(marker=plain), "-s").stdout.fnmatch_lines(["*seen 1 wan*", "*2 schedules explored*"])
    run(source.format(marker=marked), "-s").stdout.fnmatch_lines(["*seen 3 lan*"])
    result = run(
        source.format(marker=marked),
        "-s",
        "--convergence-seed=5",
        "--convergence-profile=lossy",
        "--convergence-schedules=4",
    )
    result.stdout.fnmatch_lines(["*seen 5 lossy*", "*4 schedules explored*"])


def test_a_failure_shows_its_seed_and_how_to_run_it_again(run):
    result = run("""
import pytest

async def hasty(agent):
    return await agent.request("mute", "hello", timeout=1)

async def mute(agent):
    async for _ in agent.inbox:
        pass

@pytest.mark.convergence(agents={"hasty": hasty, "mute": mute}, network="lossy", schedules=5)
def test_it(convergence_session):
    convergence_session.run()
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AgentError: agent 'hasty' raised TimeoutError*",
            "*schedule 1 of 5: seed *",
            "*--convergence-seed=*",
        ]
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--convergence-replay=TOKEN", "'TOKEN' is no token of a schedule"),
        ("--convergence-profile=losy", "did you mean 'lossy'"),
        ("--convergence-seed=x", "a whole number is needed, not 'x'"),
        ("--convergence-schedules=0", "a whole number >= 1 is needed, not '0'"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused_by_name(run, argument, message):
    result = run("def test_nothing(): pass", argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("patern='consensus'", "unknown option 'patern': did you mean 'pattern'"),
        ("pattern='concensus', agents=2", "unknown pattern 'concensus': did you mean 'consensus'"),
        ("agents=2, network='losy'", "unknown network profile 'losy': did you mean 'lossy'"),
        ("agents=0", "agents=0: a session needs at least one agent"),
        ("agents=2, explore='ptc'", "unknown explore strategy 'ptc': did you mean 'pct'"),
        ("agents=2, sync='crtd'", "unknown sync strategy 'crtd': did you mean 'crdt'"),
        ("agents=2, schedule='c1-x'", "the token 'c1-x' cannot be read"),
        ("agents=2, goal=None", "'goal' is no option of the marker"),
    ],
)
def test_a_wrong_marker_fails_at_collection(run, marker, message):
    result = run(
        f"import pytest\n@pytest.mark.convergence({marker})\ndef test_it(convergence_session): pass\n"
    )
    assert result.ret != pytest.ExitCode.OK
    result.assert_outcomes()
    assert message in result.stdout.str() + result.stderr.str()

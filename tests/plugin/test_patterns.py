"""Patterns of the user's own: named by plugins and conftest.py files, found by the marker, the factory and the engine."""

from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, ConvergenceUsageError, Decide, Pattern, Property
from tests.architecture.markdown import blocks_of
from tests.architecture.source import ROOT
from tests.plugin.conftest import RunSuite
from tests.quality.silence import NETWORKS, SEEDS, silent

_ECHO = """
from pytest_convergence import Decide, Pattern

class Says:
    def __init__(self, value): self.value = value
    def on_start(self, durable): return [Decide(self.value)]
    def on_message(self, sender, kind, payload): return []
    def on_timer(self, name): return []
    def on_command(self, name, argument): return []
    def view(self): return self.value

class Echo(Pattern):
    name = "echo"
    def machine(self, agent, agents, inputs): return Says(inputs["value"])
"""
_HOOK = "def pytest_convergence_patterns(config):\n    return {}\n"
_SUITE = """
@pytest.mark.convergence(pattern="echo", agents=2)
def test_marker(convergence_session):
    assert convergence_session.run(value="hello").output == "hello"

def test_factory(convergence_session_factory):
    assert convergence_session_factory(pattern="echo", agents=2).run(value=1).output == 1

@pytest.mark.convergence(agents=2)
def test_engine(convergence_engine):
    session = convergence_engine.create_session("named", pattern="echo")
    assert session.run(value=2).output == 2

@pytest.mark.convergence(agents=2)
def test_unknown(convergence_session_factory):
    with pytest.raises(Exception, match="unknown pattern 'ecco': did you mean 'echo'.*'echo'"):
        convergence_session_factory(pattern="ecco")
"""


def _conftest(pytester: pytest.Pytester, returns: str) -> None:
    pytester.makeconftest(_ECHO + _HOOK.format(returns))


@pytest.mark.parametrize("returns", ["Echo()", "[Echo()]", "(pattern for pattern in [Echo()])"])
def test_a_conftest_gives_a_pattern_a_name(
    run_suite: RunSuite, pytester: pytest.Pytester, returns: str
) -> None:
    _conftest(pytester, returns)
    run_suite(_SUITE).assert_outcomes(passed=4)


def test_workers_know_the_patterns_too(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    _conftest(pytester, "Echo()")
    run_suite(_SUITE, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=4)


def test_the_summary_has_a_row_for_it(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    _conftest(pytester, "Echo()")
    run_suite(_SUITE).stdout.fnmatch_lines(["echo *3 *3 *0 *0 *"])


def test_a_plugin_gives_a_pattern_a_name(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(echo_plugin=_ECHO + _HOOK.format("[Echo()]"))
    pytester.syspathinsert()
    run_suite(_SUITE, "-p", "echo_plugin").assert_outcomes(passed=4)


def test_a_name_that_nobody_has_is_an_error_at_collection_that_lists_those_that_exist(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    _conftest(pytester, "Echo()")
    result = run_suite("""
@pytest.mark.convergence(pattern="ekho", agents=2)
def test_misspelt(convergence_session): pass
""")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown pattern 'ekho': did you mean 'echo'? Known: *'consensus'*'echo'*"])


def test_patterns_of_one_test_run_are_unknown_to_the_next(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    _conftest(pytester, "Echo()")
    run_suite(_SUITE).assert_outcomes(passed=4)
    pytester.makeconftest("")
    assert run_suite(_SUITE).ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        ("[Echo(), Echo()]", "a pattern named 'echo' exists already"),
        ("Echo", "hook pytest_convergence_patterns: pattern must be a name or a pattern object"),
        ("'echo'", "returns a pattern object or a list of them, not 'echo'"),
        ("['echo']", "pattern must be a name or a pattern object"),
    ],
)
def test_what_is_no_pattern_is_an_error_at_collection(
    run_suite: RunSuite, pytester: pytest.Pytester, returns: str, words: str
) -> None:
    _conftest(pytester, returns)
    result = run_suite(_SUITE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{words}*"])


def test_a_hook_that_says_nothing_adds_nothing(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(_HOOK.format("None"))
    run_suite("""
@pytest.mark.convergence(agents=PAIR)
def test_plain(convergence_session): convergence_session.run()
""").assert_outcomes(passed=1)


# -- outside pytest's hooks ----------------------------------------------------------------------------------------------


class _Silent:
    def on_start(self, durable):
        return [Decide("nothing")]

    def on_message(self, sender, kind, payload):
        return []

    on_timer = on_command = on_message

    def view(self):
        return "nothing"


class _Mute(Pattern):
    name = "mute"

    def machine(self, agent, agents, inputs):
        return _Silent()


def test_an_engine_takes_patterns_of_its_own() -> None:
    engine = ConvergenceEngine(patterns=[_Mute()])
    assert engine.create_session("one", pattern="mute", agents=3).run().output == "nothing"
    assert engine.create_session("two", pattern=_Mute(), agents=3).run().output == "nothing"
    with pytest.raises(ConvergenceUsageError, match="unknown pattern 'mute'"):
        ConvergenceEngine().create_session("other", pattern="mute", agents=3)


def test_a_pattern_that_overrides_nothing_demands_nothing() -> None:
    mute = _Mute()
    agents = ("a", "b", "c", "d")
    mute.validate(agents)
    mute.check_inputs(agents, {"anything": 1})
    assert mute.properties == ()
    assert mute.quorum_of(agents) == 3
    assert mute.output({}) is None
    assert mute.output({"a": 1, "b": 2}) is None
    assert mute.output({"a": 1, "b": 1}) == 1
    assert mute.valid(1, agents, {})
    assert not mute.valid(None, agents, {})
    assert mute.leader("a") is None


class _Nameless(_Mute):
    name = ""


class _Demanding(_Mute):
    properties = ("mutual_exclusio",)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (_Nameless(), "has no name"),
        (_Demanding(), "unknown property 'mutual_exclusio'"),
        (_Mute, "a pattern object"),
    ],
)
def test_a_pattern_is_looked_at_when_the_engine_gets_it(pattern: Pattern, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        ConvergenceEngine(patterns=[pattern])


def test_the_kind_of_a_property_may_be_given_by_its_name() -> None:
    assert Property("p", "always", "It holds.", lambda scope: None).kind == "always"  # type: ignore[arg-type, return-value]
    with pytest.raises(
        ConvergenceUsageError, match="unknown kind of property 'alway': did you mean 'always'"
    ):
        Property("p", "alway", "It holds.", lambda scope: None)  # type: ignore[arg-type, return-value]


# -- the example of the how-to ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def token_ring() -> type[Pattern]:
    """The pattern of the how-to page, as the page shows it."""
    block = next(block for block in blocks_of(ROOT / "docs/how-to/own-pattern.md") if block.info == "python")
    names: dict[str, Any] = {"__name__": "token_ring"}
    exec(compile(block.text, block.place, "exec"), names)
    pattern: type[Pattern] = names["TokenRing"]
    return pattern


@pytest.mark.parametrize("network", NETWORKS)
def test_the_token_ring_of_the_how_to_raises_no_alarm(token_ring: type[Pattern], network: str) -> None:
    async def work(agent):
        await agent.session.sleep(0.05)
        return agent.name

    silent(
        {"pattern": token_ring(), "agents": ["a", "b", "c"], "network": network},
        {"work": work},
        SEEDS,
        accept=lambda outcome: outcome.output == {"a": "a", "b": "b", "c": "c"},
    )

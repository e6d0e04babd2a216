"""Properties in the marker, from plugins and conftest.py files, and what must have been reached."""

import pytest

from tests.architecture.markdown import blocks_of
from tests.architecture.source import ROOT
from tests.plugin.conftest import RunSuite

_OWN = """
from pytest_convergence import Always, LeadsTo, Sometimes

def answered(session):
    return session.agents["client"].state.get("answered", False)

IN_VAIN = LeadsTo("an answer comes", lambda session: True, answered)
CALM = Always("all is well", lambda session: True)
"""


def _hook(pytester: pytest.Pytester, returns: str, more: str = "") -> None:
    pytester.makeconftest(f"{_OWN}{more}\ndef pytest_convergence_properties(config):\n    return {returns}\n")


def test_the_marker_takes_properties_made_on_the_spot(run_suite: RunSuite) -> None:
    result = run_suite("""
from pytest_convergence import Always, Eventually, LeadsTo, Never, Sometimes

GOOD = [
    Always("true", lambda session: True),
    Never("false", lambda session: False),
    Eventually("in the end", lambda session: True),
    Sometimes("late", lambda session: session.now >= 30),
    LeadsTo("soon", lambda session: session.now >= 30, lambda session: session.now >= 30, within=0),
]

@pytest.mark.convergence(agents=PAIR, properties=GOOD)
def test_good(convergence_session):
    convergence_session.run()
    assert convergence_session.sometimes_reached == {"late": True}

@pytest.mark.convergence(agents=PAIR, properties=[Never("late", lambda session: session.now >= 30)])
def test_bad(convergence_session):
    convergence_session.run()
""")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*PropertyViolation: late: this must never hold, but*"])


def test_a_property_of_a_hook_is_chosen_by_name(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    _hook(pytester, "[IN_VAIN, CALM]")
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, properties=["an answer comes"])
def test_marker(convergence_session): convergence_session.run()

@pytest.mark.convergence(agents=PAIR, properties=["all is well", "agreement"])
def test_another(convergence_session): convergence_session.run()

@pytest.mark.convergence(agents=PAIR)
def test_engine(convergence_engine):
    with pytest.raises(AssertionError, match="an answer comes"):
        convergence_engine.create_session("named", properties=["an answer comes"]).run()
""")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*an answer comes: this must follow*"])


def test_a_name_that_nobody_has_is_an_error_at_collection(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    _hook(pytester, "CALM")
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR, properties=["all is wel"])
def test_misspelt(convergence_session): pass
""")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown property 'all is wel': did you mean 'all is well'?*'agreement'*"])


_VOTE = """
@pytest.mark.convergence(pattern="consensus", agents=3)
def test_vote(convergence_session):
    convergence_session.run(proposals={name: 1 for name in convergence_session.agents})

@pytest.mark.convergence(agents=PAIR)
def test_plain(convergence_session):
    convergence_session.run()
"""


@pytest.mark.parametrize(
    ("patterns", "failed"), [('"consensus"', 1), ('"none"', 1), ('"*"', 2), ('"pipeline"', 0)]
)
def test_a_property_that_names_patterns_holds_for_their_sessions_unasked(
    run_suite: RunSuite, pytester: pytest.Pytester, patterns: str, failed: int
) -> None:
    _hook(pytester, f'[Always("impossible", lambda session: False, patterns=[{patterns}])]')
    run_suite(_VOTE).assert_outcomes(passed=2 - failed, failed=failed)


def test_a_module_of_properties_and_workers(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        house_rules="from pytest_convergence import Always\nA = Always('a', lambda s: False, patterns=['*'])\nB = A\n"
    )
    pytester.syspathinsert()
    _hook(pytester, "house_rules", "import house_rules\n")
    run_suite(_VOTE, "-p", "xdist.plugin", "-n", "2").assert_outcomes(failed=2)


def test_a_pattern_of_the_users_own_names_a_property_of_theirs(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    more = """
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
    properties = ("agreement", "impossible")
    def machine(self, agent, agents, inputs): return Says(inputs["value"])

def pytest_convergence_patterns(config): return Echo()
"""
    _hook(pytester, '[Always("impossible", lambda session: False)]', more)
    result = run_suite("""
@pytest.mark.convergence(pattern="echo", agents=2)
def test_echo(convergence_session): convergence_session.run(value=1)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*impossible: this must always hold*"])


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        ("[CALM, CALM]", "hook pytest_convergence_properties: a property named 'all is well' exists already"),
        ("'agreement'", "returns a property object or a list of them, not 'agreement'"),
        ("[3]", "3 is no property; make one with Always"),
        ("Always('x', bool, patterns=['ekho'])", "unknown pattern 'ekho'*The property 'x' names it."),
    ],
)
def test_what_is_no_property_is_an_error_at_collection(
    run_suite: RunSuite, pytester: pytest.Pytester, returns: str, words: str
) -> None:
    _hook(pytester, returns)
    result = run_suite(_VOTE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{words}*".replace("[", "[[]")])


def test_the_example_of_the_how_to_runs(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    page = ROOT / "docs" / "how-to" / "properties.md"
    blocks = {block.text.partition("\n")[0]: block.text for block in blocks_of(page)}
    pytester.makeconftest(blocks["# conftest.py"])
    pytester.makepyfile(house_rules=blocks["# house_rules.py"])
    pytester.syspathinsert()
    result = run_suite(blocks["# test_budget.py"])
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*budget kept: this must always hold*"])


# -- sometimes ---------------------------------------------------------------------------------------------------------

_RARE = """
from pytest_convergence import Network, Sometimes

@pytest.mark.convergence(agents=PAIR, network=Network(latency=(0.001, 0.5)), schedules=8)
def test_rare(convergence_session):
    convergence_session.sometimes("slow", lambda session: session.now > 30.6)
    convergence_session.sometimes("never", lambda session: session.now > 99)
    convergence_session.run()

@pytest.mark.convergence(agents=PAIR, properties=[Sometimes("one", lambda session: True)])
def test_fine(convergence_session):
    convergence_session.run()

def test_without_a_marker(convergence_session_factory):
    session = convergence_session_factory(agents=1)
    session.sometimes("nothing", lambda session: False)
    session.run()
"""
_TWO = ("-p", "xdist.plugin", "-n", "2")


@pytest.mark.parametrize("workers", [(), _TWO], ids=["alone", "xdist"])
@pytest.mark.parametrize("how", ["option", "ini"])
def test_what_is_never_reached_is_an_error_where_that_is_wanted(
    run_suite: RunSuite, pytester: pytest.Pytester, workers: tuple[str, ...], how: str
) -> None:
    pytester.makeini(f"[pytest]\nconvergence_strict = {str(how == 'ini').lower()}\n")
    result = run_suite(_RARE, *workers, *(["--convergence-strict"] if how == "option" else []))
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "none of its 8 schedules reached what must hold sometimes: 'never'. *",
            "its one schedule did not reach what must hold sometimes: 'nothing'. *",
        ]
    )


@pytest.mark.parametrize("limit", ["30.6", "99"])
def test_of_workers_that_share_the_schedules_one_has_to_reach_it(run_suite: RunSuite, limit: str) -> None:
    result = run_suite(
        f"""
from pytest_convergence import Network

@pytest.mark.convergence(agents=PAIR, network=Network(latency=(0.001, 0.5)), schedules=8)
def test_rare(convergence_session):
    convergence_session.sometimes("slow", lambda session: session.now > {limit})
    convergence_session.sometimes("first", lambda session: session.name == "test_rare")
    convergence_session.run()
""",
        *_TWO,
        "--convergence-spread",
        "--convergence-strict",
    )
    failed = result.parseoutcomes().get("failed", 0)
    assert (failed > 0) is (limit == "99")
    if failed:
        result.stdout.fnmatch_lines(["none of its 8 schedules reached what must hold sometimes: 'slow'. *"])


def test_otherwise_it_is_named_in_the_summary(run_suite: RunSuite) -> None:
    result = run_suite(_RARE)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["never reached by any run*", "  test_suite.py::test_rare: never"])
    result.stdout.no_fnmatch_line("*slow")


def test_a_test_that_fails_is_not_asked_what_it_reached(run_suite: RunSuite) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=PAIR)
def test_fails(convergence_session):
    convergence_session.sometimes("never", lambda session: False)
    convergence_session.run()
    assert 0
""",
        "--convergence-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*must hold sometimes*")

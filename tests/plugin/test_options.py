"""Command line options and ini keys: what they do, which goes before which, and how bad values are refused."""

import pytest

from tests.plugin.conftest import RunSuite

_SAYS_ITS_SEED = """
@pytest.mark.convergence(agents=2, seed=7)
def test_says_its_seed(convergence_session):
    assert convergence_session.seed == {seed}
"""
_COUNTS_ITS_RUNS = """
runs = []

@pytest.mark.convergence(agents=2, schedules=3)
def test_counts_its_runs(convergence_session):
    runs.append(convergence_session.seed)

def test_afterwards():
    assert len(runs) == len(set(runs)) == {runs}
"""


def test_the_marker_goes_before_the_ini_file(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_seed = 5\n")
    run_suite(_SAYS_ITS_SEED.format(seed=7)).assert_outcomes(passed=1)


def test_the_ini_file_holds_where_the_marker_says_nothing(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\nconvergence_seed = 5\nconvergence_profile = lossy\n")
    run_suite("""
@pytest.mark.convergence(agents=2)
def test_settings(convergence_session):
    assert convergence_session.seed == 5
    assert convergence_session.options.get("network") == "lossy"
""").assert_outcomes(passed=1)


def test_the_command_line_goes_before_the_marker(run_suite: RunSuite) -> None:
    result = run_suite(_SAYS_ITS_SEED.format(seed=9), "--convergence-seed=9")
    result.assert_outcomes(passed=1)


def test_schedules_of_the_command_line_go_before_the_marker(run_suite: RunSuite) -> None:
    result = run_suite(_COUNTS_ITS_RUNS.format(runs=5), "--convergence-schedules=5")
    result.assert_outcomes(passed=2)


def test_schedules_of_the_marker_go_before_the_ini_file(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\nconvergence_schedules = 8\n")
    run_suite(_COUNTS_ITS_RUNS.format(runs=3)).assert_outcomes(passed=2)


def test_the_profile_of_the_command_line_goes_before_the_network_of_the_marker(run_suite: RunSuite) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=2, network="lan")
def test_settings(convergence_session):
    assert convergence_session.options.get("network") == "chaos"
""",
        "--convergence-profile=chaos",
    )
    result.assert_outcomes(passed=1)


def test_what_a_call_says_goes_before_everything(run_suite: RunSuite) -> None:
    result = run_suite(
        """
@pytest.mark.convergence(agents=2, seed=7)
def test_settings(convergence_session_factory):
    assert convergence_session_factory(seed=3).seed == 3
""",
        "--convergence-seed=9",
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--convergence-schedules=0", "*a whole number >= 1 is needed, not '0'*"),
        ("--convergence-schedules=many", "*a whole number is needed, not 'many'*"),
        ("--convergence-seed=x", "*a whole number is needed, not 'x'*"),
        ("--convergence-profile=losy", "*unknown profile 'losy': did you mean 'lossy'?*"),
        ("--convergence-replay=abc", "*'abc' is no token of a schedule*"),
        ("--convergence-shrink-seconds=-1", "*a number of seconds >= 0 is needed, not '-1'*"),
        ("--convergence-shrink-seconds=x", "*a number of seconds is needed, not 'x'*"),
    ],
)
def test_a_bad_argument_is_a_usage_error(run_suite: RunSuite, argument: str, said: str) -> None:
    result = run_suite("def test_nothing(): pass", argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "convergence_schedules = 0",
            "*ini key convergence_schedules: a whole number >= 1 is needed, not '0'*",
        ),
        ("convergence_seed = seven", "*ini key convergence_seed: a whole number is needed, not 'seven'*"),
        (
            "convergence_profile = wann",
            "*ini key convergence_profile: unknown profile 'wann': did you mean 'wan'?*",
        ),
        ("convergence_replay = abc", "*ini key convergence_replay: a token belongs to one test*"),
    ],
)
def test_a_bad_ini_value_is_a_usage_error(
    run_suite: RunSuite, pytester: pytest.Pytester, line: str, said: str
) -> None:
    pytester.makeini(f"[pytest]\n{line}\n")
    result = run_suite("def test_nothing(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_the_help_lists_what_is_available(run_suite: RunSuite) -> None:
    shown = run_suite("", "--help").stdout.str()
    for option in (
        "schedules",
        "seed",
        "profile",
        "metrics",
        "check-determinism",
        "shrink-seconds",
        "report",
    ):
        assert f"--convergence-{option}" in shown
        assert f"convergence_{option.replace('-', '_')} (" in shown
    assert "--convergence-replay=TOKEN" in shown


LAZY = """
@pytest.mark.convergence(agents=PAIR, seed=1)
def test_imports_lazily(convergence_session):
    async def scenario(session):
        import lazy
        return lazy.DRAWN

    print("drawn", convergence_session.run(scenario).output)
"""


def test_modules_are_imported_before_the_first_world(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(lazy="DRAWN = True\nprint('lazily loaded')")
    pytester.syspathinsert()
    result = run_suite(LAZY, "-s", "--convergence-preimport=lazy", "--convergence-preimport=json")
    out = result.stdout.str()
    assert out.index("lazily loaded") < out.index("drawn True")
    assert out.count("lazily loaded") == 1
    result.assert_outcomes(passed=1)


def test_the_ini_file_may_name_modules_too(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_preimport = json no_such_module")
    result = run_suite(LAZY)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*names 'no_such_module', which cannot be imported: No module named*"])

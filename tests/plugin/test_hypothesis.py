"""Tests under ``@given``: the session-scoped factory, async bodies, and who explores."""

import pytest

from tests.plugin.conftest import RunSuite
from tests.plugin.test_async import NEIGHBOURS

_GIVEN = "-p", "hypothesispytest"


def test_the_factory_is_welcome_under_given(run_suite: RunSuite) -> None:
    result = run_suite(
        """
from hypothesis import given, settings, strategies as st

@pytest.mark.convergence(agents=PAIR)
@settings(max_examples=10, database=None, deadline=None)
@given(word=st.text(max_size=3))
def test_given(convergence_session_factory, word):
    session = convergence_session_factory()
    assert session.run().results["client"] == "HELLO"
""",
        *_GIVEN,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["none * 10 * 10 *", "10 schedules explored*"])


@pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=list(NEIGHBOURS))
def test_async_bodies_run_on_a_loop_for_each_example(
    run_suite: RunSuite, neighbours: tuple[str, ...]
) -> None:
    result = run_suite(
        """
from hypothesis import given, settings, strategies as st

loops = []

@pytest.mark.convergence(agents=PAIR)
@settings(max_examples=5, database=None, deadline=None)
@given(seconds=st.integers(1, 1000))
async def test_given(convergence_session_factory, seconds):
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    assert asyncio.get_running_loop().time() == began + seconds
    assert (await convergence_session_factory().execute()).converged
    loops.append(asyncio.get_running_loop())

def test_afterwards():
    assert len(set(loops)) == len(loops) >= 5
    assert {type(loop).__name__ for loop in loops} == {"WorldLoop"}
""",
        *_GIVEN,
        *neighbours,
    )
    result.assert_outcomes(passed=2)


def test_schedules_are_left_to_hypothesis(run_suite: RunSuite) -> None:
    result = run_suite(
        """
from hypothesis import given, settings, strategies as st

runs = []

@pytest.mark.convergence(agents=PAIR, schedules=50)
@settings(max_examples=5, database=None, deadline=None)
@given(st.integers())
def test_given(number):
    runs.append(number)

def test_afterwards():
    assert len(runs) == 5
""",
        *_GIVEN,
    )
    result.assert_outcomes(passed=2)


def test_async_fixtures_are_set_up_for_each_example(run_suite: RunSuite) -> None:
    result = run_suite(
        """
from hypothesis import HealthCheck, given, settings, strategies as st

loops = []

@pytest.fixture
async def loop():
    await asyncio.sleep(1)
    loops.append(asyncio.get_running_loop())
    return asyncio.get_running_loop()

@pytest.mark.convergence(agents=PAIR)
@settings(max_examples=5, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers())
async def test_given(loop, number):
    assert loop is asyncio.get_running_loop()

def test_afterwards():
    assert len(loops) == 5
""",
        *_GIVEN,
    )
    result.assert_outcomes(passed=2)


def test_a_failing_example_is_shrunk_and_shown_with_its_session(run_suite: RunSuite) -> None:
    result = run_suite(
        """
from hypothesis import given, settings, strategies as st

@settings(database=None, deadline=None)
@given(count=st.integers(1, 5))
def test_given(convergence_session_factory, count):
    outcome = convergence_session_factory(agents=count).run()
    assert len(outcome.views) < 3
""",
        *_GIVEN,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*count=3,",
            "*- convergence counterexample -*",
            "It needs nothing to go wrong*",
            "*pin it: @example(count=3)",
        ]
    )


def test_the_inner_test_is_put_back(run_suite: RunSuite) -> None:
    run_suite(
        """
from hypothesis import given, settings, strategies as st
import inspect

@pytest.mark.convergence
@settings(max_examples=2, database=None, deadline=None)
@given(st.integers())
async def test_given(number): pass

def test_afterwards():
    assert inspect.iscoroutinefunction(test_given.hypothesis.inner_test)
""",
        *_GIVEN,
    ).assert_outcomes(passed=2)

"""``async def`` tests with the marker run on the simulated loop, once, whichever async plugin is there."""

import importlib.util

import pytest

from tests.plugin.conftest import RunSuite

# Each is a set of neighbours: none, pytest-asyncio in its two modes, anyio in its two modes, both.
NEIGHBOURS = {
    "alone": (),
    "asyncio-strict": ("-p", "asyncio", "-o", "asyncio_mode=strict"),
    "asyncio-auto": ("-p", "asyncio", "-o", "asyncio_mode=auto"),
    "anyio-strict": ("-p", "anyio"),
    "anyio-auto": ("-p", "anyio", "-o", "anyio_mode=auto"),
    "both": ("-p", "anyio", "-p", "asyncio"),
}

_SUITE = """
import time

bodies = []

@pytest.fixture
async def database(convergence_session):
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(100)
    yield began
    bodies.append("closed")

@pytest.fixture
def table(database):
    return ("table", database)

@pytest.fixture
async def slow():
    await asyncio.sleep(7)
    return "slow"

@pytest.mark.convergence(agents=PAIR)
async def test_function(convergence_session):
    began = time.monotonic()
    await asyncio.sleep(3600)
    outcome = await convergence_session.execute()
    assert outcome.results["client"] == "HELLO"
    assert time.monotonic() - began >= 3630
    bodies.append("function")

@pytest.mark.convergence(agents=PAIR)
async def test_fixtures(convergence_session, table, database, slow):
    assert type(asyncio.get_running_loop()).__name__ == "WorldLoop"
    assert table == ("table", database) and slow == "slow"
    assert asyncio.get_running_loop().time() >= 107
    assert (await convergence_session.execute()).converged
    bodies.append("fixtures")

class TestIt:
    @pytest.fixture
    async def mine(self):
        await asyncio.sleep(1)
        return self

    @pytest.mark.convergence
    @pytest.mark.parametrize("number", [1, 2])
    async def test_method(self, mine, number):
        assert mine is self
        bodies.append(number)

    @staticmethod
    @pytest.mark.convergence
    async def test_static():
        bodies.append("static")

def test_afterwards():
    assert bodies == ["function", "fixtures", "closed", 1, 2, "static"]
"""


@pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=list(NEIGHBOURS))
def test_async_tests_and_fixtures_run_on_the_simulated_loop(
    run_suite: RunSuite, neighbours: tuple[str, ...]
) -> None:
    result = run_suite(_SUITE, *neighbours, "-v")
    result.assert_outcomes(passed=6)
    assert "test_suite.py::test_function PASSED" in result.stdout.str()


@pytest.mark.parametrize("name", ["asyncio", "anyio"])
def test_the_marker_of_another_runner_does_not_run_it_twice(run_suite: RunSuite, name: str) -> None:
    result = run_suite(
        f"""
pytestmark = pytest.mark.{name}
runs = []

@pytest.mark.{name}
@pytest.mark.convergence
async def test_it():
    runs.append(type(asyncio.get_running_loop()).__name__)

@pytest.mark.convergence
class TestClass:
    async def test_it(self):
        runs.append(type(asyncio.get_running_loop()).__name__)

async def test_theirs():
    assert type(asyncio.get_running_loop()).__name__ != "WorldLoop"
    assert runs == ["WorldLoop"] * 2
""",
        "-p",
        name,
        "-k",
        "not trio",
        "-v",
    )
    on_trio_too = name == "anyio" and importlib.util.find_spec("trio") is not None
    result.assert_outcomes(passed=3, deselected=1 if on_trio_too else 0)
    assert "test_suite.py::test_it PASSED" in result.stdout.str()


def test_unmarked_async_tests_are_left_alone(run_suite: RunSuite) -> None:
    result = run_suite(
        """
async def test_theirs():
    assert type(asyncio.get_running_loop()).__name__ != "WorldLoop"
""",
        *NEIGHBOURS["asyncio-auto"],
    )
    result.assert_outcomes(passed=1)


def test_each_schedule_has_a_loop_and_async_fixtures_of_its_own(run_suite: RunSuite) -> None:
    run_suite("""
loops, log = [], []

@pytest.fixture
async def cluster(convergence_session):
    await asyncio.sleep(1)
    log.append("cluster")
    yield convergence_session
    log.append("end")

@pytest.fixture
async def other():
    log.append("other")
    return asyncio.get_running_loop()

@pytest.mark.convergence(agents=PAIR, schedules=3)
async def test_it(cluster, other):
    assert other is asyncio.get_running_loop()
    assert (await cluster.execute()).converged
    loops.append(other)

def test_afterwards():
    assert len(set(loops)) == 3
    assert sorted(log) == sorted(3 * ["cluster", "other", "end"])
""").assert_outcomes(passed=2)


def test_an_async_fixture_of_a_wider_scope_fails_by_name(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture(scope="module")
async def database():
    return 1

@pytest.mark.convergence
async def test_it(database): pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the async fixture 'database' has scope 'module'*"])


def test_an_async_fixture_of_a_plain_test_fails_by_name(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture
async def database():
    return 1

@pytest.mark.convergence(agents=PAIR)
def test_it(database, convergence_session): pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the fixture 'database' is async, but the test is not*"])


def test_an_async_fixture_that_is_used_too_early_fails_by_name(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture
async def database():
    return 1

@pytest.fixture
def early(request):
    return request.getfixturevalue("database").table

@pytest.mark.convergence
async def test_it(database, early): pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the fixture 'database' is async*'table' cannot be used before*"])


def test_an_async_fixture_can_be_asked_for_by_name_in_the_body(run_suite: RunSuite) -> None:
    run_suite("""
@pytest.fixture
async def database():
    return 1

@pytest.mark.convergence
async def test_it(database, request):
    assert request.getfixturevalue("database") == 1
""").assert_outcomes(passed=1)


def test_a_failing_async_fixture_is_named(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture
async def database():
    raise OSError("no database")

@pytest.mark.convergence
async def test_it(database): pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *OSError: no database", "E *while the fixture 'database' was set up*"])


def test_a_fixture_that_yields_twice_is_named(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.fixture
async def database():
    yield 1
    yield 2

@pytest.mark.convergence
async def test_it(database): pass
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *the fixture 'database' yields more than once*"])


def test_plain_generator_fixtures_that_need_an_async_one_are_torn_down(run_suite: RunSuite) -> None:
    run_suite("""
log = []

@pytest.fixture
async def database():
    yield "db"
    log.append("database")

@pytest.fixture
def table(database):
    yield database + ".table"
    log.append("table")

@pytest.mark.convergence
async def test_it(table):
    assert table == "db.table"

def test_afterwards():
    assert log == ["table", "database"]
""").assert_outcomes(passed=2)


def test_an_async_test_that_waits_for_nothing_is_a_deadlock(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence
async def test_it():
    await asyncio.Event().wait()
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *DeadlockError: deadlock*"])


def test_run_inside_of_an_async_test_says_what_to_write(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR)
async def test_it(convergence_session):
    convergence_session.run()
""")
    result.stdout.fnmatch_lines(["E *await session.execute(*"])


def test_a_failing_async_test_shows_its_own_line(run_suite: RunSuite) -> None:
    result = run_suite("""
@pytest.mark.convergence(agents=PAIR)
async def test_it(convergence_session):
    outcome = await convergence_session.execute()
    assert outcome.results["client"] == "goodbye"
""")
    result.stdout.fnmatch_lines([">*assert outcome.results*", "E *assert 'HELLO' == 'goodbye'"])
    assert "body.py" not in result.stdout.str()

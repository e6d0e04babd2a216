"""``--convergence-check-determinism``: each schedule is run twice and the two runs are compared."""

from pathlib import Path

import pytest

from tests.plugin.conftest import RunSuite

_CHECK = "--convergence-check-determinism"
_LEAKY = """
calls = []

async def leaky(agent):
    calls.append(1)
    await asyncio.sleep(len(calls))
    await agent.send("other", len(calls))

async def other(agent):
    await agent.receive()

@pytest.mark.convergence(agents={"leaky": leaky, "other": other}, schedules=3)
def test_leaky(convergence_session):
    convergence_session.run()
"""


def test_the_first_difference_is_named(run_suite: RunSuite) -> None:
    result = run_suite(_LEAKY, _CHECK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the same schedule was run twice, and the two runs differ.",
            "session 'test_leaky': at virtual time *: the first run had *, the second had *",
        ]
    )


def test_a_test_may_ask_for_it_by_the_name_of_the_property(run_suite: RunSuite) -> None:
    result = run_suite(_LEAKY.replace("schedules=3", 'properties=["deterministic_replay"]'))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the same schedule was run twice, and the two runs differ."])


def test_without_the_option_nobody_notices(run_suite: RunSuite) -> None:
    run_suite(_LEAKY).assert_outcomes(passed=1)


def test_equal_runs_pass_and_each_schedule_counts_once(run_suite: RunSuite) -> None:
    result = run_suite(
        """
runs = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=3, trace=False)
def test_it(convergence_session):
    runs.append(convergence_session.seed)
    convergence_session.run()

@pytest.mark.convergence(agents=PAIR)
async def test_async(convergence_session):
    await convergence_session.execute()

def test_afterwards():
    assert runs[0::2] == runs[1::2] and len(runs) == 6
""",
        _CHECK,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["4 schedules explored*"])


def test_other_sessions_in_the_second_run_are_a_difference(run_suite: RunSuite) -> None:
    result = run_suite(
        """
runs = []

@pytest.mark.convergence(agents=PAIR)
def test_it(convergence_session_factory):
    runs.append(1)
    for _ in runs:
        convergence_session_factory(name="extra").run()
""",
        _CHECK,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["the first run had the sessions ['extra'], the second ['extra', 'extra (2)']"]
    )


def test_a_second_run_that_fails_is_a_difference(run_suite: RunSuite) -> None:
    result = run_suite(
        """
runs = []

@pytest.mark.convergence(agents=PAIR)
def test_it(convergence_session):
    runs.append(convergence_session.run())
    assert len(runs) < 2
""",
        _CHECK,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *this was the second run under the same schedule; the first one passed*"])


def test_the_ini_key_does_the_same(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_check_determinism = true\n")
    run_suite(_LEAKY).assert_outcomes(failed=1)


# -- what has been left behind -----------------------------------------------------------------------------------------

_LEFT = """
import collections, functools, itertools, random, types

class Store:
    shared = {}
    __slots__ = ("kept",)
    def __init__(self): self.kept = []

@functools.lru_cache
def cached(x): return x

COUNTER, NUMBER, STORE, RNG = itertools.count(1), 0, Store(), random.Random(1)
ROUND = []
ROUND.append(ROUND)
LONG = list(range(5000))
SAME = types.SimpleNamespace(a={1, 2}, b=frozenset(), c=(collections.deque([1]),), d=Store)
LEAK = None

@pytest.fixture(scope="module")
def shared_list(): return []

async def leaky(agent):
    await asyncio.sleep(LEAK_EXPRESSION)

@pytest.mark.convergence(agents={"leaky": leaky})
def test_leaky(convergence_session, shared_list):
    session = convergence_session
    global LEAK
    LEAK = shared_list
    session.run()
"""


@pytest.mark.parametrize(
    ("leak", "named"),
    [
        ("next(COUNTER)", "test_suite.COUNTER was count(1), and is count(2)"),
        ("NUMBER_SEES", "test_suite.NUMBER was 0, and is 1"),
        (
            "Store.shared.setdefault(len(Store.shared), 1) and len(Store.shared)",
            "test_suite.Store.shared was {}, and is {0: 1}",
        ),
        (
            "STORE.kept.append(1) or len(STORE.kept)",
            "test_suite.STORE was Store(kept=[[]]), and is Store(kept=[[]1])",
        ),
        ("RNG.random()", "test_suite.RNG was Random in state *, and is Random in state *"),
        (
            "cached(cached.cache_info().currsize + 1)",
            "the cache of test_suite.cached() was 0 values, and is 1 values",
        ),
        ("LEAK.append(1) or len(LEAK)", "fixture 'shared_list' was [[]], and is [[]1]"),
        ("helper.SEEN.add(len(helper.SEEN)) or len(helper.SEEN)", "helper.SEEN was set(), and is {0}"),
    ],
)
def test_state_that_leaks_from_run_to_run_is_named(
    run_suite: RunSuite, pytester: pytest.Pytester, leak: str, named: str
) -> None:
    pytester.makepyfile(helper="SEEN = set()\n")
    pytester.syspathinsert()
    suite = _LEFT.replace("LEAK_EXPRESSION", leak)
    if leak == "NUMBER_SEES":
        suite = suite.replace(
            "    await asyncio.sleep(NUMBER_SEES)",
            "    global NUMBER\n    NUMBER += 1\n    await asyncio.sleep(NUMBER)",
        )
    result = run_suite("import helper\n" + suite, _CHECK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the same schedule was run twice, and the two runs differ.",
            "What the first run has left behind:",
            f"  {named}",
        ]
    )
    for innocent in ("ROUND", "LONG", "SAME"):
        result.stdout.no_fnmatch_line(f"  test_suite.{innocent} *")


def test_a_second_run_that_fails_names_what_the_first_left_behind(run_suite: RunSuite) -> None:
    result = run_suite(
        """
seen = []

@pytest.mark.convergence(agents=1)
def test_it(convergence_session):
    seen.append(1)
    convergence_session.run()
    assert len(seen) == 1
""",
        _CHECK,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the second run under the same schedule*",
            "*What the first run has left behind:",
            "*  test_suite.seen was [[]], and is [[]1]",
        ]
    )


def test_no_code_of_the_users_runs_to_describe_what_is_left(run_suite: RunSuite) -> None:
    run_suite(
        """
class Touchy(dict):
    def __getattribute__(self, name): raise RuntimeError("touched")
    def __repr__(self): raise RuntimeError("touched")
    def __iter__(self): raise RuntimeError("touched")
    def __len__(self): raise RuntimeError("touched")
    def __eq__(self, other): raise RuntimeError("touched")
    __hash__ = None

class Object:
    def __getattribute__(self, name): raise RuntimeError("touched")
    def __repr__(self): raise RuntimeError("touched")

TOUCHY, OBJECT = Touchy(), Object()

@pytest.mark.convergence(agents=1)
def test_it(convergence_session): convergence_session.run()
""",
        _CHECK,
    ).assert_outcomes(passed=1)


# -- another process, where strings hash otherwise ---------------------------------------------------------------------

_SETS = """
async def talker(agent):
    for name in {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"}:
        await agent.send("listener", name)

async def listener(agent):
    for _ in range(8):
        await agent.receive()

@pytest.mark.convergence(agents={"talker": talker, "listener": listener})
def test_order_of_a_set(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(agents=PAIR)
def test_order_of_nothing(convergence_session):
    convergence_session.run()
"""


def test_the_order_of_a_set_of_strings_is_named(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    result = run_suite(_SETS, _CHECK, f"--junitxml={tmp_path}/junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_order_of_a_set: the same schedule was run in two processes, and they differ.",
            "  schedule 1, session 'test_order_of_a_set': at virtual time *",
            "In the second process strings hash otherwise (PYTHONHASHSEED=1): *sort sets of strings*",
        ]
    )
    assert "test_order_of_nothing" not in result.stdout.str()


def test_who_pins_the_hash_seed_is_spared_the_other_process(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "5")
    assert run_suite(_SETS, _CHECK).ret == pytest.ExitCode.OK


def test_a_test_that_fails_in_the_other_process_only_is_shown(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    result = run_suite(
        """
import os

@pytest.mark.convergence(agents=PAIR)
def test_it(convergence_session):
    convergence_session.run()
    assert os.environ.get("PYTHONHASHSEED") is None, "only there"
""",
        _CHECK,
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the tests fail in the second process:", "*only there*"])


def test_the_line_that_replays_names_a_pinned_hash_seed(
    run_suite: RunSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "5")
    result = run_suite(
        """
@pytest.mark.convergence(agents=PAIR, network="lossy", seed=1)
def test_it(convergence_session):
    convergence_session.never("never", lambda world: world.now > 0)
    convergence_session.run()
"""
    )
    result.stdout.fnmatch_lines(["*PYTHONHASHSEED=5 pytest * --convergence-replay=*"])


@pytest.mark.parametrize(
    "order",
    [
        "numbers({Thing(n) for n in range(33)})",
        "numbers(weakref.WeakSet(made := [Thing(n) for n in range(33)]))",
        "[id(object()) + len(KEPT) for _ in range(9) if not KEPT.append(bytearray(len(KEPT) * 64))]",
    ],
    ids=["a set of objects", "a WeakSet of objects", "id()"],
)
def test_an_order_that_no_run_repeats_is_named(run_suite: RunSuite, order: str) -> None:
    result = run_suite(
        f"""
import weakref

KEPT = []

class Thing:
    def __init__(self, number):
        self.number = number

def numbers(things):
    return [thing.number for thing in things]

async def leaky(agent):
    agent.observe("order", seen={order})

@pytest.mark.convergence(agents={{"leaky": leaky}})
def test_leaky(convergence_session):
    convergence_session.run()
""",
        _CHECK,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["session 'test_leaky': at virtual time *: the first run had *'order'*, the second had *"]
    )


_SERVICE = """
import asyncio

HANDLED = []


async def serve():
    async def handle(reader, writer):
        HANDLED.append((await reader.readline()).decode().strip())
        writer.write(b"number %d" % len(HANDLED))
        writer.close()

    await (await asyncio.start_server(handle, "0.0.0.0", 80)).serve_forever()
"""
_ON_HOSTS = """
import service

async def ask():
    await asyncio.sleep(1)
    reader, writer = await asyncio.open_connection("web", 80)
    writer.write(b"Ann\\n")
    answer = await reader.read()
    writer.close()
    return answer

@pytest.mark.convergence
def test_service(convergence_session):
    convergence_session.host("web", {program})
    convergence_session.host("client", ask)
    convergence_session.run()
"""


@pytest.mark.parametrize("program", ["service.serve", "service.serve, process=True"])
def test_a_global_that_a_program_on_a_host_leaves_behind_is_named(
    run_suite: RunSuite, pytester: pytest.Pytester, program: str
) -> None:
    pytester.makepyfile(service=_SERVICE)
    pytester.syspathinsert()
    result = run_suite(_ON_HOSTS.format(program=program), _CHECK)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "the same schedule was run twice, and the two runs differ.",
            "session 'test_service': at virtual time *number 1*number 2*",
            "What the first run has left behind:",
            "  service.HANDLED was [[]], and is [[]'Ann']",
        ]
    )


@pytest.mark.parametrize(
    ("program", "option"),
    [
        ('"service:serve", process=True', "-v"),  # its modules are its own, and end with it
        ("service.serve", "--convergence-isolate"),
    ],
)
def test_who_has_modules_or_a_process_of_their_own_leave_nothing_behind(
    run_suite: RunSuite, pytester: pytest.Pytester, program: str, option: str
) -> None:
    pytester.makepyfile(service=_SERVICE)
    pytester.syspathinsert()
    run_suite(_ON_HOSTS.format(program=program), _CHECK, option).assert_outcomes(passed=1)

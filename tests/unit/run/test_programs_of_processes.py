"""What the program of a process has to itself: modules, standard streams, the root of logging."""

import asyncio
import logging
import os
import select
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence import Session
from pytest_convergence._engine.base.diagram import words_of
from pytest_convergence.errors import AgentError, ConvergenceUsageError
from tests.unit.sim.harness import make_session


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package with state at module level, in a namespace that it shares with others."""
    package = tmp_path / "our_company" / "counter"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from . import state\n")
    (package / "state.py").write_text("calls = 0\n")
    (package / "main.py").write_text(
        textwrap.dedent(
            """
            import asyncio, time
            from our_company.counter import state

            def count(times=1):
                for _ in range(times):
                    time.sleep(1)  # others go on
                    state.calls += 1
                return state.calls

            async def count_slowly():
                await asyncio.sleep(1)
                return count()

            def count_elsewhere():
                import our_company.counter.state as imported_late
                from our_company import counter
                assert imported_late is counter.state is state
                return count()
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    import our_company.counter.main  # type: ignore[import-not-found]

    yield our_company.counter
    for name in [name for name in sys.modules if name.partition(".")[0] == "our_company"]:
        del sys.modules[name]


@pytest.mark.parametrize("root", ["our_company", "our_company.counter"])
@pytest.mark.parametrize("function", ["count", "count_slowly", "count_elsewhere"])
def test_each_process_has_module_level_state_of_its_own(company: Any, function: str, root: str) -> None:
    session = make_session()
    for name in ("a", "b"):
        session.host(name, getattr(company.main, function), process=True, modules=[root])
    session.host("named", f"our_company.counter.main:{function}", process=True)
    session.host("shared", company.main.count, 2, process=True)
    modules = dict(sys.modules)
    assert session.run().results == {"a": 1, "b": 1, "named": 1, "shared": 2}
    assert company.state.calls == 2
    assert sys.modules == modules
    assert sys.modules["our_company"].counter is company


def test_a_crash_loses_what_modules_hold(company: Any) -> None:
    async def scenario(session: Session) -> None:
        await session.sleep(2.5)
        session.hosts["a"].crash()
        session.hosts["a"].restart()

    session = make_session()
    session.host("a", company.main.count, 4, process=True, modules="our_company.counter")
    session.run(scenario)
    session = make_session()
    session.host("a", company.main.count, 4, process=True, modules="our_company.counter")

    async def wait(session: Session) -> Any:
        await scenario(session)
        return await session.finished()

    assert session.run(wait).output == {"a": 4}
    assert company.state.calls == 0


def test_what_is_shared_and_imported_late_stays(company: Any, tmp_path: Path) -> None:
    (tmp_path / "imported_late.py").write_text("")
    (tmp_path / "our_company" / "late.py").write_text("import imported_late")

    def program() -> None:
        import our_company.late  # type: ignore[import-not-found]  # noqa: F401

    session = make_session()
    session.host("a", program, process=True, modules=["our_company"])
    session.run()
    assert "imported_late" in sys.modules
    assert "our_company.late" not in sys.modules
    del sys.modules["imported_late"]


def talk(name: str) -> None:
    print(f"I am {name}")  # noqa: T201
    time.sleep(1)
    sys.stdout.write("half ")
    time.sleep(1)
    sys.stdout.write("a line\nand ano")
    os.write(2, b"from the descriptor\n")
    sys.stderr.buffer.write(b"bytes \xff\n")


def test_what_a_process_prints_is_kept_per_host_with_its_time(capfd: pytest.CaptureFixture[str]) -> None:
    session = make_session()
    hosts = [session.host(name, talk, name, process=True) for name in ("Ann", "Bob")]
    outcome = session.run()
    assert "".join(capfd.readouterr()) == ""
    for host in hosts:
        assert host.stdout == f"I am {host.name}\nhalf a line\nand ano"
        assert host.stderr == "from the descriptor\nbytes \\xff\n"
        assert [(round(line.at, 3), line.stream, line.text) for line in host.output] == [
            (0.0, "stdout", f"I am {host.name}"),
            (2.0, "stdout", "half a line"),
            (2.0, "stderr", "from the descriptor"),
            (2.0, "stderr", "bytes \\xff"),
            (2.0, "stdout", "and ano"),
        ]
    told = [(event.agent, event.detail["line"]) for event in outcome.trace if event.kind == "output"]
    assert told[:2] == [("Ann", "I am Ann"), ("Bob", "I am Bob")]
    assert "stdout: 'half a line'" in [words_of(event) for event in outcome.trace]


def test_what_was_printed_before_a_crash_is_there_and_nothing_after_it() -> None:
    def program() -> None:
        try:
            print("begun")  # noqa: T201
            sys.stdout.write("half a li")
            time.sleep(10)
        finally:
            print("never said")  # noqa: T201

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        host.crash()
        host.restart()
        await session.sleep(1)

    session = make_session()
    host = session.host("a", program, process=True)
    session.run(scenario)
    assert [line.text for line in host.output] == ["begun", "half a li"] * 2
    assert host.stdout == "begun\nhalf a li" * 2


def test_records_of_logging_come_out_at_the_process_that_logs(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("shared by all")

    def first() -> None:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        logger.addHandler(logging.StreamHandler())
        time.sleep(2)
        logger.info("first")

    def second() -> None:
        time.sleep(1)
        logger.info("not told: the level of this process is another")
        logger.warning("second")

    session = make_session()
    one, other = session.host("one", first, process=True), session.host("other", second, process=True)
    before = list(logging.root.handlers), logging.root.level
    try:
        session.run()
    finally:
        logger.handlers.clear()
    assert (logging.root.handlers, logging.root.level) == before
    assert one.stderr == "first\nINFO first\n"
    assert other.stderr == "second\n"
    assert [record.getMessage() for record in caplog.records] == ["second", "first"]


def test_who_reads_waits_alone() -> None:
    def program() -> list[str]:
        name = input("Who are you? ")
        return [name, sys.stdin.readline(), *sys.stdin]

    def tick() -> float:
        time.sleep(1)
        return time.monotonic()

    async def scenario(session: Session) -> Any:
        await session.sleep(5)
        host.stdin.write("Bob\nsecond")
        await session.sleep(1)
        host.stdin.write(b" line\nthird\n")
        host.stdin.close()
        return await session.finished()

    session = make_session()
    host = session.host("a", program, process=True)
    session.host("b", tick, process=True)
    host.stdin.write("I am ")
    assert session.run(scenario).output == {"a": ["I am Bob", "second line\n", "third\n"], "b": 1.0}
    assert host.stdout == "Who are you? "


def test_the_end_of_the_input_is_the_end_of_the_file() -> None:
    session = make_session()
    host = session.host("a", input, process=True)
    host.stdin.close()
    with pytest.raises(AgentError, match="EOFError"):
        session.run()
    with pytest.raises(ConvergenceUsageError, match="was closed"):
        host.stdin.write("more")


def test_the_input_can_be_waited_for_together_with_sockets() -> None:
    def program() -> tuple[bool, str]:
        nothing = select.select([sys.stdin], [], [], 1)[0]
        ready = select.select([sys.stdin], [], [])[0]
        return bool(nothing), ready[0].readline()

    async def with_a_loop() -> str:
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()
        loop.add_reader(sys.stdin, lambda: line.done() or line.set_result(sys.stdin.readline()))
        return await line

    async def scenario(session: Session) -> Any:
        await session.sleep(5)
        for host in session.hosts.values():
            host.stdin.write("go\n")
        return await session.finished()

    session = make_session()
    session.host("a", program, process=True)
    session.host("b", with_a_loop, process=True)
    assert session.run(scenario).output == {"a": (False, "go\n"), "b": "go\n"}


async def nothing() -> None: ...


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"main": "no colon", "process": True}, "written 'package.module:function'"),
        ({"main": "module:main"}, "needs a process of its own"),
        ({"main": nothing, "process": "yes"}, "process must be True or False, not 'yes'"),
        ({"main": nothing, "modules": ["app"]}, "needs a process"),
        ({"main": nothing, "process": True, "modules": ["json"]}, "'json' cannot be had afresh"),
        ({"main": nothing, "process": True, "modules": ["pytest_convergence"]}, "shared by all hosts"),
        ({"main": nothing, "process": True, "modules": [3]}, "names of modules, not 3"),
        ({"main": nothing, "process": True, "modules": ["a b"]}, "not 'a b'"),
    ],
)
def test_bad_programs_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=message):
        make_session().host("a", options.pop("main"), **options)


def test_a_function_inside_a_function_cannot_be_had_afresh() -> None:
    def program() -> None: ...

    with pytest.raises(ConvergenceUsageError, match="is made inside a function"):
        make_session().host("a", program, process=True, modules=[__name__])


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr", "output"])
def test_a_host_that_is_no_process_has_no_streams(name: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=f"no {name} of its own"):
        getattr(make_session().host("a", nothing), name)


def test_only_texts_can_be_typed() -> None:
    host = make_session().host("a", nothing, process=True)
    with pytest.raises(ConvergenceUsageError, match="not 3"):
        host.stdin.write(3)  # type: ignore[arg-type]


class LoopOfTheProgram(asyncio.SelectorEventLoop):
    """A loop that a program brings along."""


class PolicyOfTheProgram(asyncio.DefaultEventLoopPolicy):
    """Makes such loops."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return LoopOfTheProgram()


def test_a_policy_of_event_loops_is_that_of_the_process_which_sets_it() -> None:
    async def look() -> tuple[str, float]:
        await asyncio.sleep(2)
        return type(asyncio.get_running_loop()).__name__, time.monotonic()

    def program(*, sets: bool) -> tuple[str, float]:
        if sets:
            asyncio.set_event_loop_policy(PolicyOfTheProgram())
        time.sleep(1)
        return asyncio.run(look())

    before = asyncio.get_event_loop_policy()
    session = make_session()
    session.host("one", partial(program, sets=True), process=True)
    session.host("other", partial(program, sets=False), process=True)
    assert session.run().results == {"one": ("LoopOfTheProgram", 3.0), "other": ("ProcessLoop", 3.0)}
    assert asyncio.get_event_loop_policy() is before

"""``--convergence-isolate``: the body of each run is run in a process of its own.

1. Before a run the process forks. The child runs the body, tells what became of it by a pipe, and ends at once: no
   ``atexit``, no teardown. So whatever a run leaves behind in modules, caches and singletons is gone with it, and each run
   begins where the first one did.
2. Fixtures are set up and torn down in pytest's own process, as they are without this option.
3. Told are values of ours alone (labels, numbers, texts): a user's object need not be fit to be sent.
4. What ends a test is run once more in pytest's own process, for its traceback and its trace: the smallest failing run,
   a skip. That process has seen no other run, so it does the same there.
5. A child that ends before it has told anything (a crash in C, ``os._exit``) is a failure of its run. What it has chosen
   until then it has told while it ran, so this failure is reduced as well; it is made once more in a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

import pytest

from pytest_convergence._engine.run.compare import Record
from pytest_convergence._engine.sim.shims.installation import install
from pytest_convergence._pytest.accounts import Account
from pytest_convergence._pytest.failures import (
    FAILURES,
    Elsewhere,
    Signature,
    first_line,
    kind_of,
    signature_of,
)
from pytest_convergence._pytest.findings import again_line, effective_seed, rerun_line, schedule_words
from pytest_convergence._pytest.journal import Journal, accounts_of, frames_in
from pytest_convergence._pytest.marker import Plan
from pytest_convergence._pytest.renewal import forget_output, renew_fixtures
from pytest_convergence._pytest.running_test import Heard, RunningTest
from pytest_convergence._pytest.tracebacks import without_machinery
from pytest_convergence.explore.novelty import StateWatch
from pytest_convergence.metrics import Tally

__all__ = ["check_isolable", "isolated", "shown_here"]

Once = Callable[[pytest.Function, RunningTest], None]

_OPTION: Final = "--convergence-isolate"
_HARMLESS: Final = ("pytest-convergence watchdog", "pytest_timeout ")
"""How the names of threads begin that a child can do without: each begins its own, or needs none."""
_ENDING_SECONDS: Final = 1.0
_PLAIN: Final = (str, int, float, bool, bytes, type(None))


class _Warned(NamedTuple):
    text: str
    category: tuple[str, str]
    filename: str
    lineno: int


class _Message(NamedTuple):
    """What a child tells of its run; ``has_ended_otherwise`` if it neither passed nor failed."""

    failure: tuple[Signature, str, str, str] | None = None
    has_ended_otherwise: bool = False
    heard: Heard = Heard((), (), {})
    seen: Sequence[Mapping[int, int]] | None = None
    directed: Mapping[int, Any] = {}
    made: int = 0
    is_counted: bool = False
    counted: Mapping[str, Any] | None = None
    reached: Mapping[str, bool] = {}
    sums: tuple[int, float, float] = (0, 0.0, 0.0)
    warned: Sequence[_Warned] = ()
    printed: tuple[str, str] = ("", "")
    properties: Sequence[tuple[str, Any]] = ()


# -- what cannot be isolated --------------------------------------------------------------------------------------------


def check_isolable(item: pytest.Item, plan: Plan) -> None:
    """Fail a test of which no run could be made in a process of its own."""
    why = ""
    if plan.is_given:
        why = (
            "Hypothesis draws its examples in pytest's own process, and they would be drawn in another one. Let the "
            "marker search (schedules=N) instead of @given"
        )
    elif not isinstance(item, pytest.Function) or getattr(item, "nofuncargs", False):
        why = "only test functions and methods of plain classes can be run in processes of their own"
    if why:
        pytest.fail(f"{_OPTION} cannot isolate {item.nodeid}: {why}, or run it {_WITHOUT}.", pytrace=False)


_WITHOUT: Final = "without the option (-o convergence_isolate=false where the ini file sets it)"


def _check_threads(item: pytest.Item) -> None:
    """Fail if other threads are alive: a forked process has only the thread that forked."""
    current = threading.current_thread()
    others = [
        thread
        for thread in threading.enumerate()
        if thread is not current
        and not thread.name.startswith(_HARMLESS)
        and not isinstance(thread, threading._DummyThread)  # its end is known to nobody
    ]
    for thread in others:  # a thread of a host has ended for its program a moment before it has ended
        thread.join(_ENDING_SECONDS / len(others))
    alive = [thread.name for thread in others if thread.is_alive()]
    if alive:
        names = ", ".join(map(repr, alive))
        pytest.fail(
            f"{_OPTION} cannot isolate {item.nodeid}: {'a thread is' if len(alive) == 1 else 'threads are'} alive in "
            f"pytest's process ({names}), and a forked process has only the thread that forked: it would wait for the "
            "others for ever. End them before the test (a fixture of a wider scope has started them, perhaps), or run it "
            f"{_WITHOUT}.",
            pytrace=False,
        )


# -- in pytest's own process --------------------------------------------------------------------------------------------


def isolated(here: Once) -> Once:
    """Return what runs the body as ``here`` does, in a process of its own.

    It raises what a skip raises here, :class:`Elsewhere` for a failure, and nothing if the run has passed.
    """

    def once(item: pytest.Function, running: RunningTest) -> None:
        __tracebackhide__ = True
        _check_threads(item)
        message, told, end = _ask_child(item, running, here)
        if message is None:
            accounts = accounts_of(told)
            running.run.heard = Heard(accounts, accounts if running.run.course else (), {})
            raise _dead(running, end)
        if message.has_ended_otherwise:
            here(item, running)
            return
        _take_over(item, running, message)
        if message.failure is not None:
            raise Elsewhere(*message.failure)

    return once


def _ask_child(
    item: pytest.Function, running: RunningTest, here: Once
) -> tuple[_Message | None, list[Any], int]:
    """Make the run in a child; return what it tells at last, ``None`` if nothing, what it told before, and how it ended."""
    install()  # which takes as long as many runs, and would be done by every child
    _flush(item.config)
    freezes = not gc.get_freeze_count()  # what somebody else has frozen stays so
    if freezes:  # or the child's collections would touch, and so copy, every object there is
        gc.freeze()
    own, pid = os.getpid(), 0
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of threads. Those that matter have been looked for; a worker of xdist has one of its own.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            os.close(reading)
            _be_child(item, running, here, writing)
        if freezes:
            gc.unfreeze()
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = list(frames_in(pipe))
        end = os.waitpid(pid, 0)[1]
    except BaseException:  # Ctrl-C, or a time limit: nobody waits for the run any more
        if os.getpid() != own:
            os._exit(1)  # it has struck the child before that began
        if pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        raise
    message = told.pop() if told and isinstance(told[-1], _Message) else None
    return message, told, end


def _flush(config: pytest.Config) -> None:
    """Write what lies in buffers, or the child would write it again."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, reporter):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
            stream.flush()  # type: ignore[union-attr]


def _take_over(item: pytest.Function, running: RunningTest, message: _Message) -> None:
    """Let the test be as if the run had been made here."""
    run = running.run
    run.heard, run.made, run.is_counted = message.heard, message.made, message.is_counted
    if message.seen is not None:
        run.seen = list(map(StateWatch.that_saw, message.seen))
    for number, account in message.directed.items():
        director = None if run.course is None else run.course.schedules[number].director
        if director is not None:
            director.take_over(account)
    running.merge(message.counted, message.reached, message.sums)
    for text, category, filename, lineno in message.warned:
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # it has passed the filters there
            warnings.warn_explicit(text, _category(*category), filename, lineno)
    for stream, text in zip((sys.stdout, sys.stderr), message.printed, strict=True):
        if text:
            # As a stream does that is kept in memory, and not as one that writes to the terminal as well.
            io.TextIOWrapper.write(stream, text)  # type: ignore[arg-type]
    item.user_properties += message.properties


def _category(module: str, name: str) -> type[Warning]:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else UserWarning


def _dead(running: RunningTest, end: int) -> Elsewhere:
    """Tell of a child that has told nothing itself."""
    code = os.waitstatus_to_exitcode(end)
    how = (
        f"signal {signal.Signals(-code).name} killed it"
        if code < 0
        else f"it left with exit status {code}, as by os._exit()"
    )
    line = f"the process of the run ended before the run did: {how}"
    needed_it, running.needs_isolation = running.needs_isolation, True
    seed = effective_seed(running)
    again = again_line(running) if seed is None else rerun_line(running, seed)
    running.needs_isolation = needed_it  # this may be a trial on the way to another failure
    text = f"{line}\nunder {schedule_words(running)}\nrun it again: {again}"
    return Elsewhere(("dead", code), "ProcessEnded", line, text, is_dead=True)


def shown_here(
    item: pytest.Function, running: RunningTest, here: Once, failure: BaseException
) -> BaseException:
    """Return what a failure is reported as: for one that a child has told of, the error of the same run made here."""
    if not isinstance(failure, Elsewhere):
        return failure
    if not failure.is_dead:
        was_shrinking, running.is_shrinking = running.is_shrinking, True  # it has been counted
        forget_output(item.config)
        try:
            renew_fixtures(item, running.begin_run_again)
            here(item, running)
        except FAILURES as error:
            if signature_of(error) == failure.signature:
                return error
        finally:
            running.is_shrinking = was_shrinking
        running.notes.append(_NOT_HERE)
    # Of a run that ended its process, the counterexample tells all that there is to tell.
    is_told = failure.is_dead and running.counterexample is not None
    return pytest.fail.Exception(failure.line if is_told else failure.text or failure.line, pytrace=False)


_NOT_HERE: Final = (
    "The run failed in a process of its own, and not in pytest's when it was made once more there: something that the "
    "schedule does not decide is another there. What is told of it is what the process has told."
)


# -- in the child -------------------------------------------------------------------------------------------------------


def _be_child(item: pytest.Function, running: RunningTest, here: Once, writing: int) -> NoReturn:
    """Run the body, tell what became of it, and end."""
    status = 1
    try:
        journal = running.run.journal = Journal(writing)
        for made in running.run.sessions:  # by fixtures
            journal.made(made.session, made.label)
        message = _run_here(item, running, here)
        _flush(item.config)
        journal.tell(message)
        status = 0
    finally:
        os._exit(status)


def _run_here(item: pytest.Function, running: RunningTest, here: Once) -> _Message:
    """Run the body in a child, and gather what is to be told."""
    running.tally, running.reached = Tally(), {}
    running.sessions_ended, running.virtual_seconds, running.real_seconds = 0, 0.0, 0.0
    known_properties = len(item.user_properties)
    printed = _Printed()
    with warnings.catch_warnings(record=True) as warned:
        failure: BaseException | None = None
        try:
            here(item, running)
        except FAILURES as error:
            failure = error
        except BaseException:
            return _Message(has_ended_otherwise=True)
    run = running.run
    in_full = failure is not None or running.plan.course is not None
    followers = run.followers
    directors = [told.schedule.director for told in followers]
    return _Message(
        failure=None if failure is None else _telling(item, running, failure),
        heard=Heard(
            told=[Account.of(told, in_full=in_full) for told in run.told],
            followers=[Account.of(told, in_full=in_full) for told in followers],
            records={label: Record.of(trace) for label, trace in running.traces().items()}
            if running.keeps_traces
            else {},
        ),
        seen=None if run.seen is None else [watch.first_ns for watch in run.seen],
        directed={number: each.account() for number, each in enumerate(directors) if each is not None},
        made=run.made,
        is_counted=run.is_counted,
        counted=running.tally.as_wire(),
        reached=running.reached,
        sums=(running.sessions_ended, running.virtual_seconds, running.real_seconds),
        warned=[
            _Warned(
                str(one.message),
                (one.category.__module__, one.category.__qualname__),
                one.filename,
                one.lineno,
            )
            for one in warned
        ],
        printed=printed.texts(),
        properties=[
            (str(name), value if isinstance(value, _PLAIN) else str(value))
            for name, value in item.user_properties[known_properties:]
        ],
    )


def _telling(
    item: pytest.Function, running: RunningTest, error: BaseException
) -> tuple[Signature, str, str, str]:
    """Tell of an error; with its traceback, unless it is that of a trial."""
    told = (signature_of(error), kind_of(error), first_line(error))
    if running.is_shrinking:
        return (*told, "")
    without_machinery(error)
    return (*told, str(item.repr_failure(pytest.ExceptionInfo.from_exception(error))))


class _Printed:
    """What is printed into memory, which goes with the child. What is printed into a file is in it for both."""

    def __init__(self) -> None:
        self._streams = (sys.stdout, sys.stderr)
        self._before = tuple(map(_held, self._streams))

    def texts(self) -> tuple[str, str]:
        """Return what has been printed since; all that is there if the test has read a part of it."""
        out, err = (
            now[len(before) :] if now.startswith(before) else now
            for before, now in zip(self._before, map(_held, self._streams), strict=True)
        )
        return out, err


def _held(stream: Any) -> str:
    """Return what a stream holds in memory; nothing if it writes somewhere else."""
    read = getattr(stream, "getvalue", None)
    return str(read()) if callable(read) and isinstance(stream, io.TextIOWrapper) else ""

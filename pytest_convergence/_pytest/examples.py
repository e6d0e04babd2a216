"""Tests whose runs are examples of Hypothesis: tells the runs apart, and explains the failing ones that it ends with.

1. Each example is a run of its own, and every session that it makes is recorded.
2. Hypothesis shrinks schedule, states and workload together, then runs the smallest example of each failure once more, last
   of all, and raises what that run raised. So the last failing runs are kept, and those whose error comes out in the end are
   explained. Nothing is reduced a second time.
3. A schedule that Hypothesis drew is pinned by its token, in ``@example``, beside whatever else it drew.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, final

import pytest

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.tokens import Recorded, write_token
from pytest_convergence._engine.run.belonging import OWNING_TEST
from pytest_convergence._engine.run.session import Session
from pytest_convergence._pytest.failures import FAILURES, first_line
from pytest_convergence._pytest.findings import again_line
from pytest_convergence._pytest.marker import Plan
from pytest_convergence._pytest.running_test import (
    Made,
    RunningTest,
    asides_of,
    documents_of,
    evidence_of,
    stood_of,
)
from pytest_convergence.errors import PropertyViolation
from pytest_convergence.explore.counterexample import Counterexample, Told
from pytest_convergence.explore.explorers import Approach
from pytest_convergence.explore.wording import sentence

__all__ = ["Examples", "drawn_arguments", "followed"]

_MOST_KEPT: Final = 8
"""So many failures of one test are told apart and explained."""

_LONGEST_LINE: Final = 2_000
_AGAIN: Final = "  (Hypothesis tries the failures in its database first)"


class _Failed(NamedTuple):
    """A failing example: what it raised, the sessions that it made, what Hypothesis drew for it, and for whom."""

    error: BaseException
    sessions: tuple[Made, ...]
    in_order: tuple[Session, ...]
    arguments: Mapping[str, Any]
    is_machine: bool


@final
class Examples:
    """The examples of one test, as far as its report needs them."""

    def __init__(self, running: RunningTest) -> None:
        self._running = running
        self._failed: deque[_Failed] = deque(maxlen=_MOST_KEPT)
        self._ran = 0
        self._first_failure = 0

    def begin(self) -> None:
        """An example is about to run."""
        self._ran += 1
        running = self._running
        running.begin_run(0, Approach(running.seed_of(0)))

    def failed(self, error: BaseException, arguments: Mapping[str, Any] | None) -> None:
        """The present example has failed; a state machine has no ``arguments``."""
        if type(error).__module__.partition(".")[0] == "hypothesis":
            return  # it rejects the example, or finds fault with the test
        self._first_failure = self._first_failure or self._ran
        run = self._running.run
        self._failed.append(
            _Failed(error, tuple(run.sessions), tuple(run.in_order), arguments or {}, arguments is None)
        )

    @contextmanager
    def one(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Run an example inside; ``arguments`` are what Hypothesis drew for it."""
        __tracebackhide__ = True
        self.begin()
        try:
            yield
        except FAILURES as error:
            self.failed(error, arguments)
            raise

    # -- what is told --------------------------------------------------------------------------------------------------

    def explain(self, error: BaseException) -> list[Counterexample]:
        """Explain the failures that the test ends with: ``error``, or its members where Hypothesis found several."""
        leaves = error.exceptions if type(error) in (ExceptionGroup, BaseExceptionGroup) else (error,)  # type: ignore[attr-defined]
        by_error = {id(failed.error): failed for failed in self._failed if failed.in_order}
        return [self._explained(by_error[id(leaf)]) for leaf in leaves if id(leaf) in by_error]

    def _explained(self, failed: _Failed) -> Counterexample:
        ended = [made.outcome for made in failed.sessions if made.outcome is not None]
        token = write_token(
            [_recorded([session]) for session in failed.in_order], ended[-1].trace.digest() if ended else ""
        )
        drawn = all(session.schedule.kind != "seeded" for session in failed.in_order)
        violations = tuple(failed.error.violations) if isinstance(failed.error, PropertyViolation) else ()
        return Counterexample(
            failure=first_line(failed.error),
            deviations=tuple(_told(failed.in_order)),
            is_minimal=drawn,
            outcome=ended[-1] if ended else None,
            violations=violations,
            evidence=evidence_of(failed.sessions, violations),
            stood=stood_of(failed.sessions),
            asides=asides_of(failed.sessions),
            found=self._how(failed, drawn),
            replay=again_line(self._running),
            token=token,
            again=_AGAIN,
            has_rules=failed.is_machine,
            documents=documents_of(failed.sessions),
            pin=self._pin(failed),
            unreduced="" if drawn else "Hypothesis did not draw the schedule, so it was not reduced",
        )

    def _how(self, failed: _Failed, drawn: bool) -> str:
        if any(
            "explicit" in note.partition("\n")[0].lower() for note in getattr(failed.error, "__notes__", ())
        ):
            return "Found by an explicit @example."
        rest = self._ran - self._first_failure
        how = f"Found by example {self._first_failure} of Hypothesis"
        return f"{how}, which shrank it in {rest} more run{'s' * (rest != 1)}." if drawn else f"{how}."

    def _pin(self, failed: _Failed) -> str:
        """Return the line that pins the example; empty where Hypothesis has no such line."""
        words = []
        for name, value in failed.arguments.items():
            if isinstance(value, Schedule):
                words.append(f"{name}={_pinned(value, failed.in_order)}")
            elif type(value).__name__ == "DataObject":  # of st.data(): cannot be written down
                return ""
            else:
                words.append(f"{name}={value!r}")
        line = f"@example({', '.join(words)})"
        return line if words and len(line) <= _LONGEST_LINE else ""


def _told(sessions: tuple[Session, ...]) -> Iterator[Told]:
    for number, session in enumerate(sessions, 1):
        if session.recorded is not None:
            for label, words in session.recorded.words.items():
                said = sentence(label, words)
                if len(sessions) > 1:
                    yield Told(f"session {number}: {said}")
                else:
                    yield Told(said, label=label)


def _recorded(sessions: list[Session]) -> Recorded:
    """What these sessions, which follow one schedule, chose by it."""
    schedule = sessions[0].schedule
    chosen: dict[str, int] = {}
    for session in sessions:
        if session.recorded is not None:
            chosen.update(session.recorded.deviations)
    return Recorded(schedule.seed, tuple(chosen.items()), schedule.faults)


def _pinned(schedule: Schedule, sessions: tuple[Session, ...]) -> str:
    """Return the code that makes a schedule again: by its token, where those who followed it chose one thing for a label."""
    followers = [session for session in sessions if session.schedule is schedule]
    if schedule.kind != "tape" or not followers:
        return repr(schedule)
    recorded = _recorded(followers)
    chosen = dict(recorded.deviations)
    if any(
        chosen[label] != option
        for session in followers
        if session.recorded is not None
        for label, option in session.recorded.deviations.items()
    ):
        return repr(schedule)
    return f'Schedule.parse("{write_token([recorded])}")'


@contextmanager
def followed(
    item: pytest.Item, plan: Plan, running_of: Callable[[pytest.Item], RunningTest]
) -> Iterator[None]:
    """Follow the examples of a test that Hypothesis calls; say whose the sessions are that no fixture makes."""
    __tracebackhide__ = True
    if not (plan.is_marked or plan.is_given):
        yield
        return
    running = running_of(item)
    if plan.is_given:
        running.examples = Examples(running)
    token = OWNING_TEST.set(running)
    try:
        with _watched(item, running):
            yield
    finally:
        OWNING_TEST.reset(token)


@contextmanager
def _watched(item: pytest.Item, running: RunningTest) -> Iterator[None]:
    """Follow each example of a plain test while it runs; bodies that run on a loop, and machines, say it themselves."""
    examples = running.examples
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if examples is None or handle is None or running.plan.is_async:
        yield
        return
    inner = handle.inner_test

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with examples.one(drawn_arguments(item, kwargs)):
            return inner(*args, **kwargs)

    handle.inner_test = example
    try:
        yield
    finally:
        handle.inner_test = inner


def drawn_arguments(item: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments of an example that Hypothesis drew: the others are fixtures and parameters."""
    given = {"self", "cls", *item._fixtureinfo.argnames}
    return {name: value for name, value in arguments.items() if name not in given}

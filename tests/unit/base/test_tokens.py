"""A schedule as text: it comes back as it went, and what is no token is refused in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence import ConvergenceUsageError, Schedule
from pytest_convergence._engine.base.tokens import Recorded, Token, parse_token, write_token

DEVIATIONS = st.lists(st.tuples(st.text(), st.integers(0, 1 << 80)), max_size=5).map(tuple)
SESSIONS = st.lists(
    st.builds(Recorded, st.integers(), DEVIATIONS, st.lists(st.text(), max_size=2).map(tuple)), max_size=3
)


@given(SESSIONS, st.text(alphabet="0123456789abcdef", max_size=64))
def test_a_token_comes_back_as_it_went(sessions: list[Recorded], fingerprint: str) -> None:
    assert parse_token(write_token(sessions, fingerprint)) == Token(tuple(sessions), fingerprint[:12])


@given(SESSIONS)
def test_a_token_is_one_word_of_a_command_line(sessions: list[Recorded]) -> None:
    assert all(mark.isascii() and (mark.isalnum() or mark in "-_") for mark in write_token(sessions))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConvergenceUsageError, match="token"):
        parse_token(f"c1-{text}!")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (7, "7 is no token of a schedule"),
        ("planner", "'planner' is no token of a schedule"),
        ("c9-abc", "has the format 'c9', but this version of the plugin reads 'c1'"),
        (write_token([Recorded(1, ())])[:-6], "cut short or was changed"),
        (write_token([Recorded("x", ())]), "a session is missing"),  # type: ignore[arg-type]
        (write_token([Recorded(1, (("deliver a→b #1", "x"),))]), "'x' is no option"),  # type: ignore[arg-type]
        (write_token([Recorded(1, ((3, 1),))]), "3 is no text"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_token_is_refused_in_words(text: object, said: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=said):
        parse_token(text)


def test_a_schedule_has_a_token_and_comes_back_from_it() -> None:
    schedule = Schedule.of({"deliver a→b #1": 5}, seed=3, faults=("loss",))
    assert Schedule.parse(schedule.token) == schedule
    assert Schedule.parse(Schedule.calm().token).is_calm


def test_a_schedule_that_has_not_run_has_no_token() -> None:
    with pytest.raises(ConvergenceUsageError, match="its deviations are known when it has run"):
        _ = Schedule.seeded(3).token


def test_a_token_without_a_session_is_no_schedule() -> None:
    with pytest.raises(ConvergenceUsageError, match="holds no session"):
        Schedule.parse(write_token([]))

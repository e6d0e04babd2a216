"""Schedules as values: made, compared, printed, put to work."""

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.choices import CalmChoices, RecordedChoices, SeededChoices, TapeChoices
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence.errors import ConvergenceUsageError

SCHEDULES = st.one_of(
    st.just(Schedule.calm()),
    st.integers().map(Schedule.seeded),
    st.builds(Schedule.seeded, st.integers(), only=st.sampled_from([("crash",), ("deliver", "stall")])),
    st.dictionaries(st.sampled_from(["deliver a→b #1", "stall a #2"]), st.integers(1, 9)).map(Schedule.of),
    st.binary(max_size=20).map(lambda tape: Schedule.from_tape(tape, seed=3, faults=("loss",))),
)


@given(SCHEDULES)
def test_a_schedule_is_a_value(schedule: Schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))
    assert eval(repr(schedule), {"Schedule": Schedule}) == schedule


@pytest.mark.parametrize(
    ("schedule", "text", "calm"),
    [
        (Schedule.calm(), "calm", True),
        (Schedule.seeded(7), "seed 7", False),
        (Schedule.seeded(7, only=("crash", "deliver")), "seed 7, only crash, deliver", False),
        (Schedule.of({}), "calm", True),
        (Schedule.of({"x #1": 1}), "calm but for 1 deviation", False),
        (Schedule.of({"x #1": 1, "x #2": 1}), "calm but for 2 deviations", False),
        (Schedule.from_tape(bytes(9)), "calm", True),
        (Schedule.from_tape(b"\0\1\2"), "tape of 2 deviating cells", False),
    ],
)
def test_a_schedule_says_what_it_is(schedule: Schedule, text: str, calm: bool):
    assert str(schedule) == text
    assert schedule.is_calm is calm


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        (Schedule.calm(), CalmChoices),
        (Schedule.seeded(1), SeededChoices),
        (Schedule.of({"x #1": 1}), RecordedChoices),
        (Schedule.from_tape(b"1"), TapeChoices),
    ],
)
def test_a_schedule_puts_itself_to_work(schedule: Schedule, kind: type):
    assert isinstance(schedule.choices(random.Random), kind)


@pytest.mark.parametrize("seed", [1.0, "1", None, True])
def test_a_seed_is_a_whole_number(seed: object):
    with pytest.raises(ConvergenceUsageError, match="seed must be a whole number"):
        Schedule.seeded(seed)  # type: ignore[arg-type]

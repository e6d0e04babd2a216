"""The one source of choice: calm is 0, labels name sites, and every way to choose obeys the same laws."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.base.choices import (
    CalmChoices,
    Choices,
    RecordedChoices,
    RecordingChoices,
    SeededChoices,
    Span,
    TapeChoices,
    split_label,
)

STEMS = st.sampled_from(["deliver a→b", "timer a/election", "crash agent #1 of x"])
LABELS = st.builds(lambda stem, number: f"{stem} #{number}", STEMS, st.integers(1, 30))
DEVIATIONS = st.dictionaries(LABELS, st.integers(1, 9), max_size=8)


def seeded(seed: int) -> SeededChoices:
    return SeededChoices(random.Random(seed))


def answers(choices: Choices, stem: str, count: int = 40, domain: Any = None) -> list[int]:
    ask = choices.every(stem, domain or Span(9))
    return [ask() for _ in range(count)]


def occurrences(choices: Choices, stem: str, rate: float = 0.1, count: int = 20) -> list[tuple[int, int]]:
    following, found, after = choices.rare(stem, rate, Span(9)), [], 0
    for _ in range(count):
        due = following(after)
        if due is None:
            break
        found.append(due)
        after = due[0]
    return found


def test_calm_never_deviates():
    assert answers(CalmChoices(), "deliver a→b") == [0] * 40
    assert occurrences(CalmChoices(), "stall a") == []


@given(st.integers(), st.integers(0, 10**6))
def test_a_span_maps_draws_onto_all_its_options(seed: int, limit: int):
    stream = random.Random(seed)
    span = Span(limit, " ms")
    assert span.decode(0) == 0
    assert all(0 <= span.decode(stream.random()) <= limit for _ in range(50))
    assert span.decode(1 - 2**-53) == limit
    assert span.describe(3) == "3 ms"


def test_seeds_draw_evenly():
    counts = Counter(answers(seeded(1), "x", count=20_000))
    assert set(counts) == set(range(10))
    assert all(1_800 < count < 2_200 for count in counts.values())


@given(st.integers())
def test_a_seed_gives_the_same_answers_again(seed: int):
    assert answers(seeded(seed), "x") == answers(seeded(seed), "x")
    assert occurrences(seeded(seed), "x") == occurrences(seeded(seed), "x")


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_rare_deviations_are_as_rare_as_they_should(rate: float):
    found = occurrences(seeded(2), "x", rate=rate, count=4_000)
    assert found[-1][0] == pytest.approx(4_000 / rate, rel=0.05)


@given(st.integers(), st.floats(0.001, 1))
def test_rare_deviations_come_later_and_later_and_are_never_calm(seed: int, rate: float):
    found = occurrences(seeded(seed), "x", rate=rate)
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 1
    assert all(option >= 1 for _, option in found)


def test_what_cannot_happen_does_not():
    assert occurrences(seeded(1), "x", rate=0) == []
    assert occurrences(TapeChoices(b"\xff"), "x", rate=0) == []
    assert occurrences(TapeChoices(b""), "x") == []


@given(DEVIATIONS, STEMS)
def test_a_list_answers_what_it_lists_and_is_calm_elsewhere(deviations: dict[str, int], stem: str):
    choices = RecordedChoices(deviations)
    expected = [deviations.get(f"{stem} #{number}", 0) for number in range(1, 41)]
    assert answers(choices, stem) == expected
    assert occurrences(choices, stem) == [
        (number, option) for number, option in enumerate(expected, 1) if option
    ]


@given(DEVIATIONS, STEMS, st.data())
def test_taking_a_deviation_away_leaves_the_others(deviations: dict[str, int], stem: str, data: Any):
    gone = data.draw(st.sampled_from(sorted(deviations) or ["none #1"]))
    fewer = {label: option for label, option in deviations.items() if label != gone}
    before, after = (answers(RecordedChoices(listed), stem) for listed in (deviations, fewer))
    different = [
        f"{stem} #{number}"
        for number, pair in enumerate(zip(before, after, strict=True), 1)
        if pair[0] != pair[1]
    ]
    assert different in ([], [gone])


@given(st.integers(), st.lists(STEMS, min_size=1, max_size=60))
def test_what_was_recorded_answers_the_same_again(seed: int, asked: list[str]):
    def ask(choices: Choices) -> list[int]:
        sites: dict[str, Any] = {}
        return [sites.setdefault(stem, choices.every(stem, Span(9)))() for stem in asked]

    recording = RecordingChoices(seeded(seed))
    first = ask(recording)
    assert ask(RecordedChoices(recording.deviations)) == first
    assert all(recording.deviations.values())
    assert list(recording.words) == list(recording.deviations)


@given(st.integers())
def test_what_was_recorded_of_a_rare_site_comes_again(seed: int):
    recording = RecordingChoices(seeded(seed))
    first = occurrences(recording, "crash a")
    assert not recording.deviations  # planned, and perhaps never reached
    for number, option in first:
        recording.struck("crash a", number, option, Span(9))
    assert occurrences(RecordedChoices(recording.deviations), "crash a") == first


@given(st.binary(min_size=1, max_size=64), STEMS)
def test_a_tape_reads_each_label_at_a_place_of_its_own(tape: bytes, stem: str):
    assert answers(TapeChoices(tape), stem) == answers(TapeChoices(tape), stem)
    assert answers(TapeChoices(bytes(len(tape))), stem) == [0] * 40
    assert occurrences(TapeChoices(bytes(len(tape))), stem) == []


@given(st.binary(min_size=1, max_size=64), STEMS, st.data())
def test_a_byte_of_a_tape_changes_only_what_reads_it(tape: bytes, stem: str, data: Any):
    place = data.draw(st.integers(0, len(tape) - 1))
    changed = tape[:place] + bytes([data.draw(st.integers(0, 255))]) + tape[place + 1 :]
    before, after = answers(TapeChoices(tape), stem), answers(TapeChoices(changed), stem)
    reading = TapeChoices(bytes(place) + b"\xff" + bytes(len(tape) - place - 1))
    reads = [bool(answer) for answer in answers(reading, stem)]
    assert all(reads[number] for number in range(40) if before[number] != after[number])


def test_an_empty_tape_is_calm():
    assert answers(TapeChoices(b""), "x") == [0] * 40


def test_a_tape_of_ones_deviates_at_rare_sites_too():
    found = occurrences(TapeChoices(bytes([255]) * 4), "stall a", rate=0.05, count=5)
    assert [number for number, _ in found] == [1, 2, 3, 4, 5]
    assert occurrences(TapeChoices(bytes([10]) * 4), "stall a", rate=0.05) == []
    assert occurrences(TapeChoices(bytes([10]) * 4), "stall a", rate=1.0, count=1) == [(1, 1)]


def test_words_of_a_recording_say_what_was_chosen():
    recording = RecordingChoices(RecordedChoices({"x #2": 7, "y #5": 3}))
    ask = recording.every("x", Span(9, " ms"))
    assert [ask(), ask()] == [0, 7]
    assert recording.rare("y", 0.1, Span(9, " us"))(0) == (5, 3)
    recording.struck("y", 5, 3, Span(9, " us"))
    assert recording.words == {"x #2": "7 ms", "y #5": "3 us"}


@given(STEMS, st.integers(1, 10**9))
def test_labels_split_into_stem_and_number(stem: str, number: int):
    assert split_label(f"{stem} #{number}") == (stem, number)


@pytest.mark.parametrize("text", ["", "deliver a→b", "x #0", "x #-1", "x #1 ", "x#1", " #", "x #١"])
def test_what_is_no_label_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a choice label"):
        split_label(text)

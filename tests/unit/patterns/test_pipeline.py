"""The pipeline's configuration, its inputs, and the shape of its result."""

from fractions import Fraction
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError, DeadLetter, Pipeline, Rejected, Stage
from pytest_convergence._engine.patterns.pipeline_stage import complaint, words_of

AGENTS = ("a", "b")
unchecked_pipeline: Any = Pipeline  # what a type checker would refuse is refused at run time too
unchecked_stage: Any = Stage
CUT = Stage("cut", "a", str)
SEW = Stage("sew", "b", str)


class Plain:
    """Something without a text of its own."""


async def asks(value):
    return True


def shape(value):
    if value < 0:
        raise ValueError("too small")
    return value != 5


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        (Pipeline(mode="effectively_once"), "did you mean 'effectively-once'"),
        (Pipeline(feeder="A"), "agent in feeder 'A'"),
        (unchecked_pipeline(key="id"), "key must be a function"),
        (unchecked_pipeline(order_by=3), "order_by must be a function"),
        (Pipeline(mode="at-least-once", key=str), "Leave key= out"),
        (Pipeline(max_attempts=0), "max_attempts must be a whole number of at least 1, not 0"),
        (Pipeline(credits=True), "credits must be a whole number"),
        (Pipeline(backoff_seconds=0), "backoff_seconds must be greater than zero"),
        (Pipeline(resend_seconds=-1), "resend_seconds"),
        (Pipeline(deadline_seconds=0), "deadline_seconds must be greater than zero"),
    ],
)
def test_an_option_out_of_range_is_refused(pattern, match):
    with pytest.raises(ConvergenceUsageError, match=match):
        pattern.validate(AGENTS)


def test_a_pipeline_needs_agents():
    with pytest.raises(ConvergenceUsageError, match="at least one agent"):
        Pipeline().validate(())
    Pipeline(feeder="b", key=str, order_by=str).validate(AGENTS)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({}, r"needs run\(stages="),
        ({"stages": [], "items": []}, r"not stages=\[\]"),
        ({"stages": [CUT], "item": []}, "did you mean 'items'"),
        ({"stages": [CUT]}, "items must be a list"),
        ({"stages": [CUT], "items": "abc"}, "items must be a list"),
        ({"stages": [CUT, CUT], "items": []}, "two stages are named 'cut'"),
        ({"stages": ["cut"], "items": []}, r"must be Stage\(name, agent, work\) objects"),
        ({"stages": [Stage("", "a", str)], "items": []}, "non-empty string"),
        ({"stages": [Stage("cut", "aa", str)], "items": []}, "agent of stage 'cut' 'aa'"),
        (
            {"stages": [unchecked_stage("cut", "a", "str")], "items": []},
            "the work of stage 'cut' must be a function",
        ),
        ({"stages": [Stage("cut", "a", str, workers=0)], "items": []}, "workers of stage 'cut'"),
        ({"stages": [Stage("cut", "a", str, credits=0)], "items": []}, "credits of stage 'cut'"),
        (
            {"stages": [unchecked_stage("cut", "a", str, max_attempts=1.5)], "items": []},
            "max_attempts of stage 'cut'",
        ),
        ({"stages": [Stage("cut", "a", str, timeout=0)], "items": []}, "timeout of stage 'cut'"),
        ({"stages": [Stage("cut", "a", str, accepts="int")], "items": []}, "accepts of stage 'cut'"),
        ({"stages": [Stage("cut", "a", str, returns=asks)], "items": []}, "returns of stage 'cut'"),
        ({"stages": [Stage("cut", "a", str, returns=list[int])], "items": []}, "without brackets"),
        ({"stages": [Stage("cut", "a", str, returns=())], "items": []}, "returns of stage 'cut'"),
    ],
)
def test_inputs_that_cannot_run_are_refused(inputs, match):
    with pytest.raises(ConvergenceUsageError, match=match):
        Pipeline().check_inputs(AGENTS, inputs)


def test_a_key_function_must_give_hashable_keys():
    inputs = {"stages": [CUT], "items": [{"id": 1}, {}]}
    with pytest.raises(ConvergenceUsageError, match=r"for item 1, \{\}, it raised KeyError"):
        Pipeline(key=lambda item: item["id"]).check_inputs(AGENTS, inputs)
    with pytest.raises(ConvergenceUsageError, match="order_by= must give every item a hashable key"):
        Pipeline(order_by=lambda item: item).check_inputs(AGENTS, inputs)


def test_good_inputs_pass():
    stages = [
        CUT,
        Stage("sew", "b", len, 3, 2, 9, (str, bytes), int, 1),
        Stage("dye", "a", str, accepts=int | str),
    ]
    Pipeline().check_inputs(AGENTS, {"stages": stages, "items": (1, 2)})


def test_every_agent_may_have_a_part_that_nobody_else_can_play():
    assert Pipeline().quorum_of(AGENTS) == 2
    assert Pipeline().leader(None) is None


def test_effects_are_unique_only_where_that_is_the_mode():
    assert "effect_at_most_once" in Pipeline().properties
    assert "effect_at_most_once" not in Pipeline(mode="at-least-once").properties


def test_the_first_agent_feeds_unless_another_is_named():
    assert Pipeline()._plan(AGENTS, [CUT]).feeder == "a"
    assert Pipeline(feeder="b")._plan(AGENTS, [CUT]).feeder == "b"


def test_the_result_has_an_entry_for_each_item_those_with_equal_keys_share_theirs():
    pattern = Pipeline(key=str.lower)
    machine = pattern.machine("a", AGENTS, {"stages": [CUT, SEW], "items": ["X", "y", "x", "z"]})
    machine.decision.value = [  # type: ignore[attr-defined]
        [0, "ok", "done", "", 1, "sew"],
        [1, "dead", "y", "ValueError: no", 5, "cut"],
        [3, "rejected", "z", "odd", 0, "sew"],
    ]
    result = machine.view()
    assert result == [
        "done",
        DeadLetter("y", "cut", "ValueError: no", 5),
        "done",
        Rejected("z", "sew", "odd"),
    ]
    assert pattern.output({"a": result, "b": result}) == result
    assert pattern.output({"a": result, "b": None}) is None
    assert pattern.output({}) is None


def test_a_valid_result_has_as_many_entries_as_there_are_items():
    inputs = {"stages": [CUT], "items": [1, 2]}
    assert Pipeline().valid(["1", "2"], AGENTS, inputs)
    assert not Pipeline().valid(["1"], AGENTS, inputs)
    assert not Pipeline().valid("12", AGENTS, inputs)


def test_an_agent_has_the_work_of_its_own_stages():
    functions = Pipeline().functions("a", AGENTS, {"stages": [CUT, SEW], "items": []})
    assert functions == {"work cut": str}


@pytest.mark.parametrize(
    ("validator", "good", "bad", "words"),
    [
        (int, 1, "1", "'1' is no int"),
        ((int, float), 1.5, None, "None is no int or float"),
        (int | None, None, "x", "'x' is no int | None"),
        (shape, 1, 5, "shape refused 5"),
        (shape, 0, -1, "ValueError: too small"),
        (lambda value: None, 0, None, None),  # raises or not: what it returns is no answer
    ],
)
def test_a_validator_is_a_type_or_a_function(validator, good, bad, words):
    assert complaint(validator, good) is None
    assert complaint(validator, bad) == words
    assert complaint(None, bad) is None


def test_words_have_no_addresses_and_an_end():
    assert words_of(Plain()).endswith("Plain object>")
    assert words_of(ValueError(Plain())).endswith("Plain object>")
    assert words_of(Fraction(1, 3)) == "Fraction(1, 3)"
    assert words_of("x" * 999) == f"'{'x' * 199}…"

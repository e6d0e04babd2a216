"""JSON Patch and JSON Merge Patch, by the published test vectors."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence import ConvergenceUsageError
from pytest_convergence._engine.state.patches import apply_json_patch, apply_merge_patch, json_equal


def cases(vectors: Path, name: str) -> list[dict[str, Any]]:
    found = json.loads((vectors / "json-patch" / name).read_text(encoding="utf-8"))
    return [case for case in found if "patch" in case and not case.get("disabled")]


@pytest.mark.parametrize("name", ["spec_tests.json", "tests.json"])
def test_json_patches_do_what_the_vectors_expect(vectors: Path, name: str) -> None:
    tried = 0
    for case in cases(vectors, name):
        if "error" in case:
            continue
        document = copy.deepcopy(case["doc"])
        changed = apply_json_patch(document, case["patch"])
        assert json_equal(changed, case.get("expected", case["doc"])), case
        assert document == case["doc"], "the document itself stays as it is"
        tried += 1
    assert tried >= 10


@pytest.mark.parametrize("name", ["spec_tests.json", "tests.json"])
def test_json_patches_that_the_vectors_call_wrong_are_refused(vectors: Path, name: str) -> None:
    tried = 0
    for case in cases(vectors, name):
        if "error" in case:
            with pytest.raises(ConvergenceUsageError, match="cannot be carried out"):
                pytest.fail(f"{case} gave {apply_json_patch(case['doc'], case['patch'])}")
            tried += 1
    assert tried >= 3


def test_merge_patches_do_what_the_vectors_expect(vectors: Path) -> None:
    given = json.loads((vectors / "delta" / "rfc7396_merge_patch.json").read_text(encoding="utf-8"))
    assert len(given["cases"]) == 15
    for case in given["cases"]:
        original = copy.deepcopy(case["original"])
        assert apply_merge_patch(original, case["patch"]) == case["result"], case
        assert original == case["original"]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"op": "add"}, "a JSON patch is a list of operations"),
        (["add"], "an operation is a mapping"),
        ([{"op": "ad", "path": "/a", "value": 1}], "did you mean 'add'"),
        ([{"op": "add", "path": "a", "value": 1}], "does not begin with a slash"),
        ([{"op": "add", "path": "/~2", "value": 1}], "neither '~0' nor '~1'"),
        ([{"op": "add", "path": "/a"}], "add needs a value"),
        ([{"op": "add", "path": "/a/x", "value": 1}], "1 has no parts"),
        ([{"op": "move", "path": "/b", "from": None}], "'from' must be a JSON pointer"),
        ([{"op": "move", "path": "/d/e/f", "from": "/d"}], "into a part of itself"),
        ([{"op": "test", "path": "/a", "value": True}], "the test fails, for the value there is 1"),
        ([{"op": "remove", "path": "/l/2"}], "the index 2 is out of bounds"),
        ([{"op": "replace", "path": "/l/01", "value": 1}], "'01' is no index of a list"),
    ],
)
def test_a_patch_that_is_refused_says_why(patch: Any, words: str) -> None:
    with pytest.raises(ConvergenceUsageError, match=words):
        apply_json_patch({"a": 1, "d": {"e": {}}, "l": [1, 2]}, patch)


def test_a_patch_is_carried_out_whole_or_not_at_all() -> None:
    document = {"a": 1}
    with pytest.raises(ConvergenceUsageError, match="operation 2 of the patch"):
        apply_json_patch(document, [{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}])
    assert document == {"a": 1}


def test_json_numbers_are_equal_by_value_and_truth_is_no_number() -> None:
    assert json_equal({"a": [1, 2.0]}, {"a": [1.0, 2]})
    assert not json_equal([1], [True])
    assert not json_equal([1], [1, 1])
    assert not json_equal({"a": 1}, {"b": 1})

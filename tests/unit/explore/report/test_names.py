"""Names of files: safe, the same each time, different for different tests."""

import re

import pytest

from pytest_convergence.explore.report.names import file_name


@pytest.mark.parametrize(
    "nodeid",
    [
        "tests/test_a.py::TestX::test_y[1-../../etc/passwd]",
        "test_a.py::test_y[" + "x" * 5_000 + "]",
        'test_a.py::test_y[a\x00b\n\\c:d*?"<>|]',
        "test_a.py::test_y[\ud800]",
        "con.py::nul",
        "::",
        "тест.py::тест",
    ],
)
def test_they_are_safe_on_every_file_system(nodeid: str) -> None:
    name = file_name(nodeid)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*-[0-9a-f]{10}", name)
    assert len(name) <= 91
    assert file_name(nodeid) == name


def test_they_can_be_recognised() -> None:
    assert file_name("tests/test_bank.py::test_no_money_is_lost[3]").startswith(
        "tests-test_bank-test_no_money_is_lost-3-"
    )


def test_what_looks_alike_has_different_names_also_where_case_does_not_count() -> None:
    alike = ["a.py::test[x]", "a.py::test[X]", "a.py::test[x ]", "a.py::test-x", "a.py::test/x"]
    assert len({file_name(nodeid).lower() for nodeid in alike}) == len(alike)

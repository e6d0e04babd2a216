"""A quick part of ``python -m tests.cpython``: what passes on the stock loop passes on ours, or there is a reason."""

import sys
import unittest
from typing import NoReturn

import pytest

from tests.cpython.comparison import Compared, compare, is_available, summary, table
from tests.cpython.reasons import reason_for
from tests.cpython.worker import Verdicts, run_all


@pytest.mark.parametrize("module", ["test_locks", "test_taskgroups"])
def test_a_module_of_cpythons_own_tests_passes(module: str) -> None:
    if not is_available(module):
        pytest.skip(f"this Python {sys.version.split()[0]} has come without test.test_asyncio.{module}")
    found = compare(module)
    assert not found.unexplained
    assert sum(verdict == "pass" for verdict, _ in found.world.values()) >= 30


def test_what_has_no_reason_is_told() -> None:
    boom = {"a": ("fail", "boom")}
    found = Compared("test_x", {"a": ("pass", "")}, boom, boom, {}, {"a": "boom"})
    assert summary(found).splitlines() == [
        "test_x: stock [1, 0, 0], world [0, 1, 0], process [0, 1, 0] (pass, fail, skip); in neither 0",
        "    a: boom",
    ]
    assert table([found]).splitlines()[-1] == "| all | 1 | 0 | 0 | 0 | 1 | 0 | 1 | 0 |"
    said = compare("test_x", [{"a": ("pass", "")}, boom, boom])
    assert said.unexplained == {"a": "as a process boom; in a world boom"}


def test_each_difference_has_its_reason() -> None:
    passes, fails = ("pass", ""), ("fail", "subprocess.Popen was called inside a run")
    stock = {
        "x.T.both": passes,
        "x.T.process": passes,
        "x.T.world": passes,
        "x.T.none": passes,
        "x.T.stock": fails,
    }
    world = stock | {"x.T.both": fails, "x.T.world": fails}
    process = stock | {"x.T.both": fails, "x.T.process": fails}
    found = compare("test_x", [stock, world, process])
    assert [list(found.explained), list(found.as_process), list(found.in_world)] == [
        ["x.T.both"], ["x.T.process"], ["x.T.world"],
    ]  # fmt: skip
    assert not found.unexplained
    assert reason_for("test_x.Tests.test_it", "boom") is None


def test_what_fails_once_more_while_it_is_cleared_up_does_not_hide_the_tests_behind_it() -> None:
    class Ends(unittest.TestCase):
        def run(self, result: unittest.TestResult | None = None) -> NoReturn:
            super().run(result)
            raise RuntimeError("its loop is over")

        def test_first(self) -> None:
            """It passes, and cannot be cleared up."""

    class Follows(unittest.TestCase):
        def test_second(self) -> None:
            """It passes."""

    told = Verdicts(None)
    run_all([Ends("test_first"), Follows("test_second")], told)
    assert list(told.verdicts.values()) == [("fail", "RuntimeError: its loop is over"), ("pass", "")]

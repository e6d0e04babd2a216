"""What a simulated loop is begun with is what asyncio's constructors set."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_convergence._engine.run.hosting import make_loop
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.sim import loop as loop_module
from pytest_convergence._engine.sim import stock
from pytest_convergence._engine.sim.loop import WorldLoop


def _attributes(loop: WorldLoop) -> dict[str, Any]:
    return {name: type(value) for name, value in vars(loop).items()}


def _new() -> WorldLoop:
    loop = make_loop(0, SessionOptions())
    loop.close()
    return loop


def test_a_loop_has_every_attribute_that_the_constructors_set(monkeypatch: pytest.MonkeyPatch):
    given = _attributes(_new())
    monkeypatch.setattr(loop_module, "stock_attributes", lambda: None)
    made = _attributes(_new())
    assert given.pop("_transports") is dict  # no transport of a real socket can be registered
    made.pop("_transports")
    assert given == made


def test_two_loops_share_nothing_that_changes():
    one, two = _new(), _new()
    shared = [name for name, value in vars(one).items() if value is vars(two)[name]]
    assert all(isinstance(vars(one)[name], int | float | None) for name in shared)


def test_where_asyncio_sets_something_unknown_its_constructors_are_called(monkeypatch: pytest.MonkeyPatch):
    class Newer(asyncio.SelectorEventLoop):
        def __init__(self, selector: Any) -> None:
            super().__init__(selector)
            self.something = object()

        def _make_self_pipe(self) -> None: ...

        def _close_self_pipe(self) -> None: ...

    monkeypatch.setattr(stock, "_Bare", Newer)
    assert stock.stock_attributes.__wrapped__() is None

"""Sets up anew, between two schedules of one test, the fixtures that hold a session; all others stay.

A session runs once, so the body's next run needs another, and so does every fixture that was made from it. pytest caches
a fixture's value in its definition until it is finished: those that depend on a session are finished in reverse order and
the test's request is made anew, upon which filling it finds the values of the others still there.

Most tests have no fixtures of their own that depend on a session. Ours have nothing to tear down, so their functions are
called again and the values put in place of the old ones: pytest's own way takes as long as a small session does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from pytest_convergence._engine.sim.shims.collection import between_runs
from pytest_convergence._pytest.async_fixtures import DEFERRED

__all__ = ["SET_UP", "forget_output", "note_set_up", "renew_fixtures"]

_PER_RUN: Final = frozenset({"convergence_engine", "convergence_session", "simulated_agents"})
_OURS: Final = "pytest_convergence.fixtures"

SET_UP: Final = pytest.StashKey[list[tuple[Any, Any]]]()
"""The function-scoped fixtures of a test that depend on its session: definition and request, in the order of set-up."""


def note_set_up(item: pytest.Item, definition: Any, request: Any) -> None:
    """Remember a function-scoped fixture that has been set up, if it depends on a session."""
    noted = item.stash.setdefault(SET_UP, [])
    names = {one.argname for one, _ in noted}
    if definition.argname in _PER_RUN or not names.isdisjoint(definition.argnames):
        noted.append((definition, request))


def renew_fixtures(item: pytest.Function, between: Callable[[], None]) -> None:
    """Finish what depends on a session, call ``between``, and set it up again."""
    __tracebackhide__ = True
    noted = item.stash.setdefault(SET_UP, [])
    if all(_is_ours(item, definition) for definition, _ in noted):
        keys = [definition.cached_result[1] for definition, _ in noted]
        for definition, _ in noted:  # nobody is to hold the last session when its remains are collected
            definition.cached_result = item.funcargs[definition.argname] = None
        between()
        between_runs()
        _make_anew(item, noted, keys)
        return
    deferred = item.stash.get(DEFERRED, {})
    while noted:
        definition, request = noted.pop()
        deferred.pop(id(definition), None)
        definition.finish(request)
    between()
    item._initrequest()
    between_runs()
    item.setup()


def _is_ours(item: pytest.Function, definition: Any) -> bool:
    """Whether a fixture is one of ours, that nobody has put another in place of, and that the test has a value of."""
    cached = definition.cached_result
    return (
        getattr(definition.func, "__module__", "") == _OURS
        and definition.argname in item.funcargs
        and cached is not None
        and cached[2] is None
    )


def _make_anew(item: pytest.Function, noted: list[tuple[Any, Any]], keys: list[Any]) -> None:
    """Call the functions of our fixtures again, in the order in which they were set up."""
    __tracebackhide__ = True
    for (definition, request), key in zip(noted, keys, strict=True):
        arguments = {
            name: request if name == "request" else item.funcargs[name] for name in definition.argnames
        }
        value = definition.func(**arguments)
        definition.cached_result = (value, key, None)
        item.funcargs[definition.argname] = value


def forget_output(config: pytest.Config) -> None:
    """Let the report show what the next run prints, and not what all of them did."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is not None and capture.is_globally_capturing():
        capture.read_global_capture()

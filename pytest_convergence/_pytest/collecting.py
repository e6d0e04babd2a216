"""Async tests with the marker are collected as ours, so that no other plugin runs them too.

pytest-asyncio and anyio take over async tests while they are collected: by their own marker, or all of them in auto mode.
A marked async test runs on the simulated loop and nowhere else. So it is collected before they see it, as an item for which
the markers of other runners do not count.
"""

from __future__ import annotations

from typing import Any, Final, final

import pytest

from pytest_convergence._pytest.bodies import is_async

__all__ = ["AsyncCollection", "SimulatedFunction"]

_OTHER_RUNNERS: Final = frozenset({"anyio", "asyncio", "trio", "tornado", "twisted"})


@final
class SimulatedFunction(pytest.Function):
    """An async test that runs on the simulated loop."""

    def get_closest_marker(self, name: str, default: Any = None) -> Any:
        """Return the closest marker, but none that would hand the test to another runner."""
        return default if name in _OTHER_RUNNERS else super().get_closest_marker(name, default)


@final
class AsyncCollection:
    """Collects marked async tests. Registered last, so that it is asked before the other plugins."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: object) -> list[Any] | None:
        """Collect ``obj`` if it is a marked async test."""
        if not hasattr(obj, "__code__") and not isinstance(obj, staticmethod):
            return None
        if not is_async(obj) or not collector.istestfunction(obj, name):
            return None
        own = getattr(getattr(obj, "__func__", obj), "pytestmark", ())
        marks = own if isinstance(own, list | tuple) else (own,)
        if not any(mark.name == "convergence" for mark in marks) and not collector.get_closest_marker(
            "convergence"
        ):
            return None
        collected = collector.config.pluginmanager.get_plugin("python").pytest_pycollect_makeitem(
            collector=collector, name=name, obj=obj
        )
        return [_adopt(item) if type(item) is pytest.Function else item for item in collected or ()]


def _adopt(item: pytest.Function) -> SimulatedFunction:
    adopted = SimulatedFunction.from_parent(
        item.parent,
        name=item.name,
        callspec=getattr(item, "callspec", None),
        callobj=item.obj,
        fixtureinfo=item._fixtureinfo,
        keywords=item.keywords,
        originalname=item.originalname,
    )
    adopted.own_markers[:] = item.own_markers
    return adopted

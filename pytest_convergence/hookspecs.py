"""Hooks that other plugins and ``conftest.py`` may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from pytest_convergence._engine.check.property import Property
    from pytest_convergence._engine.patterns.pattern import Pattern
    from pytest_convergence._engine.run.outcome import Outcome
    from pytest_convergence._engine.run.session import Session


@pytest.hookspec
def pytest_convergence_session_finished(item: pytest.Item, session: Session, outcome: Outcome) -> None:
    """Called when a session of a test has ended, converged or not.

    Runs inside the run: what it raises ends the test. Under xdist it is called in the worker, with
    ``--convergence-isolate`` in the process of the run.

    Args:
        item: the test that the session belongs to.
        session: the session.
        outcome: what it came to; ``outcome.metrics`` holds the numbers.
    """


@pytest.hookspec
def pytest_convergence_patterns(config: pytest.Config) -> Pattern | Iterable[Pattern] | None:
    """Return patterns of your own: tests may then name them, ``@pytest.mark.convergence(pattern="token-ring")``.

    Called once, when tests that use this plugin have been collected, so a ``conftest.py`` or an installed plugin may
    implement it. A name may be given once; those of the built-in patterns are taken.

    Args:
        config: the configuration of the pytest session.
    """


@pytest.hookspec
def pytest_convergence_properties(config: pytest.Config) -> Property | Iterable[Property] | ModuleType | None:
    """Return properties of your own: tests may then name them, ``@pytest.mark.convergence(properties=["budget kept"])``.

    A property that names patterns (``Property(…, patterns=("consensus",))``) holds for all their sessions unasked. A module
    may be returned too: all properties that it defines are meant. Called once, when tests that use this plugin have been
    collected, so a ``conftest.py`` or an installed plugin may implement it. A name may be given once; those of the built-in
    properties are taken.

    Args:
        config: the configuration of the pytest session.
    """


@pytest.hookspec(firstresult=True)
def pytest_convergence_step_reader(config: pytest.Config) -> Callable[[str], str] | None:
    """Return what reads the commands of ``--convergence-step``, in place of the terminal: prompt in, line out.

    It raises :class:`EOFError` when there are no more. The first answer that is not ``None`` counts.

    Args:
        config: the configuration of the pytest session.
    """

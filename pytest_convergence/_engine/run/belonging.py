"""To whom the sessions belong that nobody gave a factory for: those of a state machine, which no fixture reaches.

The plugin says it while a test runs, in a context variable, as asyncio does with its running loop; outside of pytest nobody
does, and such sessions stand alone.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from pytest_convergence._engine.run.session import Session

__all__ = ["OWNING_TEST", "OwningTest"]


class OwningTest(Protocol):
    """A test that runs, as its sessions see it."""

    def begin_example(self) -> None:
        """Hypothesis begins another example, with sessions of its own."""
        ...

    def example_failed(self, error: BaseException) -> None:
        """The present example has failed with ``error``."""
        ...

    def make_session(self, options: dict[str, Any], *, name: str | None = None) -> Session:
        """Make a session that belongs to the test and takes its options as defaults."""
        ...


OWNING_TEST: Final[ContextVar[OwningTest | None]] = ContextVar("pytest_convergence_test", default=None)
"""The test that runs."""

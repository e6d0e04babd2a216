"""What went wrong in a run, and whether two failures are the same one."""

from __future__ import annotations

from typing import Any, Final, final

import pytest

from pytest_convergence._pytest.tracebacks import deepest_line
from pytest_convergence.errors import AgentError, PropertyViolation

__all__ = ["FAILURES", "Elsewhere", "Signature", "first_line", "kind_of", "signature_of"]

FAILURES: Final = (Exception, pytest.fail.Exception)
"""What counts as a failure of a test's body; a skip, or Ctrl-C, does not."""

Signature = tuple[Any, ...]


@final
class Elsewhere(Exception):
    """A failure of a run that was made in another process, which is told of by text.

    Attributes:
        signature: of the error that was raised there.
        kind: the name of its class.
        line: what went wrong, in a line.
        text: the error with its traceback, or how the process came to its end.
        is_dead: whether the process came to its end before it could tell of its run.
    """

    def __init__(
        self, signature: Signature, kind: str, line: str, text: str, *, is_dead: bool = False
    ) -> None:
        super().__init__(line)
        self.signature = signature
        self.kind = kind
        self.line = line
        self.text = text
        self.is_dead = is_dead


def signature_of(error: BaseException) -> Signature:
    """What makes two failures the same: the property, or the exception and the line of the user's that raised it.

    It consists of texts and numbers, so that it can be compared in another process.
    """
    if isinstance(error, Elsewhere):
        return error.signature
    if isinstance(error, PropertyViolation) and error.violations:
        return ("property", error.violations[0].property)
    if isinstance(error, AgentError) and error.__cause__ is not None:
        return ("agent", _name_of(error.__cause__), deepest_line(error.__cause__))
    return ("error", _name_of(error), deepest_line(error))


def _name_of(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"


def kind_of(error: BaseException) -> str:
    """Return the name of the error's class."""
    return error.kind if isinstance(error, Elsewhere) else type(error).__name__


def first_line(error: BaseException) -> str:
    """Say in a line what went wrong."""
    if isinstance(error, Elsewhere):
        return error.line
    if isinstance(error, PropertyViolation) and error.violations:
        return f"violated: {error.violations[0]}"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].removesuffix(':')}" if text else type(error).__name__

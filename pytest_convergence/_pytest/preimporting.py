"""Modules that are imported before the first simulated world begins.

A module that is first imported inside a run (a codec, a lazily loaded part of a library) takes entropy and time from it that
later runs do not spend: the first run would be another one than the same schedule made again.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

import pytest

__all__ = ["import_first"]


def import_first(modules: Iterable[str]) -> None:
    """Import modules.

    Raises:
        pytest.UsageError: one of them cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise pytest.UsageError(
                f"--convergence-preimport (or its ini twin) names {module!r}, which cannot be imported: {error}"
            ) from None

"""Values as text for people: never an error, never an address, never too long."""

from __future__ import annotations

import re
from typing import Any, Final

from pytest_convergence._engine.base.messages import Message

__all__ = ["text_of"]

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
"""An address differs from run to run, and tells nobody anything."""


_OURS: Final = f"{__name__.partition('.')[0]}."


def _speaks(value: Any) -> bool:
    """Whether a value is one of this package's that says in words what it is."""
    kind: Any = type(value)
    return bool(kind.__module__.startswith(_OURS) and kind.__str__ is not object.__str__)


def text_of(value: Any, limit: int = 2_000) -> str:
    """Return ``repr(value)`` without addresses, cut to about ``limit`` characters.

    What a ``__repr__`` raises is told in its place. Values of this package say themselves in words. A message is
    written as its id, its type and its payload.
    """
    if type(value) is Message:
        return f"{value.id} {value.type} {text_of(value.payload, limit)}"
    try:
        text = str(value) if _speaks(value) else repr(value)
    except Exception as error:  # the user's own method
        text = f"<{type(value).__name__}: its __repr__ raised {type(error).__name__}>"
    text = _ADDRESS.sub("", text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"

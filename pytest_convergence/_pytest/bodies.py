"""Tells what the body of a test is, without the engine: this is asked of every function that is collected."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["body_of", "is_async"]


def body_of(obj: Any) -> Any:
    """Return the function that holds the body of a test: what a static method holds, what Hypothesis wraps."""
    obj = getattr(obj, "__func__", obj)
    return getattr(getattr(obj, "hypothesis", None), "inner_test", obj)


def is_async(obj: Any) -> bool:
    """Whether a test's body is a coroutine function."""
    return inspect.iscoroutinefunction(body_of(obj))

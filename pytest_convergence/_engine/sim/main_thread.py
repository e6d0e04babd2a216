"""The main thread of a process, as ``threading`` sees it: one that it did not start, and knows all the same."""

from __future__ import annotations

import _thread
import sys
import threading
from typing import Any, Final, cast, final

__all__ = ["MainThread", "forget_thread"]

_get_ident: Final = _thread.get_ident


@final
class MainThread(threading._DummyThread):
    """The main thread of a process: what ``threading.main_thread()`` answers there."""

    def __init__(self) -> None:
        threading.Thread.__init__(self, name="MainThread", daemon=False)
        ident = _get_ident()
        of_threading, itself = cast("Any", threading), cast("Any", self)
        itself._ident = ident
        if sys.version_info >= (3, 13):
            itself._handle = of_threading._make_thread_handle(ident)
        itself._started.set()
        of_threading._active[ident] = self

    def join(self, timeout: float | None = None) -> None:
        """Who waits for it has waited when this is called."""


def forget_thread(ident: int) -> None:
    """Take away what ``threading`` knows of a thread that it did not start."""
    active = threading._active  # type: ignore[attr-defined]
    if isinstance(active.get(ident), threading._DummyThread):
        del active[ident]

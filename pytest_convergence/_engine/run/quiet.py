"""Silence while a world is cleared away.

Python runs the ``finally`` of whatever it closes. What programs of a world that is over still print, log or warn of then
comes from nobody that the test knows of: a machine that has lost power prints nothing.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Final, final

__all__ = ["quiet"]


@final
class _Nowhere(io.TextIOBase):
    """Takes all that is written, and keeps nothing."""

    def writable(self) -> bool:
        """It may be written to."""
        return True

    def write(self, text: str, /) -> int:
        """Forget ``text``."""
        return len(text)


_NOWHERE: Final = _Nowhere()


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is printed, logged or warned of inside the ``with``."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stdout(_NOWHERE), redirect_stderr(_NOWHERE):
        warnings.simplefilter("ignore")
        logging.disable(sys.maxsize)
        try:
            yield
        finally:
            logging.disable(before)

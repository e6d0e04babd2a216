"""The selector of a world without file descriptors: nothing can be registered, and nothing is ever awaited."""

from __future__ import annotations

import selectors
from collections.abc import Mapping
from typing import Any, NoReturn, final

from pytest_convergence.errors import SimulationEscapeError

__all__ = ["IdleSelector"]


@final
class IdleSelector(selectors.BaseSelector):
    """Refuses real file descriptors; the loop above never asks it to wait."""

    def _refuse(self, fileobj: object) -> NoReturn:
        raise SimulationEscapeError(
            f"a real file descriptor ({fileobj!r}) was given to the simulated event loop. Inside a run there are no real "
            "sockets or pipes: let agents exchange messages (agent.send, agent.request), or do the I/O outside the run."
        )

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Refuse."""
        self._refuse(fileobj)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Nothing is ever registered."""
        raise KeyError(f"{fileobj!r} is not registered")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing is ever ready."""
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return an empty mapping."""
        return {}

    def close(self) -> None:
        """Nothing to close."""

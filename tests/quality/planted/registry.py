"""All planted bugs."""

from __future__ import annotations

from typing import Final

from tests.quality.planted import (
    auctions,
    commits,
    elections,
    handoffs,
    hierarchies,
    logs,
    pipelines,
    replicas,
    rounds,
    sagas,
)
from tests.quality.planted.bug import Bug

__all__ = ["BUGS", "bug_called"]

_MODULES: Final = (
    elections,
    logs,
    commits,
    pipelines,
    rounds,
    auctions,
    hierarchies,
    sagas,
    handoffs,
    replicas,
)

BUGS: Final[tuple[Bug, ...]] = tuple(
    sorted((bug for module in _MODULES for bug in module.BUGS), key=lambda bug: bug.row)
)
"""In the order of the table."""


def bug_called(id: str) -> Bug:
    """Return the bug of that id."""
    return next(bug for bug in BUGS if bug.id == id)

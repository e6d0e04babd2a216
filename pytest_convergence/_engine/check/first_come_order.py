"""First come: the earliest write stands, by a declared order that is the same everywhere.

Source: L. Lamport, *Time, Clocks, and the Ordering of Events in a Distributed System* (1978): timestamps, and names where
they are equal, order all requests in the same way for everybody, whatever arrived first.
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.check.standing import standing_by

__all__ = ["FIRST_COME_ORDER"]

FIRST_COME_ORDER: Final[Property] = standing_by(
    "first_come_order",
    "first-come",
    "By first-come the earliest write stands, in the order of time, then author, wherever it arrived first.",
    latest=False,
)
"""The rule of first-come."""

"""Last write: by time, then author; a causal successor always wins, whatever the clocks say.

R. Thomas, *A Majority Consensus Approach to Concurrency Control for Multiple Copy Databases*, 1979 (the timestamp rule);
that time may only decide between concurrent writes is what vector clocks are for (D. S. Parker et al., *Detection of Mutual
Inconsistency in Distributed Systems*, 1983).
"""

from __future__ import annotations

from typing import Final

from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.check.standing import standing_by

__all__ = ["LAST_WRITE_RULE"]

LAST_WRITE_RULE: Final[Property] = standing_by(
    "last_write_rule",
    "last-write",
    "By last-write the latest of the writes stands that none has overwritten in knowledge: by time, then author.",
    latest=True,
)
"""The rule of last-write."""

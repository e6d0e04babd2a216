"""Which properties hold where replicas are used, and by which facts agents say that they have some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["AWAKENED_BY", "OF_CLOCKS", "OF_REPLICAS"]

OF_REPLICAS: Final = (
    "sec",
    "monotonic_version",
    "sync_equivalence",
    "idempotent_resync",
    "inflationary",
    "interval_covered",
    "resent_until_acked",
    "atomic_apply",
    "log_without_gap",
    "fold_is_state",
    "causal_context",
    "antichain",
)
"""What holds of replicas, whatever way they synchronise; each speaks of facts that some ways have."""

OF_CLOCKS: Final = ("clock_is_happens_before", "hybrid_clock")
"""What holds of the clocks that agents carry."""

AWAKENED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("replica", "joined", "told", "acked", "logged", "folded", "siblings", "write"), OF_REPLICAS
    ),
    **dict.fromkeys(("clock", "hybrid"), OF_CLOCKS),
}
"""From the first such fact of a run on these properties are judged; runs without pay nothing for them."""

"""What sessions did, in numbers, and their rendering for Prometheus.

1. A :class:`Tally` counts. It consists of builtin types only, so a worker can send it and the controller can merge it.
2. :class:`TallyCollector` shows a tally to prometheus_client at the moment of a scrape. It lives in one
   ``CollectorRegistry`` of the pytest session, never in the process-wide default.
3. Names follow Prometheus' conventions: base units, counters end in ``_total``. The labels are those of :data:`LABELS`,
   whose values are few; never a test, a session, an agent or a seed.
4. What is counted by labels that nobody knows in advance (the reason of a handoff) has no series before it happens.
"""

from __future__ import annotations

from pytest_convergence.metrics.definitions import BUCKETS, LABELS, OUTCOMES
from pytest_convergence.metrics.exposition import TallyCollector, registry_of, write_metrics
from pytest_convergence.metrics.tally import Distribution, PatternCounters, Tally

__all__ = [
    "BUCKETS",
    "LABELS",
    "OUTCOMES",
    "Distribution",
    "PatternCounters",
    "Tally",
    "TallyCollector",
    "registry_of",
    "write_metrics",
]

"""What ``sync=`` takes: the five ways to synchronise replicas, by name or with options.

==================  ==================  ================================================================================
name                with options        what replicas tell each other
==================  ==================  ================================================================================
``"full"``          :class:`Full`       the whole document
``"delta"``         :class:`Delta`      what came since the last acknowledgement
``"event"``         :class:`EventLog`   every write, in order, and now and then a snapshot
``"crdt"``          :class:`Crdt`       what another is not known to have, by gossip
``"vector-clock"``  :class:`Siblings`   for each path that differs the concurrent values that stand there
==================  ==================  ================================================================================

All five end in the same document and list the same conflicts; they differ in what they send, and in when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeAlias, final, runtime_checkable

from pytest_convergence._engine.base.time import to_ns
from pytest_convergence._engine.state.delta_sync import DeltaSync
from pytest_convergence._engine.state.event_sync import DEFAULT_SNAPSHOT_EVERY, EventSync
from pytest_convergence._engine.state.full_sync import FullSync
from pytest_convergence._engine.state.gossip_sync import GossipSync
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.sibling_sync import SiblingSync
from pytest_convergence._engine.state.spreading import SyncTiming
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["SYNCS", "Crdt", "Delta", "EventLog", "Full", "Siblings", "Sync", "SyncStrategy", "as_sync"]


@runtime_checkable
class SyncStrategy(Protocol):
    """A way to synchronise replicas. Whatever has a name and makes machines can be given as ``sync=``."""

    @property
    def name(self) -> str:
        """How reports and metrics call it."""
        ...

    def machine(self, replica: Replica, peers: Iterable[str]) -> Any:
        """Return the synchronisation machine of one replica.

        It is a :class:`Machine` that is told ``on_command("update", update)`` after each local write, and that has
        ``pending_peers()``: whom it still waits for.
        """
        ...


Sync: TypeAlias = "str | SyncStrategy"
"""What ``sync=`` takes."""


def _timing(interval: float) -> SyncTiming:
    return SyncTiming(resend_ns=to_ns(interval, "interval"))


@dataclass(frozen=True, slots=True)
class _Told:
    """What the strategies share that tell until they are answered."""

    interval: float = 1.0

    def __post_init__(self) -> None:
        _timing(self.interval)


@final
@dataclass(frozen=True, slots=True)
class Full(_Told):
    """``sync="full"``: the whole document, applied at one stroke.

    Attributes:
        interval: after how many virtual seconds it is told again, if no acknowledgement came; doubles up to eight times.

    Raises:
        ConvergenceUsageError: the interval is not positive.
    """

    name: ClassVar[str] = "full"

    def machine(self, replica: Replica, peers: Iterable[str]) -> FullSync:
        """Return the machine of one replica."""
        return FullSync(replica, peers, _timing(self.interval))


@final
@dataclass(frozen=True, slots=True)
class Delta(_Told):
    """``sync="delta"``: what came since the last acknowledgement.

    Attributes:
        interval: after how many virtual seconds it is told again, if no acknowledgement came; doubles up to eight times.

    Raises:
        ConvergenceUsageError: the interval is not positive.
    """

    name: ClassVar[str] = "delta"

    def machine(self, replica: Replica, peers: Iterable[str]) -> DeltaSync:
        """Return the machine of one replica."""
        return DeltaSync(replica, peers, _timing(self.interval))


@final
@dataclass(frozen=True, slots=True)
class EventLog(_Told):
    """``sync="event"``: every write, once and in order, folded by each replica.

    Attributes:
        interval: after how many virtual seconds it is told again, if no acknowledgement came; doubles up to eight times.
        snapshot_every: after how many events a log is compacted into a snapshot.

    Raises:
        ConvergenceUsageError: the interval is not positive, or ``snapshot_every`` not a whole number from 1 up.
    """

    snapshot_every: int = DEFAULT_SNAPSHOT_EVERY
    name: ClassVar[str] = "event"

    def __post_init__(self) -> None:
        _timing(self.interval)
        if type(self.snapshot_every) is not int or self.snapshot_every < 1:
            raise ConvergenceUsageError(
                f"snapshot_every must be a whole number >= 1, not {self.snapshot_every!r}."
            )

    def machine(self, replica: Replica, peers: Iterable[str]) -> EventSync:
        """Return the machine of one replica."""
        return EventSync(replica, peers, _timing(self.interval), snapshot_every=self.snapshot_every)


@final
@dataclass(frozen=True, slots=True)
class Crdt:
    """``sync="crdt"``: joins of parts of the state, passed on by gossip.

    Attributes:
        period: how many virtual seconds a replica waits between two tellings.

    Raises:
        ConvergenceUsageError: the period is not positive.
    """

    period: float = 0.25
    name: ClassVar[str] = "crdt"

    def __post_init__(self) -> None:
        if to_ns(self.period, "period") == 0:
            raise ConvergenceUsageError(f"period must be greater than 0 seconds, not {self.period!r}.")

    def machine(self, replica: Replica, peers: Iterable[str]) -> GossipSync:
        """Return the machine of one replica."""
        return GossipSync(replica, peers, to_ns(self.period, "period"))


@final
@dataclass(frozen=True, slots=True)
class Siblings(_Told):
    """``sync="vector-clock"``: for each path that differs the concurrent values that stand there.

    Attributes:
        interval: after how many virtual seconds it is told again, if no acknowledgement came; doubles up to eight times.

    Raises:
        ConvergenceUsageError: the interval is not positive.
    """

    name: ClassVar[str] = "vector-clock"

    def machine(self, replica: Replica, peers: Iterable[str]) -> SiblingSync:
        """Return the machine of one replica."""
        return SiblingSync(replica, peers, _timing(self.interval))


SYNCS: Final[Mapping[str, SyncStrategy]] = {
    strategy.name: strategy for strategy in (Full(), Delta(), EventLog(), Crdt(), Siblings())
}
"""The strategies by name, with their usual options."""


def as_sync(sync: Sync) -> SyncStrategy:
    """Return the strategy that ``sync`` means.

    Raises:
        ConvergenceUsageError: there is no strategy of that name, or the argument is neither a name nor a strategy.
    """
    if isinstance(sync, str):
        found = SYNCS.get(sync)
        if found is None:
            raise unknown_name("sync strategy", sync, SYNCS)
        return found
    if isinstance(sync, SyncStrategy) and not isinstance(sync, type):
        return sync
    raise ConvergenceUsageError(
        f"sync={sync!r} is neither the name of a strategy ({', '.join(map(repr, SYNCS))}) nor a strategy, such as "
        "Delta(interval=0.5)."
    )

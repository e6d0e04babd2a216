"""What a Raft leader knows of its followers: the pure part of committing, of leases and of reading.

Sources: Ongaro and Ousterhout (2014), sections 5.3 and 5.4.2; Ongaro, *Consensus: Bridging Theory and Practice* (2014),
section 6.4; Gray and Cheriton, *Leases* (SOSP 1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, final

from pytest_convergence._engine.base.effects import SetTimer
from pytest_convergence._engine.patterns.quorum import committed_index

__all__ = ["HOURGLASS_TIMER", "Commitment", "Lease", "Reading", "lease_ns"]

HOURGLASS_TIMER: Final = "hourglass."
_PPM: Final = 1_000_000


@final
class Commitment:
    """How far the log of one leader's term is committed.

    1. An index is committed once a quorum of the *configured* members hold the log up to it.
    2. The leader counts only from ``start`` on, where its own term begins. Entries of earlier terms that a quorum holds
       may still be overwritten (figure 8); they are committed with the first entry of the present term that is.

    Attributes:
        index: the highest committed index, 0 while there is none of this term. It never decreases.
    """

    __slots__ = ("_held", "_members", "_start", "index")

    def __init__(self, members: Sequence[str], start: int) -> None:
        self._members = tuple(members)
        self._held: dict[str, int] = {}
        self._start = start
        self.index = 0

    def held_by(self, member: str) -> int:
        """Return up to which index ``member`` is known to hold the leader's log."""
        return self._held.get(member, 0)

    def match(self, member: str, index: int) -> None:
        """Take note that ``member`` holds the log up to ``index``; old news change nothing."""
        if index > self._held.get(member, 0):
            self._held[member] = index
            self._count()

    def set_members(self, members: Sequence[str]) -> None:
        """Count another configuration from now on."""
        self._members = tuple(members)
        self._count()

    def _count(self) -> None:
        index = committed_index(self._members, self._held)
        if index >= self._start:
            self.index = max(self.index, index)


def lease_ns(vow_ns: int, max_clock_drift: float) -> int:
    """Return for how long a leader may rely on vows that last ``vow_ns`` on the clocks of those who made them.

    Clocks run at a rate between ``1 - drift`` and ``1 + drift``: the leader's may be slow while a follower's is fast.
    """
    drift = round(max_clock_drift * _PPM)
    return vow_ns * (_PPM - drift) // (_PPM + drift)


@final
class Lease:
    """A leader's lease: it lasts while a quorum has answered a heartbeat that is not older than the lease is long.

    A machine has no clock, so each heartbeat turns an hourglass, a timer, over. A lease runs from the *sending* of the
    heartbeat, the vow of a follower from its arrival, which is later.
    """

    __slots__ = ("_answered", "_glasses", "_length_ns", "_members", "_name", "beat", "run_out")

    def __init__(self, name: str, members: Sequence[str], length_ns: int, heartbeat_ns: int) -> None:
        self._name = name
        self._members = tuple(members)
        self._length_ns = length_ns
        self._glasses = [0] * (length_ns // heartbeat_ns + 2)  # more than can run at a time
        self._answered: dict[str, int] = {}
        self.beat = 0
        self.run_out = 0

    def begin(self) -> None:
        """Begin to lead: what was answered to an earlier leadership is worth nothing."""
        self._answered.clear()
        self.run_out = self.beat

    def turn(self) -> SetTimer:
        """A heartbeat is about to be sent."""
        self.beat += 1
        glass = self.beat % len(self._glasses)
        self._glasses[glass] = self.beat
        return SetTimer(f"{HOURGLASS_TIMER}{glass}", self._length_ns, background=True)

    def ran_out(self, timer: str) -> None:
        """An hourglass has run out."""
        self.run_out = max(self.run_out, self._glasses[int(timer.removeprefix(HOURGLASS_TIMER))])

    def answered(self, member: str, beat: int) -> None:
        """``member`` has answered a heartbeat."""
        self._answered[member] = max(beat, self._answered.get(member, 0))

    @property
    def is_held(self) -> bool:
        """Whether a quorum has answered a heartbeat that has not run out."""
        answered = {**self._answered, self._name: self.beat}
        return committed_index(self._members, answered) > self.run_out


class Reading(NamedTuple):
    """A read that waits for a quorum to confirm that its leader still leads.

    Attributes:
        id: the read.
        asker: the agent that serves it.
        index: the state up to here is what it must see.
        round: the round of messages that a quorum must answer.
    """

    id: str
    asker: str
    index: int  # type: ignore[assignment]  # tuple.index gives way to the field
    round: int

"""Logical clocks as values: Lamport, vector and hybrid.

A clock never changes: ticking or merging gives a new one, so a clock may be put into a message, a set or a trace.

1. *Lamport* (L. Lamport, Time, Clocks, and the Ordering of Events in a Distributed System, 1978): if a happened before
   b then ``a < b``; the converse does not hold. Ties are broken by the agent's name, which makes the order total.
2. *Vector* (C. Fidge 1988, F. Mattern 1989): a happened before b **if and only if** ``a < b``; clocks that are not
   ordered are concurrent.
3. *Hybrid* (S. Kulkarni et al., Logical Physical Clocks, 2014, figure 5): a Lamport clock that stays close to physical
   time, so that it can be read as an instant.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, final

from pytest_convergence.errors import ConvergenceError, ConvergenceUsageError

__all__ = ["ClockDriftError", "HybridClock", "LamportClock", "VectorClock"]


class ClockDriftError(ConvergenceError):
    """A hybrid clock met a timestamp further ahead of its own physical clock than it was told to accept."""


@final
class VectorClock(Mapping[str, int]):
    """How many events of each agent are known. Immutable and hashable.

    ``a < b`` is happens-before, ``a <= b`` also allows equality, ``a | b`` is the least clock that covers both,
    ``a & b`` the greatest that both cover. An agent that a clock does not name counts as 0, and zero entries are
    dropped, so ``VectorClock({"a": 0})`` equals ``VectorClock()``.
    Iteration is in the order of the names, so that equal clocks are walked and printed alike.

    Raises:
        ConvergenceUsageError: a name is not a string, or a count is not a whole number from 0 up.
    """

    __slots__ = ("_counts",)

    _counts: dict[str, int]

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        checked: dict[str, int] = {}
        if isinstance(counts, VectorClock):
            checked = counts._counts
        elif counts is not None:
            for agent, count in counts.items():
                if not isinstance(agent, str):
                    raise ConvergenceUsageError(f"a vector clock counts by agent name, not by {agent!r}.")
                if type(count) is not int or count < 0:  # a bool is no count
                    raise ConvergenceUsageError(
                        f"the count of {agent!r} in a vector clock must be a whole number from 0 up, not {count!r}."
                    )
                if count:
                    checked[agent] = count
        _set_counts(self, checked)

    def tick(self, agent: str) -> VectorClock:
        """Return the clock after one more event of ``agent``."""
        if not isinstance(agent, str):
            raise ConvergenceUsageError(f"a vector clock counts by agent name, not by {agent!r}.")
        counts = self._counts.copy()
        counts[agent] = counts.get(agent, 0) + 1
        return _vector(counts)

    def concurrent_with(self, other: VectorClock) -> bool:
        """Whether neither happened before the other and they are not equal."""
        return not (_covers(other._counts, self._counts) or _covers(self._counts, other._counts))

    def covers(self, agent: str, count: int) -> bool:
        """Whether event number ``count`` of ``agent`` is known."""
        return self._counts.get(agent, 0) >= count

    def __or__(self, other: VectorClock) -> VectorClock:
        if not isinstance(other, VectorClock):
            return NotImplemented
        counts = self._counts.copy()
        known = counts.get
        for agent, count in other._counts.items():
            if count > known(agent, 0):
                counts[agent] = count
        return _vector(counts)

    def __and__(self, other: VectorClock) -> VectorClock:
        if not isinstance(other, VectorClock):
            return NotImplemented
        theirs = other._counts
        return _vector(
            {agent: min(count, theirs[agent]) for agent, count in self._counts.items() if agent in theirs}
        )

    def __le__(self, other: VectorClock) -> bool:
        if not isinstance(other, VectorClock):
            return NotImplemented
        return _covers(other._counts, self._counts)

    def __lt__(self, other: VectorClock) -> bool:
        if not isinstance(other, VectorClock):
            return NotImplemented
        return self._counts != other._counts and _covers(other._counts, self._counts)

    def __ge__(self, other: VectorClock) -> bool:
        if not isinstance(other, VectorClock):
            return NotImplemented
        return _covers(self._counts, other._counts)

    def __gt__(self, other: VectorClock) -> bool:
        if not isinstance(other, VectorClock):
            return NotImplemented
        return self._counts != other._counts and _covers(self._counts, other._counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VectorClock):
            return NotImplemented
        return self._counts == other._counts

    def __hash__(self) -> int:
        return hash(frozenset(self._counts.items()))

    def __getitem__(self, agent: str) -> int:
        return self._counts.get(agent, 0)

    def get(self, agent: str, /, default: Any = 0) -> Any:
        """Return the count of ``agent``, or ``default`` if the clock does not name it."""
        return self._counts.get(agent, default)

    def __contains__(self, agent: object) -> bool:
        return agent in self._counts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._counts))

    def __len__(self) -> int:
        return len(self._counts)

    def items(self) -> ItemsView[str, int]:
        """The agents that count at least 1, with their counts, in the order of the names."""
        return dict(sorted(self._counts.items())).items()

    def total(self) -> int:
        """The number of events that are known. Larger than that of every clock that happened before."""
        return sum(self._counts.values())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"a VectorClock is immutable: cannot set {name!r}; tick() and | give a new clock"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a VectorClock is immutable: cannot delete {name!r}")

    def __copy__(self) -> VectorClock:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> VectorClock:
        return self

    def __reduce__(self) -> tuple[type[VectorClock], tuple[dict[str, int]]]:
        return VectorClock, (dict(self.items()),)

    def __repr__(self) -> str:
        return f"VectorClock({dict(self.items())})"


# Clocks are made once per event: the two hot paths go around __init__ (which checks) and __setattr__ (which refuses).
_set_counts: Final = VectorClock._counts.__set__  # type: ignore[attr-defined]
_new: Final = VectorClock.__new__


def _vector(counts: dict[str, int]) -> VectorClock:
    clock = _new(VectorClock)
    _set_counts(clock, counts)
    return clock


def _covers(larger: dict[str, int], smaller: dict[str, int]) -> bool:
    if len(smaller) > len(larger):  # no zeros are kept, so every name of the smaller must be in the larger
        return False
    known = larger.get
    for agent, count in smaller.items():  # noqa: SIM110 - a generator in all() takes twice as long
        if count > known(agent, 0):
            return False
    return True


@final
@dataclass(frozen=True, slots=True, order=True)
class LamportClock:
    """A scalar clock of one agent, ordered by count, ties by the agent's name."""

    count: int = 0
    agent: str = ""

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 0:
            raise ConvergenceUsageError(f"a Lamport clock counts from 0 up, not {self.count!r}.")

    def tick(self) -> LamportClock:
        """Return the clock after one more event of its agent (sending included)."""
        return LamportClock(self.count + 1, self.agent)

    def receive(self, other: LamportClock) -> LamportClock:
        """Return the clock after the reception of a message that was sent at ``other``."""
        return LamportClock(max(self.count, other.count) + 1, self.agent)


@final
@dataclass(frozen=True, slots=True, order=True)
class HybridClock:
    """A hybrid logical clock: ``l_ns``, the largest physical instant heard of, and ``c``, which orders equals.

    If a happened before b then ``a < b``, and ``l_ns`` is never further from physical time than the clocks of the
    agents are from each other. Physical instants are given by the caller, in nanoseconds.
    """

    l_ns: int = 0
    c: int = 0

    def __post_init__(self) -> None:
        if self.l_ns < 0 or self.c < 0:
            raise ConvergenceUsageError(
                f"a hybrid clock has no negative parts: l_ns={self.l_ns}, c={self.c}."
            )

    def tick(self, physical_ns: int) -> HybridClock:
        """Return the clock after a local event, or a sending, at ``physical_ns``."""
        if physical_ns > self.l_ns:
            return HybridClock(physical_ns, 0)
        return HybridClock(self.l_ns, self.c + 1)

    def receive(
        self, other: HybridClock, physical_ns: int, *, max_drift_ns: int | None = None
    ) -> HybridClock:
        """Return the clock after the reception, at ``physical_ns``, of a message that was sent at ``other``.

        Raises:
            ClockDriftError: ``other`` is more than ``max_drift_ns`` ahead of ``physical_ns``. The clock is as before:
                one agent's broken clock must not drag everybody's into the future.
        """
        if max_drift_ns is not None and other.l_ns - physical_ns > max_drift_ns:
            raise ClockDriftError(
                f"a timestamp is {other.l_ns - physical_ns} ns ahead of the local clock, and at most {max_drift_ns} ns "
                "are accepted: correct the sender's clock, or raise max_drift_ns."
            )
        latest = max(self.l_ns, other.l_ns, physical_ns)
        if latest == self.l_ns and latest == other.l_ns:
            return HybridClock(latest, max(self.c, other.c) + 1)
        if latest == self.l_ns:
            return HybridClock(latest, self.c + 1)
        if latest == other.l_ns:
            return HybridClock(latest, other.c + 1)
        return HybridClock(latest, 0)

"""Dotted version vector sets: the values that concurrent writers left at one place, with exactly their causal past.

1. Each writer numbers its writes. A set keeps for each writer a number n and the newest of its values: the writes up to n
   have been seen, and those whose values are not kept have been overwritten by somebody who had read them.
2. A writer gives the *context* that it had read. What that context has seen goes, what it has not seen stays: the values
   that remain are *siblings*. No sibling has seen another, so they form an antichain.
3. ``sync`` keeps of two sets what neither has overwritten. It is commutative, associative and idempotent.

Source: N. Preguiça, C. Baquero, P. Almeida, V. Fonte, R. Gonçalves, Dotted Version Vectors: Efficient Causality Tracking
for Distributed Key-Value Stores, 2012; the compact form with one list per writer: P. Almeida et al., Scalable and Accurate
Causality Tracking for Eventually Consistent Stores, 2014, section 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.values import encode

__all__ = ["DottedSiblings", "Written"]


class Written(NamedTuple):
    """What is known of one writer: the number of its last write, and the values that stand, newest first."""

    last: int
    values: tuple[Any, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class DottedSiblings:
    """A dotted version vector set. Immutable.

    Attributes:
        writers: what is known of each writer.
        anonymous: values that nobody numbered; a write that has seen anything replaces them.
    """

    writers: Mapping[str, Written] = field(default_factory=dict)
    anonymous: tuple[Any, ...] = ()

    @property
    def values(self) -> tuple[Any, ...]:
        """The siblings: the anonymous ones, then by writer, newest first."""
        return (*self.anonymous, *(value for _, value in self.dotted()))

    def dotted(self) -> Iterator[tuple[tuple[str, int], Any]]:
        """The numbered siblings with writer and number, by writer, newest first."""
        for writer in sorted(self.writers):
            written = self.writers[writer]
            for age, value in enumerate(written.values):
                yield (writer, written.last - age), value

    @property
    def context(self) -> VectorClock:
        """What a reader of this set has seen (*join* in the papers)."""
        return VectorClock({writer: written.last for writer, written in self.writers.items()})

    def sync(self, other: DottedSiblings) -> DottedSiblings:
        """Return what neither of two sets has overwritten."""
        writers = dict(self.writers)
        for writer, theirs in other.writers.items():
            mine = writers.get(writer)
            writers[writer] = theirs if mine is None else _merged(mine, theirs)
        if self._is_behind(other):
            anonymous = other.anonymous
        elif other._is_behind(self):
            anonymous = self.anonymous
        else:
            both = {encode(value): value for value in (*self.anonymous, *other.anonymous)}
            anonymous = tuple(both[key] for key in sorted(both))
        return DottedSiblings(writers, anonymous)

    def discard(self, context: VectorClock) -> DottedSiblings:
        """Return the set without what ``context`` has seen."""
        writers = {
            writer: Written(known.last, known.values[: max(0, known.last - context[writer])])
            for writer, known in self.writers.items()
        }
        for writer, count in context.items():
            known = writers.get(writer, Written(0))
            writers[writer] = Written(max(known.last, count), known.values)
        return DottedSiblings(writers, self.anonymous if not context else ())

    def write(self, writer: str, value: Any, context: VectorClock) -> DottedSiblings:
        """Return the set after ``writer`` has written ``value``, having read ``context``."""
        left = self.discard(context)
        known: Written = left.writers.get(writer, Written(0))
        written = Written(known.last + 1, (value, *known.values))
        return DottedSiblings({**left.writers, writer: written}, left.anonymous)

    def _is_behind(self, other: DottedSiblings) -> bool:
        """Whether ``other`` has seen all that this set has, and more."""
        return self.context < other.context


def _merged(one: Written, other: Written) -> Written:
    """What two sets know of one writer. Of the values that both could hold those stand that both do."""
    if one.last < other.last:
        one, other = other, one
    overwritten = other.last - len(other.values)  # the other has seen these, and does not hold them any more
    if one.last - len(one.values) >= overwritten:
        return one
    return Written(one.last, one.values[: one.last - overwritten])

"""Thinks out small schedules that may fail as a large one does: one or two faults at the instants that decide.

Reduction finds the smallest part of what a search has drawn. The smallest counterexample may be no part of that: no noise
cuts off whoever *votes*, for instance. But most bugs of distributed programs need only a few faults at the right place (Yuan
et al., "Simple testing can prevent most critical failures", OSDI 2014: three events are enough in nine of ten), and any
failure, however large, shows which place that is:

1. *What decides* are the messages after which the agents said the facts that prove the violation: a vote, if two became
   leader. Their types are taken from the failing run.
2. *Where it is decided* in a calm run are the instants at which the first messages of these types are sent and received.
3. Two faults are tried at once: outages (cut off alone or with another, paused, crashed) at steps of these instants, and
   these messages late, twice or lost. Pairs are drawn, but the same each time. Where one of the two would be enough, the
   reduction of what is found will tell.
4. Every third time one fault is tried alone, and there are few such: so it may strike later as well, for instance when the
   same messages have more to say.

Every candidate is a real run, in which the same property must be violated.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Final, NamedTuple, Self

from pytest_convergence._engine.base.choices import split_label
from pytest_convergence._engine.base.survey import Lasting, Sent, Survey
from pytest_convergence.explore.shrinking import Deviation

__all__ = ["synthesize"]

Deviations = tuple[Deviation, ...]

_MOST_OF_A_TYPE: Final = 6
_MOST_ON_A_LINK: Final = 16
"""So many of a type, on each link, may be struck by a fault that is alone."""
_MOST_STEPS: Final = 40
_MOST_LATER_STEPS: Final = 160
_MOST_DRAWN: Final = 10_000
_MOST_TRIED: Final = 1_000
_LONG: Final = 4
"""In half of the pairs faults last at most so many times as long as a calm run takes until these messages are there; in
the others anything from a millisecond to the length of the known failure, each order of magnitude as often."""
_SHORT: Final = 0.5
_LEAST_NS: Final = 1_000_000
_AFTERWARDS: Final = 1.5
"""A run is given up after so many times the instant at which the last fault is over."""
_COSTLY: Final = 4
"""What takes longer than so many times the usual run is tried the less often, the longer it takes."""
_TOGETHER: Final = 0.7
"""Odds that both last equally long: who was cut off comes back as the late message comes."""


def synthesize(
    fails: Callable[[Deviations, int], bool],
    decisive: Set[str],
    calm: Survey,
    session: int,
    lasted_ns: int,
    may_go_on: Callable[[], bool],
) -> Deviations | None:
    """Return one or two deviations that fail in the same way, if any are found.

    Args:
        fails: runs with the given deviations only, up to a horizon in virtual nanoseconds, and says whether the same failure
            comes about.
        decisive: the types of the messages that decided the known failure.
        calm: what the run without any deviation is like.
        session: which session of the test these are, counted from 0.
        lasted_ns: how long the known failure took, in virtual nanoseconds.
        may_go_on: whether there is time left; asked before each run.
    """
    deciding = [message for message in calm.sent if message.type in decisive]
    first = _first(deciding, lambda one: one.type, _MOST_OF_A_TYPE)
    if not first:
        return None
    early = _Sites.of(first, calm, _MOST_STEPS)
    later = _first(deciding, _link_and_type, _MOST_ON_A_LINK)
    late = _Sites.of(later, calm, _MOST_LATER_STEPS)
    decided_ns = max(map(_over_ns, first))
    usual_ns = (1 + _LONG) * decided_ns
    stream, tried = random.Random(0), 0
    for candidate, over_ns in _drawn(early, late, session, stream, decided_ns, lasted_ns):
        if tried >= _MOST_TRIED or not may_go_on():
            break
        if stream.random() * over_ns > _COSTLY * usual_ns:
            continue  # in the time that it takes, many shorter ones are tried
        tried += 1
        if fails(candidate, int(_AFTERWARDS * over_ns)):
            return candidate
    return None


class _Site(NamedTuple):
    """Where something may happen: the label, what may be chosen there, and when."""

    label: str
    domain: Lasting
    at_ns: int


class _Sites(NamedTuple):
    """Where agents may fail, and messages."""

    outages: Sequence[_Site]
    fates: Sequence[_Site]

    @classmethod
    def of(cls, messages: Sequence[Sent], calm: Survey, most: int) -> Self:
        """Return the messages, and the first steps that are taken when they are sent or received."""
        return cls(tuple(_outages(messages, calm, most)), tuple(_fates(messages, calm)))


def _drawn(
    early: _Sites, late: _Sites, session: int, stream: random.Random, decided_ns: int, lasted_ns: int
) -> Iterator[tuple[Deviations, int]]:
    """Draw pairs, half of them of an outage and a message, and faults that are alone; tell when each is over."""

    def length_ns() -> int:
        if stream.random() < _SHORT:
            return int(stream.random() * _LONG * decided_ns)
        return int(_LEAST_NS * (max(lasted_ns, _LEAST_NS) / _LEAST_NS) ** stream.random())

    outages, fates = early
    sorts = (
        (outages, fates),
        (late.fates,),
        (outages, outages),
        (outages, fates),
        (late.outages,),
        (fates, fates),
    )
    possible = [each for each in sorts if all(each)]
    for sites in itertools.islice(itertools.cycle(possible), _MOST_DRAWN if possible else 0):
        drawn = [stream.choice(each) for each in sites]
        lengths = [length_ns() for _ in drawn]
        if stream.random() < _TOGETHER:
            lengths = lengths[:1] * len(drawn)
        # No network holds up messages for ever, and what is at most possible is but one of the lengths that may matter.
        lengths = [
            length if length < site.domain.longest_ns else int(stream.random() * site.domain.longest_ns)
            for site, length in zip(drawn, lengths, strict=True)
        ]
        options = [site.domain.lasting(length) for site, length in zip(drawn, lengths, strict=True)]
        if len({site.label for site in drawn}) == len(drawn) and all(options):
            faults = [
                Deviation(session, site.label, stream.choice(each))
                for site, each in zip(drawn, options, strict=True)
            ]
            yield tuple(faults), max(decided_ns, *(site.at_ns for site in drawn)) + max(lengths)


def _first(messages: Iterable[Sent], key: Callable[[Sent], object], most: int) -> list[Sent]:
    """The first messages of each key."""
    count: Counter[object] = Counter()
    found = []
    for message in messages:
        count[key(message)] += 1
        if count[key(message)] <= most:
            found.append(message)
    return found


def _link_and_type(message: Sent) -> object:
    return split_label(message.label)[0], message.type


def _over_ns(message: Sent) -> int:
    return max(message.sent_ns, message.received_ns)


def _fates(messages: Sequence[Sent], calm: Survey) -> Iterator[_Site]:
    for message in messages:
        domain = calm.faults.get(split_label(message.label)[0])
        if domain is not None:
            yield _Site(message.label, domain, _over_ns(message))


def _outages(messages: Sequence[Sent], calm: Survey, most: int) -> Iterator[_Site]:
    instants = {at_ns for one in messages for at_ns in (one.sent_ns, one.received_ns)}
    steps = [step for step in calm.steps if step.at_ns in instants][:most]
    for stem, domain in calm.faults.items():
        _, _, agent = stem.partition(" ")
        yield from (
            _Site(f"{stem} #{step.number}", domain, step.at_ns) for step in steps if step.agent == agent
        )

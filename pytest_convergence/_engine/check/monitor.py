"""All checkers of one run: events in, violations out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import Checker, FinalState, Kind, Property, Scope, Violation

__all__ = ["Monitor"]

_Pair: TypeAlias = "tuple[Property, Checker]"
_Asking: TypeAlias = "tuple[tuple[_Pair, Checker, frozenset[str]], ...]"
"""Checkers that are to be fed, and what kinds of events each asked for when that was settled."""

_Answer: TypeAlias = "tuple[frozenset[str], dict[str, _Asking], dict[str, _Asking]]"


@final
class Monitor:
    """Feeds the events of a run to the checkers of its properties.

    Every property is reported once, by the first violation that proves it broken.

    Attributes:
        kinds: the kinds of events that some checker needs at present. Events of other kinds need not be fed. It changes
            with what is fed, so ask again after each event.
        violations: all so far, in the order in which they were found.
    """

    __slots__ = ("_asking", "_checkers", "_known", "_of_facts", "_sometimes", "kinds", "violations")

    def __init__(self, properties: Iterable[Property], scope: Scope) -> None:
        self._checkers: list[_Pair] = [(each, each.checker(scope)) for each in properties]
        self._sometimes = [pair for pair in self._checkers if pair[0].kind is Kind.SOMETIMES]
        self.violations: list[Violation] = []
        self.kinds: frozenset[str] = frozenset()
        self._asking: dict[str, _Asking] = {}  # kinds to the checkers that need them at present
        # What checkers ask for goes to and fro between a few answers: what follows from each is kept.
        self._known: dict[tuple[frozenset[str], ...], _Answer] = {}
        self._of_facts: dict[str, _Asking] = {}  # the same of single facts, as they come up
        self._ask_kinds()

    def _ask_kinds(self) -> None:
        asked = self.asked
        known = self._known.get(asked)
        if known is None:
            kinds = frozenset().union(*asked)
            asking = {
                kind: tuple(
                    [
                        (pair, pair[1], its)
                        for pair, its in zip(self._checkers, asked, strict=True)
                        if kind in its
                    ]
                )
                for kind in kinds
            }
            known = self._known[asked] = kinds, asking, {}
        self.kinds, self._asking, self._of_facts = known

    def _ask_about(self, fact: str) -> _Asking:
        """The checkers that are fed this fact: those that name no facts, and those that name this one."""
        asking = tuple(
            [each for each in self._asking.get("observe", ()) if fact in getattr(each[1], "facts", (fact,))]
        )
        self._of_facts[fact] = asking
        return asking

    def feed(self, event: TraceEvent) -> tuple[Violation, ...]:
        """Take the next event; return the violations that it proves."""
        if event.kind == "observe":
            fact = fact_of(event)[0]
            asking = self._of_facts.get(fact)
            if asking is None:
                asking = self._ask_about(fact)
        else:
            asking = self._asking.get(event.kind)
        if not asking:
            return ()
        found = []
        changed = False
        for pair, checker, asked in asking:
            violation = checker.feed(event)
            if violation is not None:
                found.append((pair, violation))
            elif checker.kinds is not asked:  # only what it is fed changes what a checker asks for
                changed = True
        if found:
            return self._note(found)
        if changed:
            self._ask_kinds()
        return ()

    def feed_all(self, events: Iterable[TraceEvent]) -> tuple[Violation, ...]:
        """Take many events; return the violations that they prove."""
        return tuple(violation for event in events for violation in self.feed(event))

    def expects(self, final: FinalState) -> bool:
        """Whether something is still missing that may yet come, if the run did not end here (see :class:`Checker`)."""
        return any(
            getattr(checker, "patient", False) and checker.finish(final) is not None
            for _, checker in self._checkers
        )

    def split(self, names: Iterable[str]) -> Monitor:
        """Give up the properties of these names to a monitor of their own, and return it."""
        wanted = set(names)
        other = Monitor((), Scope(()))
        other._checkers = [pair for pair in self._checkers if pair[0].name in wanted]
        self._checkers = [pair for pair in self._checkers if pair[0].name not in wanted]
        for monitor in (self, other):
            monitor._sometimes = [pair for pair in monitor._checkers if pair[0].kind is Kind.SOMETIMES]
            monitor._known.clear()
            monitor._ask_kinds()
        return other

    def finish(self, final: FinalState) -> tuple[Violation, ...]:
        """Take the end of the run; return the violations that it proves."""
        found = [
            (pair, violation) for pair in self._checkers if (violation := pair[1].finish(final)) is not None
        ]
        return self._note(found) if found else ()

    def _note(self, found: list[tuple[tuple[Property, Checker], Violation]]) -> tuple[Violation, ...]:
        for pair, violation in found:
            self._checkers.remove(pair)
            self.violations.append(violation)
        self._known.clear()
        self._ask_kinds()
        return tuple(violation for _, violation in found)

    @property
    def asked(self) -> tuple[frozenset[str], ...]:
        """The kinds of events that each checker needs at present."""
        return tuple([checker.kinds for _, checker in self._checkers])

    @property
    def reached(self) -> dict[str, bool]:
        """The *sometimes* properties, and whether this run has reached them."""
        return {each.name: bool(getattr(checker, "reached", False)) for each, checker in self._sometimes}

    @property
    def unreached(self) -> tuple[str, ...]:
        """The names of the *sometimes* properties that this run did not reach."""
        return tuple(name for name, reached in self.reached.items() if not reached)

"""All checkers of one run: events in, violations out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.property import Checker, FinalState, Kind, Property, Scope, Violation

__all__ = ["Monitor"]


@final
class Monitor:
    """Feeds the events of a run to the checkers of its properties.

    Every property is reported once, by the first violation that proves it broken.

    Attributes:
        kinds: the kinds of events that some checker needs at present. Events of other kinds need not be fed. It changes
            with what is fed, so ask again after each event.
        violations: all so far, in the order in which they were found.
    """

    __slots__ = ("_checkers", "_sometimes", "kinds", "violations")

    def __init__(self, properties: Iterable[Property], scope: Scope) -> None:
        self._checkers: list[tuple[Property, Checker]] = [(each, each.checker(scope)) for each in properties]
        self._sometimes = [pair for pair in self._checkers if pair[0].kind is Kind.SOMETIMES]
        self.violations: list[Violation] = []
        self.kinds: frozenset[str] = frozenset()
        self._ask_kinds()

    def _ask_kinds(self) -> None:
        self.kinds = frozenset().union(*(checker.kinds for _, checker in self._checkers))

    def feed(self, event: TraceEvent) -> tuple[Violation, ...]:
        """Take the next event; return the violations that it proves."""
        kind = event.kind
        if kind not in self.kinds:
            return ()
        found = []
        changed = False
        for pair in self._checkers:
            checker = pair[1]
            asked = checker.kinds
            if kind in asked:
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
        self._ask_kinds()
        return tuple(violation for _, violation in found)

    @property
    def asked(self) -> tuple[frozenset[str], ...]:
        """The kinds of events that each checker needs at present."""
        return tuple(checker.kinds for _, checker in self._checkers)

    @property
    def reached(self) -> dict[str, bool]:
        """The *sometimes* properties, and whether this run has reached them."""
        return {each.name: bool(getattr(checker, "reached", False)) for each, checker in self._sometimes}

    @property
    def unreached(self) -> tuple[str, ...]:
        """The names of the *sometimes* properties that this run did not reach."""
        return tuple(name for name, reached in self.reached.items() if not reached)

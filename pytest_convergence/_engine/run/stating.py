"""States what must hold of a session: properties as functions of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_convergence._engine.check.leads_to import LeadsTo
from pytest_convergence._engine.check.predicates import predicate
from pytest_convergence._engine.check.property import Property
from pytest_convergence.errors import ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.run.options import SessionOptions

__all__ = ["Stating"]


class Stating:
    """The properties that a test adds to its session, before or during the run."""

    name: str
    options: SessionOptions
    properties: list[Property]
    _conduct: Conduct | None

    def always(self, name: str, predicate: Callable[[Any], object]) -> None:
        """Fail the run as soon as ``predicate(session)`` is false after some step."""
        self._state("always", name, predicate)

    def never(self, name: str, predicate: Callable[[Any], object]) -> None:
        """Fail the run as soon as ``predicate(session)`` is true after some step."""
        self._state("never", name, predicate)

    def eventually(self, name: str, predicate: Callable[[Any], object]) -> None:
        """Fail the run if ``predicate(session)`` is false when the faults have stopped and views are stable."""
        self._state("eventually", name, predicate)

    def sometimes(self, name: str, predicate: Callable[[Any], object]) -> None:
        """Say in the summary if no run of the test ever reached ``predicate(session)``; an error if the plugin is strict."""
        self._state("sometimes", name, predicate)

    def leads_to(
        self,
        name: str,
        trigger: Callable[[Any], object],
        response: Callable[[Any], object],
        *,
        within: float | None = None,
    ) -> None:
        """Fail the run if ``trigger(session)`` becomes true and ``response(session)`` is true neither then nor later.

        Args:
            name: what reports call it.
            trigger: begins an obligation each time it becomes true, also if it is true from the start.
            response: meets all obligations that are open.
            within: virtual seconds from the trigger to the response; without, the end of the settled run is soon enough.

        Raises:
            ConvergenceUsageError: one of the two is not a plain function, or ``within`` is no duration.
        """
        self._add(LeadsTo(name, trigger, response, within=within))

    def _state(self, kind: str, name: str, test: Callable[[Any], object]) -> None:
        self._add(predicate(name, kind, test))

    def _add(self, added: Property) -> None:
        given = (getattr(each, "name", each) for each in self.options.get("properties"))
        if added.name in (*(known.name for known in self.properties), *given):
            raise ConvergenceUsageError(
                f"session {self.name!r} has a property named {added.name!r} already; give one of them another name."
            )
        self.properties.append(added)
        if self._conduct is not None:
            self._conduct.judge.watch((added,))

    @property
    def sometimes_reached(self) -> dict[str, bool]:
        """The *sometimes* properties, and whether this run reached them."""
        return {} if self._conduct is None else self._conduct.judge.reached()

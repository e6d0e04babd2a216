"""What a search wants to know of a session that has run, whether it ran in this process or in another one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from pytest_convergence._engine.base.choices import Domain, RecordedChoices
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.survey import Survey
from pytest_convergence._engine.run.lifecycle import SessionState

if TYPE_CHECKING:
    from pytest_convergence._engine.run.session import Session

__all__ = ["Account", "Chosen", "Told", "chosen_by", "sendable", "survey_of", "unasked_by"]


class Chosen(NamedTuple):
    """A departure from calm that a run has recorded.

    Attributes:
        option: what was chosen.
        words: the option in words.
        domain: what might have been chosen there; ``None`` if that cannot be told.
    """

    option: int
    words: str
    domain: Domain | None


class Told(Protocol):
    """A session of a run, as far as the search and the report of a test without a counterexample need it."""

    @property
    def label(self) -> str:
        """Its name, and a number where another has the same name."""
        ...

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        ...

    @property
    def schedule(self) -> Schedule:
        """What it followed."""
        ...

    @property
    def seed(self) -> int | None:
        """The seed that it was given, or has found."""
        ...

    @property
    def words(self) -> str:
        """What became of it."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether there is an outcome."""
        ...

    @property
    def converged(self) -> bool:
        """Whether its agents agree."""
        ...

    @property
    def virtual_seconds(self) -> float:
        """How long its run was, if it has ended."""
        ...

    @property
    def events(self) -> int:
        """How many steps were taken in its run, if it has ended."""
        ...

    @property
    def chosen(self) -> Mapping[str, Chosen] | None:
        """Its departures from calm by label, ``None`` if they were not recorded."""
        ...

    @property
    def survey(self) -> Survey | None:
        """What else was recorded, if it was."""
        ...

    @property
    def unasked(self) -> Sequence[str]:
        """The labels of deviations that it was given, and did not come to."""
        ...

    @property
    def digest(self) -> str:
        """The digest of its trace; empty if there is none."""
        ...


def chosen_by(session: Session) -> Mapping[str, Chosen] | None:
    """Return the departures from calm that a session has recorded."""
    recorded = session.recorded
    if recorded is None:
        return None
    return {
        label: Chosen(option, recorded.words[label], recorded.domains[label])
        for label, option in recorded.deviations.items()
    }


def survey_of(session: Session) -> Survey | None:
    """Return what else a session has recorded, if it has ended and was to."""
    survey = None if session.recorded is None else session.recorded.survey
    if survey is None or session.outcome is None or session._conduct is None:
        return None
    survey.read(session.outcome.trace, map(session._conduct.judge.evidence, session.outcome.violations))
    return survey


def unasked_by(session: Session) -> Sequence[str]:
    """Return the labels of the deviations that a session was given and did not come to."""
    conduct = session._conduct
    if conduct is None:
        return tuple(label for label, _ in session.schedule.deviations)
    return conduct.chosen.unasked if isinstance(conduct.chosen, RecordedChoices) else ()


class Account(NamedTuple):
    """A :class:`Told` that can be sent to another process: it holds values of ours alone, and none of the user's."""

    label: str
    state: SessionState
    schedule: Schedule
    seed: int | None
    words: str
    has_ended: bool
    converged: bool
    virtual_seconds: float
    events: int
    chosen: Mapping[str, Chosen] | None
    unasked: Sequence[str]
    digest: str
    survey: Survey | None = None

    @classmethod
    def of(cls, told: Told, *, in_full: bool) -> Self:
        """Take down what is known of a session; words and digest, which take their time, only ``in_full``."""
        chosen = told.chosen
        return cls(
            label=told.label,
            state=told.state,
            schedule=replace(told.schedule, director=None),
            seed=told.seed,
            words=told.words if in_full else "",
            has_ended=told.has_ended,
            converged=told.converged,
            virtual_seconds=told.virtual_seconds,
            events=told.events,
            chosen=None
            if chosen is None
            else {label: one._replace(domain=sendable(one.domain)) for label, one in chosen.items()},
            unasked=tuple(told.unasked),
            digest=told.digest if in_full else "",
            survey=told.survey,
        )


def sendable(domain: Domain | None) -> Domain | None:
    """Return a domain, or nothing if it holds something that cannot be sent: then its options are not made weaker."""
    try:
        pickle.dumps(domain)
    except Exception:
        return None
    return domain

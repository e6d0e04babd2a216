"""What the process of an isolated run tells while it runs, so that something is known of it if it does not come to its end.

A run that ends its own process (``os._exit``, a crash in C, a signal) takes with it what it has chosen. So the process tells
of each session when it is made, and of each departure from calm as it comes about, by the pipe by which it tells at last
what became of the run. What has been written to a pipe stays there.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, final

from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._pytest.accounts import Account, Chosen, sendable

if TYPE_CHECKING:
    from pytest_convergence._engine.base.choices import Domain
    from pytest_convergence._engine.base.schedule import Schedule
    from pytest_convergence._engine.run.session import Session

__all__ = ["Begun", "Departed", "Journal", "accounts_of", "frames_in"]

_LENGTH: Final = 8
"""Bytes of the number of bytes that follow."""


class Begun(NamedTuple):
    """A session was made."""

    label: str
    schedule: Schedule
    seed: int | None


class Departed(NamedTuple):
    """The session of this number, from 0, has departed from calm."""

    session: int
    label: str
    chosen: Chosen


@final
class Journal:
    """Writes to a pipe."""

    __slots__ = ("_made", "_writing")

    def __init__(self, writing: int) -> None:
        self._writing = writing
        self._made = 0

    def tell(self, what: object) -> None:
        """Write something that can be pickled."""
        data = pickle.dumps(what)
        left = memoryview(len(data).to_bytes(_LENGTH, "big") + data)
        while left:
            left = left[os.write(self._writing, left) :]

    def made(self, session: Session, label: str) -> None:
        """A session was made: tell of it, and of what it will choose, if that is recorded."""
        self.tell(Begun(label, replace(session.schedule, director=None), session.seed))
        session.watchers.append(partial(self._begun, session, self._made))
        self._made += 1

    def _begun(self, session: Session, number: int, _: Any) -> None:
        recorded = session.recorded
        if recorded is None:
            return
        recorded.hear = partial(self._departed, number)
        for label, option in recorded.deviations.items():
            self._departed(number, label, option, recorded.words[label], recorded.domains[label])

    def _departed(self, number: int, label: str, option: int, words: str, domain: Domain) -> None:
        self.tell(Departed(number, label, Chosen(option, words, sendable(domain))))


def frames_in(pipe: BinaryIO) -> Iterator[Any]:
    """Return what was told, up to the end of the pipe or of what was written of it whole."""
    while len(length := pipe.read(_LENGTH)) == _LENGTH:
        size = int.from_bytes(length, "big")
        data = pipe.read(size)
        if len(data) < size:
            return
        yield pickle.loads(data)


def accounts_of(told: list[Begun | Departed]) -> list[Account]:
    """Return what is known of the sessions of a run that did not come to its end."""
    begun = [one for one in told if isinstance(one, Begun)]
    chosen: list[dict[str, Chosen]] = [{} for _ in begun]
    for one in told:
        if isinstance(one, Departed):
            chosen[one.session][one.label] = one.chosen
    return [
        Account(
            label=one.label,
            state=SessionState.EXECUTING,
            schedule=one.schedule,
            seed=one.seed,
            words=f"{one.label}: its process ended first",
            has_ended=False,
            converged=False,
            virtual_seconds=0.0,
            events=0,
            chosen=chosen[number],
            unasked=(),
            digest="",
        )
        for number, one in enumerate(begun)
    ]

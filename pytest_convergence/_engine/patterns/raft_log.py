"""The log of one Raft server, and how it is kept on disk.

Source: Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm* (2014), section 5.3.

1. Entries are numbered from 1. An entry is identified by its index and its term: a leader makes at most one entry at an
   index in its term, and never moves it.
2. Each entry is stored under a key of its own, so writing one costs the same however long the log is. Its record names
   the term of the entry before it. What stands after an overwritten entry was made in another term, so its record does
   not fit any more and is not loaded: nothing needs to be erased, and a crash between two writes leaves a log that ends
   where the whole records end.
3. A record that a crash tore is left out, with all that follow. Only an entry that conflicts is ever overwritten, and
   what conflicts with the log of a leader cannot be committed: so nothing that matters is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.effects import Effect, Observe, Persist, Sync

__all__ = ["NO_OP", "Entry", "LogEntry", "RaftLog"]

_END: Final = "end"
_FIELDS: Final = 5
NO_OP: Final = ""
"""The id of the entry by which a leader begins its term; it carries no command."""


class Entry(NamedTuple):
    """One entry: the term in which a leader made it, the id of the proposal, and the command."""

    term: int
    id: str
    command: Any


class LogEntry(NamedTuple):
    """A committed command: where it stands in the log, the term of the leader that put it there, and what it is.

    Attributes:
        index: counts from 1; leaders' own entries without a command count too.
        term: the term in which it was appended.
        command: what was proposed.
    """

    index: int  # type: ignore[assignment]  # tuple.index gives way to the field
    term: int
    command: Any


@final
class RaftLog:
    """The entries of one server, in memory, with the effects that keep them durable."""

    __slots__ = ("_entries", "_indexes")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._indexes: dict[str, int] = {}  # the id of a proposal to the index of its entry

    @property
    def last_index(self) -> int:
        """The index of the last entry, 0 for an empty log."""
        return len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry, 0 for an empty log."""
        return self._entries[-1].term if self._entries else 0

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry, 0 for what is before the first, ``None`` for what is after the last."""
        if index == 0:
            return 0
        return self._entries[index - 1].term if 0 < index <= len(self._entries) else None

    def entry(self, index: int) -> Entry:
        """Return the entry at ``index``, which must exist."""
        return self._entries[index - 1]

    def part(self, first: int, most: int) -> list[Entry]:
        """Return up to ``most`` entries from index ``first`` on."""
        return self._entries[first - 1 : first - 1 + most]

    def index_of(self, id: str) -> int | None:
        """Return where the entry of a proposal stands, ``None`` if it is not in this log."""
        return self._indexes.get(id)

    # -- finding where two logs part -------------------------------------------------------------------------------

    def first_of_term_at(self, index: int) -> int:
        """Return the first index of the run of entries that have the term of the entry at ``index``."""
        term = self.term_at(index)
        while index > 1 and self.term_at(index - 1) == term:
            index -= 1
        return index

    def last_of_term(self, term: int) -> int:
        """Return the index of the last entry of ``term``, 0 if there is none."""
        for index in range(self.last_index, 0, -1):
            found = self._entries[index - 1].term
            if found == term:
                return index
            if found < term:
                break
        return 0

    def is_up_to_date(self, last_term: int, last_index: int) -> bool:
        """Whether a log that ends so is at least as up to date as this one (section 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    # -- writing and loading ---------------------------------------------------------------------------------------

    def write(self, first: int, entries: Sequence[Entry]) -> list[Effect]:
        """Put ``entries`` at index ``first`` and after it, make them durable, and say so. What stood there is gone."""
        effects: list[Effect] = []
        facts: list[Effect] = []
        if first <= self.last_index:
            for dropped in self._entries[first - 1 :]:
                self._indexes.pop(dropped.id, None)
            del self._entries[first - 1 :]
            facts.append(Observe("truncate", {"index": first}))
        for entry in entries:
            record = [self.last_term, entry.term, entry.id, entry.command, _END]
            self._add(entry)
            effects.append(Persist(_key(self.last_index), record))
            facts.append(_append_fact(self.last_index, entry))
        return [*effects, Sync(), *facts]

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.id != NO_OP:
            self._indexes[entry.id] = len(self._entries)

    def load(self, durable: Mapping[str, Any]) -> None:
        """Take what is durable, as far as whole records reach that follow one another."""
        while True:
            record = durable.get(_key(self.last_index + 1))
            if not isinstance(record, list | tuple) or len(record) != _FIELDS or record[-1] != _END:
                return
            if record[0] != self.last_term:
                return
            self._add(Entry(record[1], record[2], record[3]))

    def fact(self) -> Effect:
        """Say what the log holds."""
        return Observe("log", {"entries": [(entry.term, entry.command) for entry in self._entries]})

    def entries(self) -> Iterable[tuple[int, Entry]]:
        """The entries with their indexes."""
        return enumerate(self._entries, start=1)


def _key(index: int) -> str:
    return f"log.{index}"


def _append_fact(index: int, entry: Entry) -> Effect:
    return Observe("append", {"index": index, "term": entry.term, "value": entry.command})

"""A recorded session of two people who edited one text together: read, and understood without any replica.

The recording (J. Gentle, editing-traces, CC BY 4.0) lists transactions with the transactions that their author had seen, and
edits by position in the text that the author saw. Nobody inserted at one place concurrently, so there is but one outcome.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Edit", "Recording", "read"]


class Edit(NamedTuple):
    """One transaction: who made it, how many of each author's transactions were known, and its patches.

    A patch is a position, a number of characters to erase there, and a text to insert there.
    """

    author: int
    known: tuple[int, ...]
    patches: tuple[tuple[int, int, str], ...]


class Recording(NamedTuple):
    """The transactions, causes before effects, and the text that they end in (of the whole recording)."""

    edits: tuple[Edit, ...]
    text: str


def read(vectors: Path, number: int | None = None) -> Recording:
    """Read the first ``number`` transactions, or all."""
    packed = (vectors / "editing-traces" / "friendsforever.json.gz").read_bytes()
    data: dict[str, Any] = json.loads(gzip.decompress(packed))
    known: list[tuple[int, ...]] = []
    made = [0] * data["numAgents"]
    edits: list[Edit] = []
    for transaction in data["txns"][:number]:
        author = transaction["agent"]
        seen = [0] * len(made)
        for parent in transaction["parents"]:
            seen = [max(one, other) for one, other in zip(seen, known[parent], strict=True)]
        patches = tuple((at, erased, text) for at, erased, text in transaction["patches"])
        edits.append(Edit(author, tuple(seen), patches))
        made[author] += 1
        assert seen[author] == made[author] - 1, "an author knows its own transactions"
        seen[author] += 1
        known.append(tuple(seen))
    return Recording(tuple(edits), data["endContent"])


class Character(NamedTuple):
    """One character that was ever typed: the transaction that it came with, and its number there."""

    edit: int
    number: int
    text: str


class Understood(NamedTuple):
    """What the edits do to characters, whatever else their author sees by then.

    ``order`` holds all characters that were ever typed in the order in which they stand; ``erased`` and ``typed`` tell for
    each edit what it takes out and what it puts in.
    """

    order: list[Character]
    erased: list[list[Character]]
    typed: list[list[Character]]

    def text(self) -> str:
        """What is left in the end."""
        gone = {character for edit in self.erased for character in edit}
        return "".join(character.text for character in self.order if character not in gone)


def understand(edits: tuple[Edit, ...]) -> Understood:
    """Follow what each author saw, character by character."""
    authors = len(edits[0].known)
    understood = Understood([], [], [])
    views: list[list[Character]] = [[] for _ in range(authors)]
    heard = [[0] * authors for _ in range(authors)]
    made: list[list[int]] = [[] for _ in range(authors)]
    for number, edit in enumerate(edits):
        view = views[edit.author]
        for other in range(authors):
            for missing in made[other][heard[edit.author][other] : edit.known[other]]:
                _hear(understood, view, missing)
            heard[edit.author][other] = edit.known[other]
        _perform(understood, view, number, edit)
        made[edit.author].append(number)
        heard[edit.author][edit.author] += 1
    return understood


def _perform(understood: Understood, view: list[Character], number: int, edit: Edit) -> None:
    erased: list[Character] = []
    typed: list[Character] = []
    for at, count, text in edit.patches:
        erased += view[at : at + count]
        del view[at : at + count]
        new = [Character(number, len(typed) + place, letter) for place, letter in enumerate(text)]
        place = understood.order.index(view[at - 1]) + 1 if at else 0
        understood.order[place:place] = new
        view[at:at] = new
        typed += new
    understood.erased.append(erased)
    understood.typed.append(typed)


def _hear(understood: Understood, view: list[Character], number: int) -> None:
    for character in understood.erased[number]:
        if character in view:
            view.remove(character)
    shown = set(view)
    for character in understood.typed[number]:
        place = understood.order.index(character) - 1
        while place >= 0 and understood.order[place] not in shown:
            place -= 1
        view.insert(view.index(understood.order[place]) + 1 if place >= 0 else 0, character)
        shown.add(character)

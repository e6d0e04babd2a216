"""Causal delivery: an event is handled only after every event that it may depend on and that has the same recipient.

Source: Raynal, Schiper and Toueg, *The causal ordering abstraction and a simple way to implement it* (1991). Each agent
keeps a matrix of how many events each has sent to each, as far as it knows; an event carries the matrix of its sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

__all__ = ["Sent", "after", "copy_of", "learn", "note"]

Sent: TypeAlias = dict[str, dict[str, int]]
"""Sender -> recipient -> number of events; what is not there is 0."""


def copy_of(sent: Mapping[str, Mapping[str, int]]) -> Sent:
    """Return a copy that may be changed."""
    return {sender: dict(row) for sender, row in sent.items()}


def note(sent: Sent, sender: str, recipients: Iterable[str]) -> dict[str, int]:
    """Note that ``sender`` sends one more event to each of ``recipients``; return its number for each."""
    row = sent.setdefault(sender, {})
    numbers: dict[str, int] = {}
    for recipient in recipients:
        row[recipient] = numbers[recipient] = row.get(recipient, 0) + 1
    return numbers


def learn(sent: Sent, other: Mapping[str, Mapping[str, int]]) -> None:
    """Take over what another knew."""
    for sender, theirs in other.items():
        row = sent.setdefault(sender, {})
        for recipient, number in theirs.items():
            row[recipient] = max(number, row.get(recipient, 0))


def after(sent: Mapping[str, Mapping[str, int]], recipient: str) -> dict[str, int]:
    """Return how many events of each sender ``recipient`` must have handled before one that was sent knowing this."""
    return {sender: row[recipient] for sender, row in sent.items() if row.get(recipient)}

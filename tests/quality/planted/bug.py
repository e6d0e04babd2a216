"""What a planted bug is: agents of a user's with one mistake, the test that the user would write, and what must find it.

The numbers of the rows are those of the table of planted bugs. A *budget* is how many schedules a test may take to find
the bug: 30 where at least every second random schedule shows it, 300 where one in twenty does, 3,000 where fewer do,
6,000 for the one that takes figure 8 of the Raft paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

__all__ = ["FIVE", "Bug", "Case"]

FIVE: Final = ("a", "b", "c", "d", "e")
"""Reference runs have five agents: three hide some bugs."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Case:
    """A test as a user writes it.

    Attributes:
        options: of the marker.
        inputs: of ``convergence_session.run``.
        scenario: the coroutine function that drives the session, if one does.
    """

    options: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    scenario: Any = None


@dataclass(frozen=True)
class Bug:
    """One mistake.

    Attributes:
        row: its row in the table of planted bugs.
        name: in a few words; the golden file is named by it.
        case: the test of the agents that make the mistake.
        twin: the same test of the agents that do not.
        caught_by: the properties of which one must find it.
        budget: within how many schedules.
    """

    row: int
    name: str
    case: Case
    twin: Case
    caught_by: tuple[str, ...]
    budget: int

    @property
    def id(self) -> str:
        """What tests and files are called by."""
        return f"{self.row:02}-{self.name.replace(' ', '-')}"

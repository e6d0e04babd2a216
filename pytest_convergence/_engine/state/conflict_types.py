"""What kind of thing agents are in conflict about, and how grave that is.

1. A *rule* looks at a conflict and names its type, or says nothing. The first rule that speaks decides; rules of the
   user's are asked before the built-in ones. So a conflict has exactly one type, and it is the same on every replica.
2. The built-in rules look at what was written (claims, instants, deletes) and at the names in the path, word by word:
   ``task_owner`` has the words ``task`` and ``owner``.
3. The type has a severity. It is one step graver where something is lost as a whole: a delete or a subtree beside a write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_convergence._engine.state.updates import DELETED
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.state.conflicts import Conflict

__all__ = ["BUILT_IN_RULES", "SEVERITIES", "ConflictType", "Rule", "Severity", "classify"]


class ConflictType(StrEnum):
    """What agents are in conflict about."""

    RESOURCE_CONTENTION = "resource contention"
    """Several claim what only one can have: a lock, a lease, the lead."""
    OUTPUT_CONFLICT = "output conflict"
    """Several produced a result for the same thing."""
    STATE_MISMATCH = "state mismatch"
    """They hold different things to be true: whatever no other rule speaks of."""
    PRIORITY_CONFLICT = "priority conflict"
    """They rank something differently."""
    TASK_OVERLAP = "task overlap"
    """Several took on, or finished, the same task."""
    TIMING_CONFLICT = "timing conflict"
    """They set different instants, deadlines or orders; or one ended what another goes on with."""


class Severity(StrEnum):
    """How grave a conflict is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


Rule: TypeAlias = "Callable[[Conflict], str | tuple[str, str] | None]"
"""Names the type of a conflict (a :class:`ConflictType`, or a name of the user's own), or its type and severity; ``None``
leaves it to the next rule."""

SEVERITIES: Final[Mapping[str, Severity]] = {
    ConflictType.RESOURCE_CONTENTION: Severity.HIGH,
    ConflictType.OUTPUT_CONFLICT: Severity.MEDIUM,
    ConflictType.STATE_MISMATCH: Severity.MEDIUM,
    ConflictType.PRIORITY_CONFLICT: Severity.LOW,
    ConflictType.TASK_OVERLAP: Severity.HIGH,
    ConflictType.TIMING_CONFLICT: Severity.LOW,
}
"""How grave each type is by itself; one of the user's own is ``medium``."""

_TASKS: Final = frozenset({"task", "tasks", "todo", "todos", "job", "jobs", "ticket", "assignee", "assigned"})
_CLAIMS: Final = frozenset(
    {"lock", "locks", "lease", "owner", "holder", "leader", "resource", "resources", "slot"}
)
_OUTPUTS: Final = frozenset(
    {"output", "outputs", "result", "results", "answer", "answers", "artifact", "artifacts", "report"}
)
_RANKS: Final = frozenset({"priority", "priorities", "prio", "rank", "ranking", "urgency"})
_TIMES: Final = frozenset({"deadline", "due", "eta", "schedule", "scheduled", "timestamp", "timeout", "when"})

_ORDER: Final = tuple(Severity)


def _words(conflict: Conflict) -> frozenset[str]:
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", conflict.path)
    return frozenset(re.split(r"[^a-z0-9]+", text.lower()))


def _is_claim(conflict: Conflict) -> bool:
    """Whether each wrote its own name."""
    return all(value == agent for agent, value in conflict.values.items())


def _task_overlap(conflict: Conflict) -> ConflictType | None:
    return ConflictType.TASK_OVERLAP if _words(conflict) & _TASKS else None


def _resource_contention(conflict: Conflict) -> ConflictType | None:
    contended = _words(conflict) & _CLAIMS or _is_claim(conflict)
    return ConflictType.RESOURCE_CONTENTION if contended else None


def _priority_conflict(conflict: Conflict) -> ConflictType | None:
    ranked = _words(conflict) & _RANKS
    return ConflictType.PRIORITY_CONFLICT if ranked else None


def _timing_conflict(conflict: Conflict) -> ConflictType | None:
    kept = [value for value in conflict.values.values() if value is not DELETED]
    instants = bool(kept) and all(type(value).__module__ == "datetime" for value in kept)
    timed = instants or len(kept) < len(conflict.values) or bool(_words(conflict) & _TIMES)
    return ConflictType.TIMING_CONFLICT if timed else None


def _output_conflict(conflict: Conflict) -> ConflictType | None:
    return ConflictType.OUTPUT_CONFLICT if _words(conflict) & _OUTPUTS else None


BUILT_IN_RULES: Final[tuple[Rule, ...]] = (
    _task_overlap,
    _resource_contention,
    _priority_conflict,
    _output_conflict,
    _timing_conflict,
)
"""The rules that are asked after the user's own, in this order."""


def classify(conflict: Conflict, rules: Iterable[Rule] = ()) -> tuple[str, Severity]:
    """Return the type and the severity of a conflict, by the first rule that speaks.

    Raises:
        ConvergenceUsageError: a rule gave something that is neither a type nor a type with a severity.
    """
    for rule in (*rules, *BUILT_IN_RULES):
        said = rule(conflict)
        if said is None:
            continue
        if isinstance(said, str):
            return _known(said), _severity_of(conflict, said)
        if isinstance(said, tuple) and len(said) == 2 and all(isinstance(part, str) for part in said):
            return _known(said[0]), _severity(said[1])
        raise ConvergenceUsageError(
            f"a conflict rule gave {said!r} for {conflict.path!r}; return a type such as 'task overlap', a (type, "
            "severity) pair, or None to leave it to the next rule."
        )
    return ConflictType.STATE_MISMATCH, _severity_of(conflict, ConflictType.STATE_MISMATCH)


def _known(name: str) -> str:
    """Return the member of :class:`ConflictType` of that name; a name of the user's own stays text."""
    return ConflictType(name) if name in tuple(ConflictType) else name


def _severity(name: str) -> Severity:
    if name not in tuple(Severity):
        raise unknown_name("severity", name, tuple(map(str, Severity)))
    return Severity(name)


def _severity_of(conflict: Conflict, kind: str) -> Severity:
    step = _ORDER.index(SEVERITIES.get(kind, Severity.MEDIUM))
    whole = any(value is DELETED for value in conflict.values.values()) or _is_whole(conflict)
    return _ORDER[min(step + whole, len(_ORDER) - 1)]


def _is_whole(conflict: Conflict) -> bool:
    lengths: set[Any] = {len(write.segments) for write in conflict.writes}
    return len(lengths) > 1

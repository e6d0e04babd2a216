"""What agents held at any instant, as changes: from snapshots where a run took them, else from what its events say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_convergence._engine.base.texts import text_of
from pytest_convergence._engine.base.trace import TraceEvent

if TYPE_CHECKING:
    from pytest_convergence._engine.run.snapshots import Snapshot

__all__ = ["changes_of_events", "changes_of_snapshots"]

_LONGEST = 400


def _change(
    since: int, at_ns: int, agent: str, held: Mapping[str, str], gone: Iterable[str] = ()
) -> dict[str, Any]:
    return {"since": since, "at_ns": at_ns, "agent": agent, "held": dict(held), "gone": list(gone)}


def changes_of_snapshots(snapshots: Iterable[Snapshot], first: int, last: int) -> Iterator[dict[str, Any]]:
    """Yield the changes that a run recorded, as they are seen at its events ``first`` to ``last``.

    Those before the first event that is told come as one for each agent.
    """
    before: dict[str, dict[str, str]] = {}
    for one in snapshots:
        if one.since <= first:
            known = before.setdefault(one.agent, {})
            for name in one.gone:
                known.pop(name, None)
            known.update(one.held)
            continue
        yield from _at_first(before, first)
        yield _change(min(one.since, last), one.at_ns, one.agent, one.held, one.gone)
    yield from _at_first(before, first)


def _at_first(before: dict[str, dict[str, str]], first: int) -> Iterator[dict[str, Any]]:
    for agent, held in before.items():
        yield _change(first, 0, agent, held)
    before.clear()


def changes_of_events(events: Iterable[TraceEvent]) -> Iterator[dict[str, Any]]:
    """Yield what can be known of agents without snapshots: what they wrote, kept, decided and observed."""
    for event in events:
        held = _held(event)
        if held:
            yield _change(event.index, event.at_ns, event.agent, held)


def _held(event: TraceEvent) -> dict[str, str]:
    detail: Any = event.detail
    if not isinstance(detail, Mapping):
        return {}
    if event.kind == "observe":
        rest = {key: value for key, value in detail.items() if key != "fact"}
        return {f"observed/{detail.get('fact', '')}": text_of(rest, _LONGEST)}
    if event.kind == "decide":
        return {"decided/value": text_of(detail.get("value"), _LONGEST)}
    if event.kind == "persist":
        value = "(deleted)" if detail.get("deleted") else text_of(detail.get("value"), _LONGEST)
        channel = detail.get("channel", "user")
        return {
            f"{'storage' if channel == 'user' else f'storage ({channel})'}/{detail.get('key', '')}": value
        }
    if event.kind == "state":
        return {"state/last write": text_of(detail.get("update"), _LONGEST)}
    return {}

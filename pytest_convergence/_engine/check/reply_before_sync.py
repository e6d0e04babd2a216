"""Reply before sync: nobody sends while the writes that its word rests on are not durable.

The check needs no crash to find the bug. Two forms are judged:

1. On the channel of a pattern's protocol every write belongs to the protocol, so no message may leave while one of them
   is not synced.
2. On the user's channel an agent may well have unrelated unsynced writes. There a fact that names ``durable=key`` ties a
   promise to a write: sending after it, with that key not synced, is the violation.

Source: Ongaro and Ousterhout (2014), figure 2: what must persist is updated on stable storage before an answer is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["REPLY_BEFORE_SYNC"]


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self._unsynced: dict[tuple[str, str], set[Any]] = {}  # (agent, channel) to keys
        self._promised: dict[str, set[Any]] = {}  # agent to keys that its promises rest on

    @property
    def kinds(self) -> frozenset[str]:
        """Sendings matter only while something is not synced."""
        return _WITH_SENDS if self._unsynced else _WITHOUT_SENDS

    def feed(self, event: TraceEvent) -> Violation | None:
        kind, agent = event.kind, event.agent
        if kind == "persist":
            self._unsynced.setdefault((agent, _channel(event.detail)), set()).add(event.detail["key"])
        elif kind == "sync":
            self._unsynced.pop((agent, _channel(event.detail)), None)
            self._promised.pop(agent, None)
        elif kind == "crash":
            self._promised.pop(agent, None)
            for place in [place for place in self._unsynced if place[0] == agent]:
                del self._unsynced[place]
        elif kind == "send":
            return self._send(event)
        else:
            return self._observe(event)
        return None

    def _observe(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        if fact == "unsynced_send":
            return _violation(event, data["kind"], data["to"], ())
        if "durable" in data:
            self._promised.setdefault(event.agent, set()).add(data["durable"])
        return None

    def _send(self, event: TraceEvent) -> Violation | None:
        message = event.message
        if message is None:
            return None
        unsynced = self._unsynced.get((event.agent, message.channel), set())
        if message.channel == "user":
            unsynced = unsynced & self._promised.get(event.agent, set())
        return (
            _violation(event, message.type, message.recipient, tuple(sorted(unsynced))) if unsynced else None
        )

    def finish(self, final: FinalState) -> None:
        return None


def _channel(detail: Any) -> str:
    return str(detail.get("channel", "user")) if isinstance(detail, Mapping) else "user"


def _violation(event: TraceEvent, kind: str, to: str, keys: tuple[Any, ...]) -> Violation:
    what = f" ({', '.join(map(str, keys))})" if keys else ""
    message = (
        f"{event.agent} sent {kind!r} to {to} before its own writes{what} were synced: "
        "a crash now would take back what the message says"
    )
    return Violation(
        REPLY_BEFORE_SYNC.name, message, event.at_ns, (event.agent, to), {"kind": kind, "keys": keys}
    )


_WITHOUT_SENDS: Final = frozenset({"observe", "crash", "persist", "sync"})
_WITH_SENDS: Final = _WITHOUT_SENDS | {"send"}

REPLY_BEFORE_SYNC: Final = Property(
    "reply_before_sync",
    Kind.TRANSITION,
    "No agent sends while the writes that its word rests on are not synced.",
    _Checker,
)

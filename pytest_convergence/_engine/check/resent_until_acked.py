"""Resent until acknowledged: what is told counts as received when its receiver says so, and not when it was sent.

A message may be lost, so whoever stops to tell needs an acknowledgement (the end-to-end argument: J. Saltzer, D. Reed,
D. Clark, *End-to-End Arguments in System Design*, 1984, section 2; for deltas P. Almeida, A. Shoker, C. Baquero, *Delta
State Replicated Data Types*, 2018, section 7.2). Two things follow, and both are judged: an acknowledgement that an agent
goes by is true of the peer (it has joined, or holds, what it is said to have), and in the end of a run nothing that was
told is neither acknowledged nor there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation
from pytest_convergence._engine.check.seen import Seen, covers, told, united, without

__all__ = ["RESENT_UNTIL_ACKED"]


class _Checker:
    kinds: Final = frozenset({"observe", "crash"})
    facts: Final = frozenset({"replica", "joined", "told", "acked"})

    def __init__(self, scope: Scope) -> None:
        self._held: dict[str, Seen] = {}  # what each agent has said that it holds
        self._told: dict[tuple[str, str], Seen] = {}
        self._acked: dict[tuple[str, str], Seen] = {}

    def feed(self, event: TraceEvent) -> Violation | None:
        agent = event.agent
        if event.kind == "crash":  # what it told and had not made durable nobody can tell again
            for key in [key for key in self._told if key[0] == agent]:
                del self._told[key]
            return None
        fact, data = fact_of(event)
        if fact == "replica":
            self._hold(agent, told(data.get("seen")))
        elif fact == "joined":
            self._hold(agent, united(told(data.get("seen")), told(data.get("end"))))
        elif fact == "told":
            for peer in _names(data.get("to")):
                _add(self._told, (agent, peer), told(data.get("upto")))
        elif fact == "acked":
            return self._acknowledged(event, data)
        return None

    def _hold(self, agent: str, seen: Seen) -> None:
        before = self._held.get(agent)
        self._held[agent] = seen if before is None else united(before, seen)

    def _acknowledged(self, event: TraceEvent, data: Mapping[str, Any]) -> Violation | None:
        upto = told(data.get("upto"))
        for peer in _names(data.get("by")):
            held = self._held.get(peer)
            if held is not None and not covers(held, without(upto, peer)):
                message = (
                    f"{event.agent} takes as acknowledged by {peer} what {peer} has never had: "
                    "it was sent, and did not arrive"
                )
                facts = {"acked": data.get("upto"), peer: held}
                return Violation(RESENT_UNTIL_ACKED.name, message, event.at_ns, (event.agent, peer), facts)
            _add(self._acked, (event.agent, peer), upto)
        return None

    def finish(self, final: FinalState) -> Violation | None:
        if not final.settled:
            return None
        for (agent, peer), owed in self._told.items():
            known = [
                seen for seen in (self._acked.get((agent, peer)), self._held.get(peer)) if seen is not None
            ]
            if agent not in final.core or peer not in final.core:
                continue
            if not any(covers(seen, without(owed, peer)) for seen in known):
                message = f"{agent} told {peer} something that {peer} neither acknowledged nor has, and tells it no more"
                facts = {"told": owed}
                return Violation(RESENT_UNTIL_ACKED.name, message, final.at_ns, (agent, peer), facts)
        return None


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _add(known: dict[tuple[str, str], Seen], key: tuple[str, str], seen: Seen) -> None:
    before = known.get(key)
    known[key] = seen if before is None else united(before, seen)


RESENT_UNTIL_ACKED: Final = Property(
    "resent_until_acked",
    Kind.EVENTUALLY,
    "What is told is told again until its receiver has acknowledged it, and no acknowledgement is made up.",
    _Checker,
)
"""Judged on ``told``, ``acked``, ``joined`` and ``replica`` facts."""

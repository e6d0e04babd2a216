"""Promises survive a restart: what an agent told another is still true after it crashed and came back.

Promises are terms (never less), votes and confirmations (always the same), and whatever an agent calls a ``promise``
(see :mod:`.facts`). A promise binds from the first message that the agent sends after it. What a later life says is
compared with what earlier lives were bound to.

Source: L. Lamport, *Paxos Made Simple* (2001), section 2.2: an acceptor must remember what it promised even if it fails and
restarts; the persistent state of Ongaro and Ousterhout (2014), figure 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Kind, Property, Scope, Violation

__all__ = ["PROMISES_SURVIVE_RESTART"]


class _Claim(NamedTuple):
    """What one fact says about one name. ``binds`` tells a promise from a mere recollection of having none."""

    name: str
    value: Any
    at_least: bool = False
    binds: bool = True

    def broken_by(self, later: _Claim) -> bool:
        """Whether ``later``, about the same name, contradicts this promise."""
        if self.at_least:
            return bool(later.value < self.value)
        return bool(later.value != self.value)


def _claims(fact: str, data: Mapping[str, Any]) -> Iterator[_Claim]:
    if fact == "term":
        yield _Claim("term", data["term"], at_least=True)
    elif fact == "vote" and "term" in data:
        candidate = data.get("candidate")
        yield _Claim(f"vote in term {data['term']}", candidate, binds=candidate is not None)
    elif fact in ("vote", "confirm") and "round" in data:
        yield _Claim(f"{fact} in round {data['round']}", data.get("value"))
    elif fact == "promise" and "at_least" in data:
        yield _Claim(str(data["name"]), data["at_least"], at_least=True)
    elif fact == "promise":
        yield _Claim(str(data["name"]), data.get("value"))


class _Checker:
    def __init__(self, scope: Scope) -> None:
        self._said: dict[str, dict[str, _Claim]] = {}  # in this life, not told yet
        self._told: dict[str, dict[str, _Claim]] = {}  # in this life
        self._bound: dict[str, dict[str, _Claim]] = {}  # by earlier lives

    @property
    def kinds(self) -> frozenset[str]:
        """Sendings matter only while somebody has said something that it has not told yet."""
        return _WITH_SENDS if self._said else _WITHOUT_SENDS

    def feed(self, event: TraceEvent) -> Violation | None:
        if event.kind == "send":
            said = self._said.pop(event.agent, None)
            if said is not None:
                self._told.setdefault(event.agent, {}).update(said)
            return None
        if event.kind == "crash":
            self._said.pop(event.agent, None)
            self._bound.setdefault(event.agent, {}).update(self._told.pop(event.agent, {}))
            return None
        return self._observe(event)

    def _observe(self, event: TraceEvent) -> Violation | None:
        fact, data = fact_of(event)
        bound = self._bound.get(event.agent, {})
        for claim in _claims(fact, data):
            promise = bound.get(claim.name)
            if promise is not None and promise.broken_by(claim):
                message = (
                    f"{event.agent} told others that its {claim.name} is {promise.value!r}, "
                    f"and after a restart it says {claim.value!r}"
                )
                facts = {"name": claim.name, "told": promise.value, "after restart": claim.value}
                return Violation(PROMISES_SURVIVE_RESTART.name, message, event.at_ns, (event.agent,), facts)
            if claim.binds:
                self._said.setdefault(event.agent, {})[claim.name] = claim
        return None

    def finish(self, final: FinalState) -> None:
        return None


_WITHOUT_SENDS: Final = frozenset({"observe", "crash"})
_WITH_SENDS: Final = frozenset({"observe", "crash", "send"})

PROMISES_SURVIVE_RESTART: Final = Property(
    "promises_survive_restart",
    Kind.TRANSITION,
    "What an agent told another (a term, a vote, a promise) is still true after it restarts.",
    _Checker,
)

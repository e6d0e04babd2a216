"""Items of pipelines, as agents observe them: what was fed, what became of it where."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.facts import fact_of
from pytest_convergence._engine.check.property import FinalState, Scope

__all__ = ["ENDINGS", "ITEM_FACTS", "Fed", "ItemFact", "Ledger", "item_fact"]

ITEM_FACTS: Final = frozenset(
    {
        "feed",
        "take",
        "attempt",
        "retry",
        "fail",
        "effect",
        "ack",
        "dead_letter",
        "reject",
        "release",
        "abandon",
    }
)
"""The facts that speak of an item."""

ENDINGS: Final = frozenset({"effect", "dead_letter", "reject"})
"""Those with which an item has left a stage."""


class ItemFact(NamedTuple):
    """A fact about an item.

    Attributes:
        item: what stands for the item; equal for equal items.
        shown: the item as the agent calls it.
        recalled: whether it may have been observed before, and an agent tells it from memory.
    """

    fact: str
    item: Hashable
    shown: Any
    stage: str
    recalled: bool
    data: Mapping[str, Any]

    @property
    def place(self) -> str:
        """The item and the stage in words."""
        return f"item {self.shown!r}" + (f" at stage {self.stage!r}" if self.stage else "")


def item_fact(event: TraceEvent) -> ItemFact | None:
    """Return what ``event`` says about an item, ``None`` if it says nothing."""
    fact, data = fact_of(event)
    if fact not in ITEM_FACTS or "item" not in data:
        return None
    shown = data["item"]
    try:
        hash(shown)
        item: Hashable = shown
    except TypeError:
        item = canonical(shown)
    return ItemFact(fact, item, shown, str(data.get("stage", "")), bool(data.get("recalled")), data)


class Fed(NamedTuple):
    """An item that was fed: how it is called, its number, its route, and its order key as ``(key,)`` if it has one."""

    shown: Any
    number: int
    route: tuple[str, ...]
    order: tuple[str] | None


@final
class Ledger:
    """What became of the items so far.

    Attributes:
        fed: the items that were fed, in order.
        effects: the stages at which an item took effect.
        dead: the items that are dead letters, and who said so.
        rejected: the items that were rejected.
        abandoned: the items that nobody waits for any longer.
        agents: those who have said something about an item.
    """

    __slots__ = ("abandoned", "agents", "dead", "effects", "fed", "rejected")

    def __init__(self) -> None:
        self.fed: dict[Hashable, Fed] = {}
        self.effects: dict[Hashable, dict[str, None]] = {}
        self.dead: dict[Hashable, str] = {}
        self.rejected: dict[Hashable, str] = {}
        self.abandoned: set[Hashable] = set()
        self.agents: dict[str, None] = {}

    def enter(self, event: TraceEvent) -> ItemFact | None:
        """Take an event; return what it says about an item."""
        told = item_fact(event)
        if told is None:
            return None
        self.agents[event.agent] = None
        if told.fact == "feed" and told.item not in self.fed:
            route = told.data.get("stages") or ("",)
            order = (canonical(told.data["order"]),) if "order" in told.data else None
            self.fed[told.item] = Fed(told.shown, len(self.fed), tuple(map(str, route)), order)
        elif told.fact == "effect":
            self.effects.setdefault(told.item, {})[told.stage] = None
        elif told.fact == "dead_letter":
            self.dead.setdefault(told.item, event.agent)
        elif told.fact == "reject":
            self.rejected.setdefault(told.item, event.agent)
        elif told.fact == "abandon":
            self.abandoned.add(told.item)
        return told

    def demands_progress(self, final: FinalState, scope: Scope) -> bool:
        """Whether items must have come to an end: whoever has to do with them is alive and can reach the others."""
        return final.demands_progress(scope) and all(agent in final.core for agent in self.agents)

    def came_out(self, item: Hashable) -> bool:
        """Whether an item took effect at every stage of its route."""
        route = self.fed[item].route if item in self.fed else ("",)
        return all(stage in self.effects.get(item, {}) for stage in route)

    def endings(self, item: Hashable) -> list[str]:
        """How an item ended, in words; one way is right."""
        return [
            words
            for words, ended in (
                ("came out", self.came_out(item)),
                ("is a dead letter", item in self.dead),
                ("was rejected", item in self.rejected),
            )
            if ended
        ]

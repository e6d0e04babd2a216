"""One agent of a pipeline: the stages that it works at, and the feeding and collecting if that is its part.

Theory of operation
1. The *feeder* sends the items to the first stage; each stage sends what it made to the next one; the feeder is also the
   *collector*, which takes what leaves the last stage, dead letters and rejected items (:mod:`.pipeline_port`,
   :mod:`.pipeline_stage`).
2. Whoever takes something makes what came of it durable before it acknowledges it, and whoever is acknowledged writes that
   down before it sends the next one. So every item is at all times in the journal of somebody who is responsible for it.
3. A life begins with the journal: what was done and not acknowledged is sent again. What is through needs no entry of its
   own: now and then a checkpoint takes the place of all entries, so the journal grows with what is under way.
4. When the collector has the outcome of every item, or has waited as long as it may, it decides, and tells everybody
   (:mod:`.decision`). An agent that knows stops all its work: no item is under way that anybody waits for.

Stages that share an agent hand over inside it, by the same rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    CancelTimer,
    Effect,
    Observe,
    Returned,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.decision import DECIDED, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.journal import Journal
from pytest_convergence._engine.patterns.pipeline_port import OK, Letter, Parcel, Port
from pytest_convergence._engine.patterns.pipeline_stage import StageDesk, StageRules, words_of
from pytest_convergence.errors import unknown_name

__all__ = ["PipelineAgent", "PipelinePlan", "UNFINISHED", "Underway"]

ITEM: Final = "item"
ENDED: Final = "ended"
ACK: Final = "ack"
BUSY: Final = "busy"
CREDIT: Final = "credit"
PROBE: Final = "probe"

DEADLINE_TIMER: Final = "deadline"
UNFINISHED: Final = "unfinished"

_FEEDER: Final = -1
_CHECKPOINT_EVERY: Final = 128
"""A journal of so many entries, and some more for all that has to go into the checkpoint, is begun anew."""


class PipelinePlan(NamedTuple):
    """What all agents know: the stages, who feeds and collects, and in nanoseconds after what time unanswered messages are
    repeated, and how long the collector waits in all.
    """

    stages: tuple[StageRules, ...]
    feeder: str
    resend_ns: int
    deadline_ns: int | None


@final
@dataclass(frozen=True, slots=True)
class Underway:
    """The view of an agent while items are under way: for how many others have answered, and for how many it does."""

    answered: int
    left: int


class PipelineAgent:
    """One agent's side of a pipeline (a :class:`~pytest_convergence._engine.base.effects.Machine`).

    ``parcels`` are the items to feed, of which nobody but the feeder makes use; ``result`` makes the view of the outcomes.
    """

    def __init__(
        self,
        agent: str,
        agents: Sequence[str],
        plan: PipelinePlan,
        parcels: Sequence[Parcel],
        result: Callable[[Mapping[int, Sequence[Any]]], Any],
    ) -> None:
        self.name = agent
        self.others = tuple(other for other in agents if other != agent)
        self.plan = plan
        self.parcels = {parcel.id: parcel for parcel in parcels} if agent == plan.feeder else {}
        self.result = result
        self.journal = Journal("pipeline")
        self.ports: dict[int, Port] = {}
        self.desks: dict[int, StageDesk] = {}
        self.outcomes: dict[int, list[Any]] = {}  # the collector's: kind, value, error, attempts, stage
        self.decision = Decision(self.others, plan.resend_ns)
        self._local: deque[tuple[str, Any]] = deque()  # messages to this agent's own stages
        if agent == plan.feeder:
            self.ports[_FEEDER] = self._port(_FEEDER)
        for rules in plan.stages:
            if rules.agent == agent:
                port = self.ports[rules.number] = self._port(rules.number)
                self.desks[rules.number] = StageDesk(rules, port, self.journal)
        self._handlers: Mapping[str, Callable[[str, Any], list[Effect]]] = {
            ITEM: self._on_item,
            ENDED: self._on_ended,
            ACK: self._on_ack,
            BUSY: self._on_limit,
            CREDIT: self._on_limit,
            PROBE: self._on_probe,
        }

    def _port(self, source: int) -> Port:
        following = source + 1
        limit = self.plan.stages[following].capacity if following < len(self.plan.stages) else None
        return Port(source, limit, self.plan.resend_ns, lambda letter: self._pass_on(source, letter))

    # -- the machine's doors ---------------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin with what the journal remembers: send what nobody has answered for."""
        entries = self.journal.load(durable)
        for entry in entries:
            self._remember(*entry)
        if self.decision.is_made:
            return self.decision.announce(self.decision.value)
        effects: list[Effect] = []
        if self.name == self.plan.feeder:
            names = [rules.name for rules in self.plan.stages]
            for parcel in self.parcels.values():
                order = {} if parcel.order is None else {"order": parcel.order}
                effects.append(Observe("feed", {"item": parcel.key, "stages": names, **order}))
                if parcel.id not in self.ports[_FEEDER].settled:
                    self.ports[_FEEDER].add(Letter(parcel))
            if self.plan.deadline_ns is not None:
                effects.append(SetTimer(DEADLINE_TIMER, self.plan.deadline_ns))
        effects += self._recall(entries)
        for number, desk in self.desks.items():
            if desk.port.settled:
                effects += self._grant(number)
        for port in self.ports.values():
            effects += port.pump()
        return [*effects, *self._deliver_locally(), *self._checkpoint(), *self._conclude()]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        handler = self._handlers.get(kind)
        if handler is None and kind != DECIDED:
            raise unknown_name("pipeline message", kind, (*self._handlers, DECIDED))
        if sender not in self.others:
            return []
        if handler is None:
            effects = [] if self.decision.is_made else self._decide(payload["value"])
            return effects + self.decision.heard_from(sender, ask=payload["ask"])
        if self.decision.is_made:
            return [self.decision.message_to(sender)] if kind in (ITEM, ENDED, PROBE) else []
        return [*handler(sender, payload), *self._deliver_locally(), *self._checkpoint(), *self._conclude()]

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Repeat what is not answered, try again what has failed, give up what takes too long."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        if name == DEADLINE_TIMER:
            return [*self._abandon(), *self._conclude()]
        what, number, *rest = name.split()
        source = int(number)
        if what == "probe":
            effects = self._probe(source)
        elif what == "resend":
            effects = self.ports[source].send(int(rest[0]))
        else:
            desk, id = self.desks[source], int(rest[0])
            effects = desk.timed_out(id) if what == "timeout" else desk.retry(id)
            effects += self._after_work(source, id)
        return [*effects, *self._deliver_locally(), *self._checkpoint(), *self._conclude()]

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Take what the function of a stage returned or raised.

        Raises:
            ConvergenceUsageError: anything else is asked.
        """
        if name not in (RETURNED, RAISED):
            raise unknown_name("pipeline command", name, (RETURNED, RAISED))
        if self.decision.is_made:
            return []
        _, number, rest = argument.id.split()
        source, id = int(number), int(rest)
        desk = self.desks[source]
        if isinstance(argument, Returned):
            effects = desk.returned(id, argument.value)
        else:
            effects = desk.failed(id, words_of(argument.error))
        effects += self._after_work(source, id)
        return [*effects, *self._deliver_locally(), *self._checkpoint(), *self._conclude()]

    def view(self) -> Any:
        """Return the result of the pipeline; an :class:`Underway` while an item is still under way."""
        if not self.decision.is_made:
            answered = len(self.outcomes) + sum(len(port.settled) for port in self.ports.values())
            left = sum(len(port.waiting) for port in self.ports.values())
            return Underway(answered, left + sum(desk.at_hand for desk in self.desks.values()))
        return self.result({int(id): outcome for id, *outcome in self.decision.value})

    # -- the journal -----------------------------------------------------------------------------------------------

    def _remember(self, kind: str, *entry: Any) -> None:
        if kind == "failed":
            number, _, id, error = entry
            self.desks[number].remember_failure(id, error)
        elif kind == "done":
            number, letter = entry[0], Letter(Parcel(*entry[1:5]), *entry[5:])
            self.desks[number].remember_done(letter)
        elif kind == "settled":
            port, id = self.ports[entry[0]], entry[1]
            if id not in port.waiting:  # the feeder's letters are in its inputs
                port.add(Letter(self.parcels[id]))
            port.settle(id)
        elif kind == "ended":
            self.outcomes[entry[0]] = list(entry[1:])
        elif kind == "checkpoint":
            ports, desks, outcomes = entry
            for number, memory in desks:
                self.desks[number].recall(*memory)
            for source, memory in ports:
                self.ports[source].recall(*memory)
            self.outcomes.update((id, list(outcome)) for id, *outcome in outcomes)
        else:
            self.decision.value = entry[0]

    def _checkpoint(self) -> list[Effect]:
        """Begin the journal anew where most of its entries are about items that are through."""
        waiting = sum(len(port.waiting) for port in self.ports.values())
        if len(self.journal) < _CHECKPOINT_EVERY + 2 * waiting + len(self.outcomes) or self.decision.is_made:
            return []
        ports = []
        for source, port in self.ports.items():
            settled, passed, letters = port.memory()
            ports.append([source, [settled, passed, [] if source == _FEEDER else letters]])
        desks = [[number, desk.memory()] for number, desk in self.desks.items()]
        outcomes = [[id, *outcome] for id, outcome in self.outcomes.items()]
        return self.journal.checkpoint("checkpoint", ports, desks, outcomes)

    def _recall(self, entries: Sequence[Sequence[Any]]) -> list[Effect]:
        """Observe the newest entry again: the crash may have come between the write and the fact."""
        kind, *entry = entries[-1] if entries else ("",)
        if kind == "failed":
            number, key, id, _ = entry
            return [self.desks[number].recalled_failure(key, id)]
        if kind == "done":
            letter = Letter(Parcel(*entry[1:5]), *entry[5:])
            return [self.desks[entry[0]].outcome_fact(letter, recalled=True)]
        return []

    # -- sending ---------------------------------------------------------------------------------------------------

    def _post(self, to: str, kind: str, payload: Any) -> list[Effect]:
        if to == self.name:
            self._local.append((kind, payload))
            return []
        return [Send(to, kind, payload)]

    def _deliver_locally(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._local:
            kind, payload = self._local.popleft()
            effects += self._handlers[kind](self.name, payload)
        return effects

    def _pass_on(self, source: int, letter: Letter) -> list[Effect]:
        following = source + 1
        if letter.kind == OK and following < len(self.plan.stages):
            payload: dict[str, Any] = {"stage": following, "parcel": tuple(letter.parcel)}
            return self._post(self.plan.stages[following].agent, ITEM, payload)
        _, key, _, value = letter.parcel
        outcome = (letter.kind, value, letter.error, letter.attempts, self.plan.stages[source].name)
        payload = {"source": source, "id": letter.parcel.id, "key": key, "outcome": outcome}
        return self._post(self.plan.feeder, ENDED, payload)

    def _agent_of(self, source: int) -> str:
        return self.plan.feeder if source == _FEEDER else self.plan.stages[source].agent

    def _grant(self, number: int) -> list[Effect]:
        payload = {"source": number - 1, "limit": self.desks[number].tell_limit()}
        return self._post(self._agent_of(number - 1), CREDIT, payload)

    def _probe(self, source: int) -> list[Effect]:
        following = source + 1
        asked = self._post(self.plan.stages[following].agent, PROBE, {"stage": following})
        return asked + self.ports[source].probe()

    # -- taking items ----------------------------------------------------------------------------------------------

    def _on_item(self, sender: str, payload: Any) -> list[Effect]:
        number = payload["stage"]
        desk, parcel = self.desks[number], Parcel(*payload["parcel"])
        if desk.has_done(parcel.id):
            return self._acknowledge(number, parcel)
        effects = desk.take(parcel)
        if effects is None:
            return self._post(
                self._agent_of(number - 1), BUSY, {"source": number - 1, "limit": desk.tell_limit()}
            )
        return effects + self._after_work(number, parcel.id)

    def _acknowledge(self, number: int, parcel: Parcel) -> list[Effect]:
        desk = self.desks[number]
        payload = {"source": number - 1, "id": parcel.id, "limit": desk.tell_limit()}
        return [
            desk.acknowledged(parcel),
            *self._post(self._agent_of(number - 1), ACK, payload),
        ]

    def _after_work(self, number: int, id: int) -> list[Effect]:
        """Acknowledge an item if it is done now, and pass it on."""
        parcel = self.desks[number].newly_done(id)
        if parcel is None:
            return []
        return [*self._acknowledge(number, parcel), *self.ports[number].pump()]

    def _on_ended(self, sender: str, payload: Any) -> list[Effect]:
        """The collector takes the outcome of an item; the first one counts."""
        id = payload["id"]
        effects: list[Effect] = []
        if id not in self.outcomes:
            self.outcomes[id] = list(payload["outcome"])
            effects += self.journal.append("ended", id, *payload["outcome"])
        return effects + self._post(
            self._agent_of(payload["source"]), ACK, {"source": payload["source"], "id": id}
        )

    def _on_probe(self, sender: str, payload: Any) -> list[Effect]:
        return self._grant(payload["stage"])

    # -- answers ---------------------------------------------------------------------------------------------------

    def _on_ack(self, sender: str, payload: Any) -> list[Effect]:
        source, id = payload["source"], payload["id"]
        port = self.ports[source]
        effects: list[Effect] = []
        if id in port.waiting:
            effects += self.journal.append("settled", source, id)
            effects += port.settle(id)
            if source in self.desks and self.desks[source].has_news:
                effects += self._grant(source)
        return effects + self._on_limit(sender, payload)

    def _on_limit(self, sender: str, payload: Any) -> list[Effect]:
        port = self.ports[payload["source"]]
        if "limit" in payload:
            port.grant(payload["limit"])
        return port.pump()

    # -- the end ---------------------------------------------------------------------------------------------------

    def _conclude(self) -> list[Effect]:
        """The collector decides when it has the outcome of every item."""
        if self.name != self.plan.feeder or self.decision.is_made or len(self.outcomes) < len(self.parcels):
            return []
        return self._decide([[id, *self.outcomes[id]] for id in sorted(self.outcomes)])

    def _abandon(self) -> list[Effect]:
        """The collector waits no longer for what has not come out."""
        effects: list[Effect] = []
        seconds = (self.plan.deadline_ns or 0) / 1e9
        for id, parcel in self.parcels.items():
            if id not in self.outcomes:
                outcome = [UNFINISHED, parcel.value, f"has not come out within {seconds:g} s", 0, ""]
                self.outcomes[id] = outcome
                effects += self.journal.append("ended", id, *outcome)
                effects.append(Observe("abandon", {"item": parcel.key}))
        return effects

    def _decide(self, value: Any) -> list[Effect]:
        effects = [*self.journal.append("decided", value), CancelTimer(DEADLINE_TIMER)]
        for port in self.ports.values():
            effects += port.quiet()
        for desk in self.desks.values():
            effects += desk.quiet()
        return [*effects, *self.decision.announce(value)]

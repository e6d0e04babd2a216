"""Agents that react to events: publish and subscribe, in order, each event handled once.

Sources: the end of all that an event causes is detected as by Dijkstra and Scholten, *Termination detection for diffusing
computations* (1980); causal order is that of :mod:`.causal`, sagas are those of :mod:`.saga`.

Theory of operation
1. Who subscribes to what is known to all. A publisher makes an event durable, numbers it for each subscriber, and sends it
   to each until that one reports that all is done: its handler, and whatever came of what its handler published.
2. A subscriber handles one event at a time, and the events of one publisher in the order of their numbers (*fifo*). For
   *causal* order an event also waits until everything is handled that its publisher knew to be sent to this subscriber.
3. When a handler returns, its result, the count of handled events and the events that it publishes become durable in one
   write. So an event whose number is not above the count was handled, and is not handled again; a handler that a crash
   interrupts runs again, and what it publishes is named after the event and the place in its list: it is published once.
4. A handler that raises is tried again, a bounded number of times; then its result says so.
5. An event bears the number of hops that it is away from a given one. Beyond the budget nothing is published: handlers
   that trigger each other come to an end, and it is observed.
6. When all of an event is done the subscriber reports it, with all results, to the publisher, whose own event is perhaps
   done by that, and so on up to the given events. When they are done, the run is: the first publisher tells everybody
   all results (:mod:`.decision`). Each event says up to which number the reports have arrived: what was remembered of
   those may be forgotten.
7. A saga takes the place of a handler: its conductor asks for one step after the other, and for their undoing in reverse
   if one fails. It is the conductor's handling of the event, which ends when the saga does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.causal import Sent, copy_of, learn, note
from pytest_convergence._engine.patterns.decision import DECIDED, LONGEST_BACKOFF, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.events import (
    Event,
    HandlerFailed,
    Publish,
    Record,
    event_key,
    publications,
)
from pytest_convergence._engine.patterns.saga import DO, UNDO, SagaRules, SagaRun
from pytest_convergence._engine.patterns.saga_steps import BUSY, STEPPED, Steps
from pytest_convergence.errors import unknown_name

__all__ = ["Reactor", "Rules"]

EVENT: Final = "event"
DONE: Final = "done"
STEP: Final = "step"
RESEND_TIMER: Final = "resend"
AGAIN_TIMER: Final = "again"

_DEAF_AFTER: Final = 20
"""After how many repetitions without an answer an agent stops keeping the world awake, ..."""
_SILENT_AFTER: Final = 1000
"""... and after how many it stops asking."""
_WINDOW: Final = 16
"""How many given events are under way at a time."""


class Rules(NamedTuple):
    """What all agents of a run share.

    Attributes:
        publisher: who publishes the given events.
        subscribers: topic -> who handles its events.
        sagas: topic -> the saga that its events start.
        order: ``"fifo"`` or ``"causal"``.
        max_hops: how far from a given event another may be.
        max_attempts: how often a handler is tried.
        resend_ns: after how long an unanswered message is repeated; nanoseconds.
        step_ns: how long a saga waits to hear of a step; nanoseconds.
    """

    publisher: str
    subscribers: Mapping[str, tuple[str, ...]]
    sagas: Mapping[str, SagaRules]
    order: str
    max_hops: int
    max_attempts: int
    resend_ns: int
    step_ns: int


class Reactor:
    """One reactive agent (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(
        self,
        agent: str,
        agents: Sequence[str],
        events: Sequence[tuple[str, Any]],
        functions: Mapping[str, Any],
        rules: Rules,
    ) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.given = tuple(events)
        self.rules = rules
        self.durable = Slots("reactor")
        self.decision = Decision([other for other in agents if other != agent], rules.resend_ns)
        self.steps = Steps(functions, self._save, self._tell)
        self.sent: Sent = {}
        self.counts: dict[str, int] = {}  # publisher -> how many of its events are handled
        self.outbox: dict[str, Event] = {}
        self.handled: dict[str, Record] = {}
        self.begun = 0  # how many of the given events are published
        self.results: list[Any] = []  # what is reported of the given events
        self.saga: SagaRun | None = None
        self.sagas = 0  # how many this agent has begun
        self.inbox: list[tuple[str, Any]] = []  # (publisher, message), in the order of arrival
        self.current: tuple[str, Any] | None = None
        self.attempts = self.repeats = self.waited_ns = 0
        self.armed = False
        self.local: deque[tuple[str, Any]] = deque()  # what this agent tells itself

    # -- the machine's four doors ----------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Publish the given events if that is this agent's part, or go on where the life before left off."""
        saved = self.durable.load(durable)
        if saved is None:
            if self.name != self.rules.publisher:
                return []
            return self._end(self._publish_given())
        if saved["decision"]:
            return self.decision.announce(saved["decision"][0])
        self._load(saved)
        remembered = [
            Observe("handled", {"event": record.id, "topic": record.topic, "remembered": True})
            for record in self.handled.values()
        ]
        return self._end([*remembered, *self.steps.remembered(), *self._publish(list(self.outbox.values()))])

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take an event, a report, or a step."""
        if kind == DECIDED:
            effects = [] if self.decision.is_made else self._conclude(payload["value"])
            return effects + self.decision.heard_from(sender, ask=payload["ask"])
        if self.decision.is_made:
            return []
        self.repeats = 0
        return self._end(self._receive(sender, kind, payload))

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Repeat what is unanswered, or try a handler again."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        if self.decision.is_made:
            return []
        if name == AGAIN_TIMER:
            return self._end(self._run())
        self.armed = False
        return self._end(self._resend())

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """A function of the user's returned, or raised.

        Raises:
            ConvergenceUsageError: it is another command, or a handler publishes to a topic that nobody subscribes to.
        """
        if name not in (RETURNED, RAISED):
            raise unknown_name("reactive command", name, (RETURNED, RAISED))
        if self.decision.is_made:
            return []
        if self.steps.is_mine(argument.id):
            if name == RETURNED:
                return self._end(self.steps.returned(argument.id, argument.value))
            return self._end(self.steps.raised(argument.id, argument.error))
        if name == RETURNED:
            return self._end(self._handled(argument.value))
        return self._end(self._raised(argument.error))

    def view(self) -> Any:
        """Return all results, ``{topic: {agent: [results]}}``, once this agent knows them."""
        return self.decision.value

    # -- publishing ------------------------------------------------------------------------------------------------

    def _new_event(self, id: str, wanted: Publish, cause: str, hops: int) -> Event:
        recipients = self.rules.subscribers[wanted.topic]
        known = copy_of(self.sent) if self.rules.order == "causal" else {}
        numbers = note(self.sent, self.name, recipients)
        event = Event(id, wanted.topic, wanted.payload, hops, cause, numbers, known, list(recipients))
        self.outbox[id] = event
        return event

    def _publish_given(self) -> list[Effect]:
        """Publish given events, as many as may be under way at a time."""
        events: list[Event] = []
        under_way = sum(not event.cause for event in self.outbox.values())
        while self.begun < len(self.given) and under_way + len(events) < _WINDOW:
            topic, payload = self.given[self.begun]
            self.begun += 1
            events.append(self._new_event(str(self.begun), Publish(topic, payload), "", 1))
        return [*self._save(), *self._publish(events)]

    def _message(self, event: Event, recipient: str) -> dict[str, Any]:
        numbers = [other.numbers[recipient] for other in self.outbox.values() if recipient in other.waiting]
        return event.message_for(recipient, min(numbers) - 1)

    def _publish(self, events: Sequence[Event]) -> list[Effect]:
        """Say what is published, and send it. It is durable already."""
        effects: list[Effect] = [
            Observe(
                "publish",
                {
                    "event": event.id,
                    "topic": event.topic,
                    "to": list(event.numbers),
                    "cause": event.cause or None,
                    "place": int(event.id.rpartition(".")[2]) if event.cause else None,
                    "order": self.rules.order,
                    "budget": self.rules.max_hops,
                },
            )
            for event in events
        ]
        for event in events:
            for recipient in event.waiting:
                effects += self._tell(recipient, EVENT, self._message(event, recipient))
        return effects

    def _on_done(self, sender: str, payload: Any) -> list[Effect]:
        """All that came of an event at ``sender`` is done."""
        event = self.outbox.get(payload["event"])
        if event is None or sender not in event.waiting:
            return []
        event.waiting.remove(sender)
        event.records += payload["records"]
        if event.waiting:
            return self._save()
        del self.outbox[event.id]
        if event.cause:
            return self._part_done(event)
        self.results += event.records
        if self.begun < len(self.given) or any(not other.cause for other in self.outbox.values()):
            return self._publish_given()
        return self._conclude(self._output())

    def _part_done(self, event: Event) -> list[Effect]:
        """All that came of an event that a handler here published is done."""
        record = self.handled[event.cause]
        record.open.remove(event.id)
        record.records += event.records
        return [*self._save(), *self._report(record)]

    def _report(self, record: Record) -> list[Effect]:
        if record.open:
            return []
        return self._tell(record.sender, DONE, {"event": record.id, "records": record.records})

    # -- handling --------------------------------------------------------------------------------------------------

    def _on_event(self, sender: str, payload: Any) -> list[Effect]:
        for known in list(self.handled.values()):
            if known.sender == sender and known.number <= payload["settled"]:
                del self.handled[known.id]  # its report has arrived, so nobody will ask for it again
        if self._is_handled(sender, payload):
            record = self.handled.get(payload["event"])
            return [] if record is None else self._report(record)
        waiting = [*self.inbox, *([] if self.current is None else [self.current])]
        if any(each["event"] == payload["event"] for _, each in waiting):
            return []
        self.inbox.append((sender, payload))
        return self._next()

    def _is_handled(self, sender: str, payload: Any) -> bool:
        return bool(payload["number"] <= self.counts.get(sender, 0))

    def _next(self) -> list[Effect]:
        """Begin with the first event whose turn it is, if nothing is under way."""
        if self.current is not None:
            return []
        for each in self.inbox:
            if self._is_due(*each):
                self.inbox.remove(each)
                self.current, self.attempts = each, 0
                return self._run()
        return []

    def _is_due(self, sender: str, payload: Any) -> bool:
        if self.saga is not None and payload["event"] != self.saga.id:
            return False  # the saga that a crash interrupted goes on first
        if payload["number"] != self.counts.get(sender, 0) + 1:
            return False
        return all(self.counts.get(other, 0) >= number for other, number in payload["after"].items())

    def _run(self) -> list[Effect]:
        if self.current is None:
            return []
        event, topic = self.current[1]["event"], self.current[1]["topic"]
        self.attempts += 1
        begins = Observe("handle", {"event": event, "topic": topic})
        if topic in self.rules.sagas:
            return [begins, *self._begin_saga(event, topic)]
        return [begins, Call(f"handle {event}", f"handle {topic}", (self.current[1]["payload"],))]

    def _raised(self, error: Exception) -> list[Effect]:
        if self.current is None:
            return []
        reason = f"{type(error).__name__}: {error}"
        event = self.current[1]["event"]
        if self.attempts < self.rules.max_attempts:
            fact = Observe("retry", {"event": event, "attempt": self.attempts, "reason": reason})
            return [fact, SetTimer(AGAIN_TIMER, self.rules.resend_ns * self.attempts)]
        return [
            Observe("dead_letter", {"event": event, "reason": reason}),
            *self._handled(HandlerFailed(reason)),
        ]

    def _handled(self, result: Any) -> list[Effect]:
        """The present event is handled: write down the result and what is published, at once."""
        if self.current is None:
            return []
        sender, payload = self.current
        self.current = None
        id, topic, hops = payload["event"], payload["topic"], payload["hops"] + 1
        self._count(sender, payload)
        wanted = publications(result, self.rules.subscribers)
        record = Record(id, topic, sender, payload["number"], [], [[id, topic, self.name, result]])
        self.handled[id] = record
        refused: list[Effect] = []
        if wanted and hops > self.rules.max_hops:
            data = {"event": id, "topic": wanted[0].topic, "hops": hops, "budget": self.rules.max_hops}
            refused, wanted = [Observe("loop", data)], []
        events = [self._consequence(record, n, each, hops) for n, each in enumerate(wanted, 1)]
        fact = Observe("handled", {"event": id, "topic": topic})
        return [
            *self._save(), fact, *refused, *self._publish(events), *self._report(record), *self._next()
        ]  # fmt: skip

    def _consequence(self, record: Record, number: int, wanted: Publish, hops: int) -> Event:
        event = self._new_event(f"{record.id}/{self.name}.{number}", wanted, record.id, hops)
        record.open.append(event.id)
        return event

    def _count(self, sender: str, payload: Any) -> None:
        self.counts[sender] = payload["number"]
        if self.rules.order == "causal":
            known = copy_of(payload["sent"])
            note(known, sender, payload["to"])
            learn(self.sent, known)

    # -- sagas -----------------------------------------------------------------------------------------------------

    def _begin_saga(self, event: str, topic: str) -> list[Effect]:
        rules = self.rules.sagas[topic]
        saved: list[Effect] = []
        if self.saga is None or self.saga.id != event:
            self.saga = SagaRun(event)
            self.sagas += 1
            saved = self._save()
        names = [name for name, _ in rules.steps]
        pivot = names[rules.pivot] if rules.has_pivot else None
        fact = Observe("saga_begin", {"saga": event, "topic": topic, "steps": names, "pivot": pivot})
        return [*saved, fact, *self._ask()]

    def _ask(self) -> list[Effect]:
        """Ask for the present step of the saga."""
        if self.saga is None or self.current is None:
            return []
        topic = self.current[1]["topic"]
        saga, rules = self.saga, self.rules.sagas[topic]
        step, agent = rules.steps[saga.at]
        payload = {
            "saga": saga.id,
            "serial": self.sagas,
            "topic": topic,
            "number": saga.at,
            "step": step,
            "what": UNDO if saga.backward else DO,
            "attempt": saga.attempt,
            "payload": self.current[1]["payload"],
        }
        return self._tell(agent, STEP, payload)

    def _on_stepped(self, payload: Any) -> list[Effect]:
        saga = self.saga
        if saga is None or self.current is None:
            return []
        wanted = (saga.id, saga.at, UNDO if saga.backward else DO, saga.attempt)
        if wanted != tuple(payload[name] for name in ("saga", "number", "what", "attempt")):
            return []
        self.waited_ns = 0
        rules = self.rules.sagas[self.current[1]["topic"]]
        if payload["ok"]:
            saga.succeeded(rules, payload["value"])
        else:
            saga.did_fail(rules, payload["value"])
        return self._saga_moved(saga, rules, at_once=saga.attempt == 1)

    def _saga_moved(self, saga: SagaRun, rules: SagaRules, *, at_once: bool) -> list[Effect]:
        if not saga.how:
            return [*self._save(), *(self._ask() if at_once else [])]
        self.saga = None
        fact = Observe("saga_end", {"saga": saga.id, "how": saga.how, "reason": saga.reason})
        return [*self._handled(saga.result(rules)), fact]

    # -- messages and repetitions ----------------------------------------------------------------------------------

    def _receive(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        if kind == EVENT:
            return self._on_event(sender, payload)
        if kind == DONE:
            return self._on_done(sender, payload)
        if kind == STEP:
            return self.steps.asked(sender, payload)
        if kind == BUSY:
            self.waited_ns = 0
            return []
        return self._on_stepped(payload) if kind == STEPPED else []

    def _tell(self, to: str, kind: str, payload: Any) -> list[Effect]:
        if to == self.name:
            self.local.append((kind, payload))
            return []
        return [Send(to, kind, payload)]

    def _end(self, effects: list[Effect]) -> list[Effect]:
        """End a reaction: hear what this agent told itself, and see that what is unanswered will be repeated."""
        while self.local and not self.decision.is_made:
            kind, payload = self.local.popleft()
            effects += self._receive(self.name, kind, payload)
        if self.decision.is_made or self.armed or not self._is_waiting() or self.repeats >= _SILENT_AFTER:
            return effects
        self.armed = True
        return [*effects, SetTimer(RESEND_TIMER, self._interval_ns(), background=self.repeats >= _DEAF_AFTER)]

    def _is_waiting(self) -> bool:
        return bool(self.outbox) or self.saga is not None

    def _interval_ns(self) -> int:
        return self.rules.resend_ns * min(1 << min(self.repeats, LONGEST_BACKOFF), LONGEST_BACKOFF)

    def _resend(self) -> list[Effect]:
        effects: list[Effect] = []
        for event in self.outbox.values():
            for recipient in event.waiting:
                if recipient != self.name:
                    effects += self._tell(recipient, EVENT, self._message(event, recipient))
        if self.saga is not None and self.current is not None:
            self.waited_ns += self._interval_ns()
            rules = self.rules.sagas[self.current[1]["topic"]]
            if self.waited_ns >= self.rules.step_ns and self.saga.time_is_up(rules):
                self.waited_ns = 0
                effects += self._saga_moved(self.saga, rules, at_once=False)
            effects += self._ask()
        self.repeats += 1
        return effects

    # -- the end, and storage --------------------------------------------------------------------------------------

    def _conclude(self, value: Any) -> list[Effect]:
        timers = [CancelTimer(RESEND_TIMER), CancelTimer(AGAIN_TIMER)]
        return [*self._save(value), *timers, *self.decision.announce(value)]

    def _output(self) -> dict[str, dict[str, list[Any]]]:
        found = {topic: {agent: [] for agent in agents} for topic, agents in self.rules.subscribers.items()}  # type: dict[str, dict[str, list[Any]]]
        for _, topic, agent, result in sorted(self.results, key=lambda each: event_key(each[0], self.agents)):
            found[topic][agent].append(result)
        return found

    def _save(self, decision: Any = None) -> list[Effect]:
        if decision is not None:
            return self.durable.save({"decision": [decision]})
        return self.durable.save(
            {
                "sent": copy_of(self.sent),
                "counts": dict(self.counts),
                "outbox": [event.as_dict() for event in self.outbox.values()],
                "handled": [record.as_dict() for record in self.handled.values()],
                "begun": self.begun,
                "results": list(self.results),
                "saga": None if self.saga is None else self.saga.as_dict(),
                "sagas": self.sagas,
                "steps": self.steps.saved(),
                "decision": [],
            }
        )

    def _load(self, saved: Mapping[str, Any]) -> None:
        self.sent, self.counts = saved["sent"], saved["counts"]
        self.outbox = {event["id"]: Event(**event) for event in saved["outbox"]}
        self.handled = {record["id"]: Record(**record) for record in saved["handled"]}
        self.begun, self.results = saved["begun"], list(saved["results"])
        self.saga = None if saved["saga"] is None else SagaRun(**saved["saga"])
        self.sagas = saved["sagas"]
        self.steps.load(saved["steps"])

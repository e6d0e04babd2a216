"""Causal delivery by matrices agrees with happened-before, whatever is published and in whatever order it arrives."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from pytest_convergence._engine.patterns.causal import Sent, after, copy_of, learn, note

AGENTS = ("a", "b", "c", "d")


@dataclass
class Event:
    """An event with what the protocol attaches, and the true set of events that happened before it."""

    sender: str
    to: tuple[str, ...]
    numbers: dict[str, int]
    sent: Sent
    past: frozenset[int]


@dataclass
class Agent:
    """What one agent knows by the protocol, and what truly happened before its present."""

    sent: Sent = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    past: frozenset[int] = frozenset()
    inbox: list[int] = field(default_factory=list)
    handled: list[int] = field(default_factory=list)


class Group:
    """Agents that publish to some of each other, and handle what has arrived when it is due."""

    def __init__(self) -> None:
        self.agents = {name: Agent() for name in AGENTS}
        self.events: list[Event] = []

    def publish(self, sender: str, to: tuple[str, ...]) -> None:
        agent = self.agents[sender]
        known = copy_of(agent.sent)
        numbers = note(agent.sent, sender, to)
        self.events.append(Event(sender, to, numbers, known, agent.past))
        id = len(self.events) - 1
        agent.past |= {id}
        for name in to:
            self.agents[name].inbox.append(id)

    def is_due(self, name: str, id: int) -> bool:
        agent, event = self.agents[name], self.events[id]
        if event.numbers[name] != agent.counts.get(event.sender, 0) + 1:
            return False
        return all(agent.counts.get(other, 0) >= n for other, n in after(event.sent, name).items())

    def handle(self, name: str, place: int) -> bool:
        """Handle the first that is due of those that have arrived, from some place in the inbox on."""
        agent = self.agents[name]
        turned = agent.inbox[place:] + agent.inbox[:place]
        due = next((id for id in turned if self.is_due(name, id)), None)
        if due is None:
            return False
        event = self.events[due]
        missing = [id for id in event.past if name in self.events[id].to and id not in agent.handled]
        assert not missing, f"{name} handles {due} before {missing}"
        agent.inbox.remove(due)
        agent.handled.append(due)
        agent.counts[event.sender] = event.numbers[name]
        known = copy_of(event.sent)
        note(known, event.sender, event.to)
        learn(agent.sent, known)
        agent.past |= event.past | {due}
        return True


subscribers = st.lists(st.sampled_from(AGENTS), min_size=1, max_size=4, unique=True).map(tuple)
steps = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(AGENTS), subscribers),
    st.tuples(st.just("handle"), st.sampled_from(AGENTS), st.integers(0, 5)),
)


@given(st.lists(steps, max_size=40))
def test_nothing_is_handled_before_what_happened_before_it_and_nothing_waits_for_ever(history):
    group = Group()
    for what, name, argument in history:
        if what == "publish":
            group.publish(name, argument)
        else:
            group.handle(name, argument)
    while any(group.handle(name, 0) for name in AGENTS):
        pass
    assert all(not agent.inbox for agent in group.agents.values())


@given(st.lists(steps, max_size=40))
def test_an_event_that_is_due_waits_for_nothing_but_its_past(history):
    group = Group()
    for what, name, argument in history:
        if what == "publish":
            group.publish(name, argument)
        else:
            group.handle(name, argument)
    for name, agent in group.agents.items():
        for id in agent.inbox:
            past = [other for other in group.events[id].past if name in group.events[other].to]
            assert group.is_due(name, id) == all(other in agent.handled for other in past)

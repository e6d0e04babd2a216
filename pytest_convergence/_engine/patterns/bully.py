"""Leader election by the bully algorithm.

Source: Garcia-Molina, *Elections in a Distributed Computing System*, IEEE Transactions on Computers C-31(1),
1982.

Theory of operation
1. Agents are ranked: the first of the configured agents is the strongest. The strongest that is alive shall
   lead.
2. An agent that misses its leader (or has just started) holds an *election*: it asks every stronger agent. If
   none answers in time, it is the leader and tells everybody (*coordinator*). If one answers, the stronger
   agent takes the election over; if no coordinator appears in time, the election starts again.
3. An agent that is asked by a weaker one answers, and holds an election of its own.
4. The leader sends heartbeats. Whoever does not hear them for a while holds an election. A heartbeat from a
   weaker agent makes a stronger one hold an election, which it wins: it bullies the weaker out of office.

What it assumes, and what that means
5. The algorithm assumes *synchrony*: a bound on message delay that the timeouts exceed, no lost messages, no
   partition. It asks no quorum and has no terms. Under a partition each side elects its own strongest agent,
   and there are two leaders until the partition heals; the paper says so and proposes the invitation
   algorithm for that case. Slow messages do the same to it. So its only default property is that in the end
   one agent leads. Where two leaders do harm, take Raft.
6. Nothing is durable: a restarted agent simply holds an election.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import CancelTimer, Effect, Observe, Send, SetTimer
from pytest_convergence._engine.patterns.raft import LeaderView
from pytest_convergence.errors import InternalError, unknown_name

__all__ = ["TRANSITIONS", "BullyElection", "BullyTiming", "Event", "Role"]

ELECTION: Final = "election"
ANSWER: Final = "answer"
COORDINATOR: Final = "coordinator"
HEARTBEAT: Final = "heartbeat"

ANSWER_TIMER: Final = "answer"
TAKEOVER_TIMER: Final = "takeover"
HEARTBEAT_TIMER: Final = "heartbeat"
DETECT_TIMER: Final = "detect"


class Role(StrEnum):
    """What an agent is doing."""

    FOLLOWING = "following"
    ELECTING = "electing"
    WAITING = "waiting"
    LEADING = "leading"


class Event(StrEnum):
    """What may change a role."""

    ELECTION_HELD = "election held"
    ANSWERED = "answered by a stronger agent"
    UNANSWERED = "nobody stronger answered"
    STRONGER_LEADER = "stronger leader heard"


TRANSITIONS: Final[Mapping[Role, Mapping[Event, Role]]] = {
    Role.FOLLOWING: {
        Event.ELECTION_HELD: Role.ELECTING,
        Event.STRONGER_LEADER: Role.FOLLOWING,
    },
    Role.ELECTING: {
        Event.ELECTION_HELD: Role.ELECTING,
        Event.ANSWERED: Role.WAITING,
        Event.UNANSWERED: Role.LEADING,
        Event.STRONGER_LEADER: Role.FOLLOWING,
    },
    Role.WAITING: {
        Event.ELECTION_HELD: Role.ELECTING,
        Event.STRONGER_LEADER: Role.FOLLOWING,
    },
    Role.LEADING: {
        Event.ELECTION_HELD: Role.ELECTING,
        Event.STRONGER_LEADER: Role.FOLLOWING,
    },
}
"""Role and event to the next role; what is not listed cannot happen."""


class BullyTiming(NamedTuple):
    """Nanoseconds: heartbeat interval, and how long silence lasts before it means something."""

    heartbeat_ns: int
    timeout_ns: int


class BullyElection:
    """One agent's side of the election (a :class:`~pytest_convergence._engine.base.effects.Machine`).

    Commands: ``"campaign"`` makes an agent hold an election.
    """

    def __init__(self, agent: str, agents: Sequence[str], timing: BullyTiming) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.timing = timing
        rank = self.agents.index(agent)
        self.stronger = self.agents[:rank]
        self.weaker = self.agents[rank + 1 :]
        self.role = Role.FOLLOWING
        self.leader: str | None = None
        self.elections = 0
        self._handlers: Mapping[str, Callable[[str], list[Effect]]] = {
            ELECTION: self._on_election,
            ANSWER: self._on_answer,
            COORDINATOR: self._on_leader,
            HEARTBEAT: self._on_leader,
        }
        self._alarms: Mapping[str, Callable[[], list[Effect]]] = {
            ANSWER_TIMER: self._lead,
            TAKEOVER_TIMER: self._hold_election,
            HEARTBEAT_TIMER: self._beat,
            DETECT_TIMER: self._hold_election,
        }

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin a life with an election; nothing of the lives before matters."""
        return self._hold_election()

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            raise unknown_name("bully message", kind, self._handlers)
        if sender == self.name or sender not in self.agents:
            return []
        return handler(sender)

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Take the alarm of one of this machine's timers."""
        return self._alarms[name]()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """Carry out ``"campaign"``; it takes no argument.

        Raises:
            ConvergenceUsageError: the command does not exist.
        """
        if name != "campaign":
            raise unknown_name("bully command", name, ("campaign",))
        return self._hold_election()

    def view(self) -> LeaderView:
        """Return the leader that this agent follows; the algorithm has no terms, so the term is always 0."""
        return LeaderView(self.leader, 0)

    def _move(self, event: Event) -> list[Effect]:
        """Change the role, and stop the timers of the role before."""
        role = TRANSITIONS[self.role].get(event)
        if role is None:
            raise InternalError(
                f"bully: an agent that is {self.role} cannot take {event!r}. Please report this."
            )
        effects: list[Effect] = []
        if self.role is Role.LEADING:
            effects.append(Observe("step_down", {"reason": str(event)}))
        self.role = role
        timers = (ANSWER_TIMER, TAKEOVER_TIMER, HEARTBEAT_TIMER, DETECT_TIMER)
        return [*effects, *(CancelTimer(timer) for timer in timers)]

    def _hold_election(self) -> list[Effect]:
        effects = self._move(Event.ELECTION_HELD)
        self.leader = None
        self.elections += 1
        effects.append(Observe("round", {"round": self.elections}))
        if not self.stronger:
            return effects + self._lead()
        effects += [Send(other, ELECTION, {}) for other in self.stronger]
        return [*effects, SetTimer(ANSWER_TIMER, self.timing.timeout_ns)]

    def _lead(self) -> list[Effect]:
        effects = self._move(Event.UNANSWERED)
        self.leader = self.name
        effects.append(Observe("leader", {}))
        effects += [Send(other, COORDINATOR, {}) for other in self.agents if other != self.name]
        return [*effects, self._heartbeat_timer()] if len(self.agents) > 1 else effects

    def _heartbeat_timer(self) -> SetTimer:
        return SetTimer(HEARTBEAT_TIMER, self.timing.heartbeat_ns, background=True)

    def _beat(self) -> list[Effect]:
        beats = [Send(other, HEARTBEAT, {}) for other in self.agents if other != self.name]
        return [*beats, self._heartbeat_timer()]

    def _on_election(self, sender: str) -> list[Effect]:
        if sender not in self.weaker:
            return []  # only weaker agents ask; a stronger one needs no permission
        answer = Send(sender, ANSWER, {})
        if self.role is Role.LEADING:
            return [answer, Send(sender, COORDINATOR, {})]
        return [answer, *self._hold_election()] if self.role is Role.FOLLOWING else [answer]

    def _on_answer(self, sender: str) -> list[Effect]:
        if self.role is not Role.ELECTING:
            return []
        return [*self._move(Event.ANSWERED), SetTimer(TAKEOVER_TIMER, 2 * self.timing.timeout_ns)]

    def _on_leader(self, sender: str) -> list[Effect]:
        """A coordinator or heartbeat message: follow a stronger agent, bully a weaker one."""
        if sender in self.weaker:
            busy = self.role in (Role.ELECTING, Role.WAITING)
            return [] if busy else self._hold_election()
        known = self.leader == sender and self.role is Role.FOLLOWING
        detect = SetTimer(DETECT_TIMER, self.timing.timeout_ns, background=True)
        if known:
            return [detect]
        effects = self._move(Event.STRONGER_LEADER)
        self.leader = sender
        return [*effects, Observe("follow", {"leader": sender}), detect]

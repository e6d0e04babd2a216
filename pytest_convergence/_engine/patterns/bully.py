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
7. Where a network is slower than the timeouts, elections would follow one another for ever. So an agent backs off: each
   suspicion that proves wrong (it gave its leader up and hears from it again; it led because no stronger agent had
   answered, and one does) doubles *all* its timeouts, up to :data:`LONGEST_STRETCH` times. A leader that lasts for
   :data:`SUCCESS` stretched timeouts takes one doubling back when the next one is heard (the rule of Chandra and Toueg,
   *Unreliable Failure Detectors for Reliable Distributed Systems*, 1996, figure 10). So what bully assumes comes true in
   the end, if messages arrive at all.
   A leader that hears a weaker one tells it who leads, and holds no election that it would win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import CancelTimer, Effect, Observe, Send, SetTimer
from pytest_convergence._engine.patterns.raft import LeaderView
from pytest_convergence.errors import InternalError, unknown_name

__all__ = ["TRANSITIONS", "BullyElection", "BullyTiming", "Event", "Role"]

ELECTION: Final = "leader_election"
ANSWER: Final = "answer"
COORDINATOR: Final = "coordinator"
HEARTBEAT: Final = "heartbeat"

ANSWER_TIMER: Final = "answer"
TAKEOVER_TIMER: Final = "takeover"
HEARTBEAT_TIMER: Final = "heartbeat"
DETECT_TIMER: Final = "detect"
SUCCESS_TIMER: Final = "success"

LONGEST_STRETCH: Final = 256
"""Suspicions that prove wrong stretch no timeout more than this many times."""

SUCCESS: Final = 4
"""For how many (stretched) timeouts a leader must last, for its followers to trust the network more again."""

_MOST_PATIENCE: Final = LONGEST_STRETCH.bit_length() - 1


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
        self.patience = 0
        self.given_up: str | None = None  # the leader that was not heard for too long
        self.succeeds = False  # whether the leader has lasted
        self.presumed = False  # whether the stronger agents are taken for dead
        self._handlers: Mapping[str, Callable[[str], list[Effect]]] = {
            ELECTION: self._on_election,
            ANSWER: self._on_answer,
            COORDINATOR: self._on_leader,
            HEARTBEAT: self._on_leader,
        }
        self._alarms: Mapping[str, Callable[[], list[Effect]]] = {
            ANSWER_TIMER: self._presume,
            TAKEOVER_TIMER: self._hold_election,
            HEARTBEAT_TIMER: self._beat,
            DETECT_TIMER: self._give_up,
            SUCCESS_TIMER: self._trust,
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
        self._doubt(sender, kind)
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
        timers = (ANSWER_TIMER, TAKEOVER_TIMER, HEARTBEAT_TIMER, DETECT_TIMER, SUCCESS_TIMER)
        return [*effects, *(CancelTimer(timer) for timer in timers)]

    @property
    def timeout_ns(self) -> int:
        """How long silence lasts before it means something, as far as this agent has learned."""
        return self.timing.timeout_ns << self.patience

    def _doubt(self, sender: str, kind: str) -> None:
        """Somebody speaks who was taken for dead: the timeouts are too short for this network."""
        again = sender == self.given_up and kind in (COORDINATOR, HEARTBEAT)
        if again or (self.presumed and sender in self.stronger):
            self.patience = min(self.patience + 1, _MOST_PATIENCE)
            self.given_up, self.presumed = None, False

    def _trust(self) -> list[Effect]:
        """The leader has lasted: the network deserves more trust, from the next leader on."""
        self.succeeds = True
        return []

    def _success_timer(self) -> list[Effect]:
        if self.succeeds:
            self.patience = max(0, self.patience - 1)
        self.succeeds = False
        return [SetTimer(SUCCESS_TIMER, SUCCESS * self.timeout_ns, background=True)] if self.patience else []

    def _give_up(self) -> list[Effect]:
        self.given_up = self.leader
        return self._hold_election()

    def _presume(self) -> list[Effect]:
        self.presumed = True
        return self._lead()

    def _hold_election(self) -> list[Effect]:
        effects = self._move(Event.ELECTION_HELD)
        self.leader = None
        self.elections += 1
        effects.append(Observe("round", {"round": self.elections}))
        if not self.stronger:
            return effects + self._lead()
        effects += [Send(other, ELECTION, {}) for other in self.stronger]
        return [*effects, SetTimer(ANSWER_TIMER, self.timeout_ns)]

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
        return [*self._move(Event.ANSWERED), SetTimer(TAKEOVER_TIMER, 2 * self.timeout_ns)]

    def _on_leader(self, sender: str) -> list[Effect]:
        """A coordinator or heartbeat message: follow a stronger agent, bully a weaker one."""
        if sender in self.weaker:
            if self.role is Role.LEADING:
                return [Send(sender, COORDINATOR, {})]
            return self._hold_election() if self.role is Role.FOLLOWING else []
        known = self.leader == sender and self.role is Role.FOLLOWING
        if known:
            return [self._detect_timer()]
        effects = self._move(Event.STRONGER_LEADER)
        self.leader = sender
        self.presumed = False
        success = self._success_timer()
        return [*effects, Observe("follow", {"leader": sender}), self._detect_timer(), *success]

    def _detect_timer(self) -> SetTimer:
        return SetTimer(DETECT_TIMER, self.timeout_ns, background=True)

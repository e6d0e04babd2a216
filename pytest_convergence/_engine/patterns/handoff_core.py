"""What the parts of the hand-off machine share: one entry for each work, and who this agent is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.effects import Effect, Observe
from pytest_convergence._engine.patterns.capabilities import CapabilityRegistry, Standing
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.failure_detector import PhiAccrual, Suspicion
from pytest_convergence._engine.patterns.handoff import HandoffState, HandoffTiming, Work, guardians_of

__all__ = ["FULL", "HOLDING", "Core", "Entry", "Lease", "Role", "Search", "Watch"]

_KEY: Final = "work "
_BACKOFF: Final = 8
FULL: Final = "full"
"""Why an agent refuses a work that it has no room for."""

_MOST_WAITING: Final = 1024
"""So many hand-offs are told when there is room again; more find out by asking."""
_INVITED_FOR: Final = 4
"""For how many retries room is kept for somebody who was told of it."""


class Role(StrEnum):
    """What an agent is to a work."""

    NONE = "none"
    """It has nothing to do with it, or has granted something about it and no more."""
    GUARDIAN = "guardian"
    """It keeps a copy, or owned it once."""
    OWNER = "owner"
    """It owns the work."""
    RELEASED = "released"
    """It has given the work away, and makes sure that the taker knows."""
    FINISHING = "finishing"
    """It has a result, and tells the guardians; or it is a guardian that was told."""
    DONE = "done"
    """A majority of the guardians has the result."""


HOLDING: Final = frozenset({Role.OWNER, Role.FINISHING})


@final
class Search:
    """A hand-off that this agent has begun and that has not ended. Volatile but for what ``plan`` holds.

    Attributes:
        plan: what was asked for: ``to``, ``capabilities``, ``reason``, and what the record is to carry.
        tickets: who waits for the end of it.
        deadline_ns: when it expires on this agent's clock; ``None``: never, for nobody waits.
        state: where it stands.
        candidate: whom it is offered to at present.
        answers: what the others said of themselves, while it looks for a candidate.
        refused: who refused, and why.
        copied: whether guardians may have a copy of the record under which the candidate would own the work.
        waits: how often in a row nobody had room.
    """

    __slots__ = (
        "answers",
        "attempt",
        "candidate",
        "copied",
        "deadline_ns",
        "plan",
        "refused",
        "state",
        "tickets",
        "tries",
        "waits",
    )

    def __init__(self, plan: dict[str, Any], tickets: list[str], deadline_ns: int | None) -> None:
        self.plan = plan
        self.tickets = tickets
        self.deadline_ns = deadline_ns
        self.state = HandoffState.OFFERED
        self.attempt = 0
        self.tries = 0
        self.candidate: str | None = None
        self.answers = CapabilityRegistry()
        self.refused: dict[str, str] = {}
        self.copied = False
        self.waits = 0


@final
class Lease:
    """The owner's side of a lease. Volatile: a restarted owner asks anew.

    Attributes:
        until_ns: until when this agent may act, on its own clock.
        active: whether it may act.
        sent_ns, votes: when each of the latest rounds was asked for, and who granted it.
        stored: which guardians have the record as it is now.
    """

    __slots__ = ("active", "round", "sent_ns", "stored", "tries", "until_ns", "votes")

    def __init__(self) -> None:
        self.round = 0
        self.tries = 0
        self.until_ns = -1
        self.active = False
        self.sent_ns: dict[int, int] = {}
        self.votes: dict[int, set[str]] = {}
        self.stored: set[str] = set()


@final
class Watch:
    """The guardian's side: when the owner was heard, and what is to come of its silence. Volatile."""

    __slots__ = ("claiming", "detector", "grants", "heard_ns", "suspected_by", "suspicion")

    def __init__(self, now_ns: int, timing: HandoffTiming) -> None:
        self.heard_ns = now_ns
        self.detector = PhiAccrual(
            first_estimate=timing.renew_ns,
            least_deviation=timing.renew_ns / 4,
            acceptable_pause=timing.renew_ns,
        )
        self.suspicion: Suspicion | None = None
        self.suspected_by: set[str] = set()
        self.claiming: int | None = None
        self.grants: dict[str, dict[str, Any]] = {}

    def heard(self, now_ns: int) -> None:
        """The owner lives."""
        self.heard_ns = now_ns
        self.detector.heartbeat(now_ns)
        self.suspicion = None
        self.suspected_by.clear()
        self.claiming = None
        self.grants = {}


class Reservation(NamedTuple):
    """Room that is kept for a work that was accepted."""

    giver: str
    attempt: int
    token: tuple[int, int]


@final
class Entry:
    """All that this agent knows of one work.

    Attributes:
        role, work: what it is to the work, and the newest record that it knows; durable, like the next six.
        granted: the highest epoch that it has granted, and to whom.
        taken, refused: the tokens that it took, and those that it never will.
        leased: whether owning this work takes a lease: it does from the first time it changes hands.
        plan: what a hand-off under way was asked for.
        value: the result.
        search, lease, watch, reserved: the volatile parts.
        working: whether the user's function was called, or the work put into the queue.
        result: the result in a list, while it waits for a lease.
        told: who has acknowledged the result.
    """

    __slots__ = (
        "granted",
        "guardians",
        "id",
        "lease",
        "leased",
        "plan",
        "refused",
        "reserved",
        "result",
        "role",
        "search",
        "slots",
        "taken",
        "tell_tries",
        "told",
        "value",
        "watch",
        "work",
        "working",
    )

    work: Work

    def __init__(self, id: str, guardians: tuple[str, ...], watch: Watch) -> None:
        self.id = id
        self.guardians = guardians
        self.slots = Slots(_KEY + id)
        self.role = Role.NONE
        self.granted: tuple[int, str] = (0, "")
        self.taken: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []
        self.leased = False
        self.plan: dict[str, Any] | None = None
        self.value: Any = None
        self.search: Search | None = None
        self.lease = Lease()
        self.watch = watch
        self.reserved: Reservation | None = None
        self.working = False
        self.result: list[Any] | None = None
        self.told: set[str] = set()
        self.tell_tries = 0

    @property
    def is_known(self) -> bool:
        """Whether this agent has a record of the work."""
        return hasattr(self, "work")

    @property
    def quorum(self) -> int:
        """A majority of the guardians."""
        return len(self.guardians) // 2 + 1

    def load(self, durable: Mapping[str, Any]) -> None:
        """Take what survived."""
        state = self.slots.load(durable)
        if state is None:
            return
        self.role = Role(state["role"])
        if state["work"] is not None:
            self.work = Work.read(state["work"])
        epoch, claimant = state["granted"]
        self.granted = (epoch, claimant)
        self.taken = [(epoch, number) for epoch, number in state["taken"]]
        self.refused = [(epoch, number) for epoch, number in state["refused"]]
        self.leased = state["leased"]
        self.plan = state["plan"]
        self.value = state["value"]

    def save(self) -> list[Effect]:
        """Make the durable part durable."""
        return self.slots.save(
            {
                "role": self.role.value,
                "work": self.work.wire() if self.is_known else None,
                "granted": list(self.granted),
                "taken": [list(token) for token in self.taken],
                "refused": [list(token) for token in self.refused],
                "leased": self.leased,
                "plan": self.plan,
                "value": self.value,
            }
        )


@final
class Core:
    """This agent: its name, its clock, its declaration, its entries.

    Attributes:
        holding, reserved: the ids of the works that it owns, and of those that it keeps room for.
        waiting: who found no room here, as giver and work, first come first served.
        invited: who was told that there is room, and when.
    """

    __slots__ = (
        "_declared",
        "agents",
        "entries",
        "holding",
        "invited",
        "name",
        "now",
        "reserved",
        "timing",
        "waiting",
    )

    def __init__(
        self, name: str, agents: Sequence[str], now: Callable[[], int], timing: HandoffTiming
    ) -> None:
        self.name = name
        self.agents = tuple(agents)
        self.now = now
        self.timing = timing
        self.entries: dict[str, Entry] = {}
        self.holding: set[str] = set()
        self.reserved: set[str] = set()
        self.waiting: dict[tuple[str, str], None] = {}
        self.invited: dict[tuple[str, str], int] = {}
        self._declared = Standing(name)

    @property
    def peers(self) -> tuple[str, ...]:
        """The other agents."""
        return tuple(agent for agent in self.agents if agent != self.name)

    def load(self, durable: Mapping[str, Any]) -> Iterable[Entry]:
        """Make the entries that survived."""
        ids = dict.fromkeys(key[len(_KEY) :].rpartition(".")[0] for key in durable if key.startswith(_KEY))
        for id in sorted(ids):
            entry = self.entry(id)
            entry.load(durable)
            self.note_role(entry, entry.role)
            yield entry

    def entry(self, id: str) -> Entry:
        """Return the entry of a work, made at its first mention."""
        entry = self.entries.get(id)
        if entry is None:
            watch = Watch(self.now(), self.timing)
            entry = self.entries[id] = Entry(id, guardians_of(id, self.agents), watch)
        return entry

    def note_role(self, entry: Entry, role: Role) -> None:
        """Change what this agent is to a work."""
        entry.role = role
        if role in HOLDING and entry.leased and entry.work.owner == self.name:
            self.holding.add(entry.id)
        else:
            self.holding.discard(entry.id)

    def reserve(self, entry: Entry, reserved: Reservation | None) -> None:
        """Keep room for a work, or no more."""
        entry.reserved = reserved
        if reserved is None:
            self.reserved.discard(entry.id)
        else:
            self.reserved.add(entry.id)

    # -- who can do what -------------------------------------------------------------------------------------------

    def declare(self, capabilities: Sequence[str], capacity: int | None, priority: int) -> None:
        """Say what this agent can do and how much it takes."""
        self._declared = Standing(self.name, tuple(capabilities), 0, capacity, priority, declared=True)

    def standing(self, but: str | None = None) -> Standing:
        """Return what this agent says of itself now; ``but`` is a work that does not count."""
        load = len(self.holding | self.reserved)
        return self._declared._replace(load=load - (but in self.holding or but in self.reserved))

    def why_not(self, work: Work) -> str | None:
        """Say why this agent does not take ``work``, or ``None`` if it does."""
        standing = self.standing(but=work.id)
        if not standing.can(work.capabilities):
            missing = sorted(set(work.capabilities) - set(standing.capabilities))
            return f"cannot do {', '.join(missing)}"
        if not standing.has_room:
            return FULL
        return "the hop budget is used up" if work.hops > work.max_hops else None

    def found_no_room(self, giver: str, id: str) -> None:
        """Somebody is to be told when there is room again."""
        if len(self.waiting) < _MOST_WAITING:
            self.waiting.setdefault((giver, id), None)

    def invite(self) -> list[tuple[str, str]]:
        """Choose who is told now that there is room: as many as there is room for."""
        standing = self.standing()
        if standing.capacity is None or not standing.has_room:
            return []
        now_ns = self.now()
        since_ns = now_ns - _INVITED_FOR * self.timing.retry_ns
        for each in [each for each, at_ns in self.invited.items() if at_ns < since_ns]:
            del self.invited[each]
        room = max(0, standing.capacity - standing.load - len(self.invited))
        chosen = list(self.waiting)[:room]
        for each in chosen:
            del self.waiting[each]
            self.invited[each] = now_ns
        return chosen

    # -- effects ---------------------------------------------------------------------------------------------------

    def fact(self, fact: str, work: Work, **data: Any) -> Observe:
        """Observe a fact about a work and its present token."""
        return Observe(fact, {"task": work.id, "token": work.token, **data})

    def backoff_ns(self, tries: int) -> int:
        """How long to wait for an answer after so many tries."""
        return self.timing.retry_ns * min(1 << tries, _BACKOFF)

"""Replicas and clocks as users would write them, one way of synchronising each: correct, and with one bug each."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from pytest_convergence import Message, SimulatedAgent, VectorClock
from pytest_convergence._engine.base.clocks import ClockDriftError, HybridClock

WRITES = 3
BEAT = 0.3
NS = 1_000_000_000


class Member:
    """Writes three times, tells the others at every beat, takes what comes, and keeps what it has in its storage."""

    def __init__(self, agent: SimulatedAgent) -> None:
        self.agent = agent
        self.peers = list(agent.peers)

    async def run(self) -> None:
        self.come_back(self.agent.storage.get("kept"))
        for beat in count():
            await self.write()
            await self.tell(beat)
            loop = asyncio.get_running_loop()
            until = loop.time() + BEAT
            while (left := until - loop.time()) > 0:
                try:
                    message = await self.agent.receive(timeout=left)
                except TimeoutError:
                    break
                await self.take(message)

    async def keep(self, value: Any) -> None:
        self.agent.storage.put("kept", (value,))  # one item: it cannot be torn
        await self.agent.storage.sync()

    def come_back(self, kept: Any) -> None:
        raise NotImplementedError

    async def write(self) -> None:
        raise NotImplementedError

    async def tell(self, beat: int) -> None:
        raise NotImplementedError

    async def take(self, message: Message) -> None:
        raise NotImplementedError


def behaviour(member: type[Member]) -> Any:
    async def run(agent: SimulatedAgent) -> None:
        await member(agent).run()

    return run


# -- full: whole documents --------------------------------------------------------------------------------------------


class Documents(Member):
    """Sends its whole document: what each agent has written, and the clock of that."""

    seen: VectorClock
    doc: dict[str, str]

    def come_back(self, kept: Any) -> None:
        self.seen, self.doc = kept[0] if kept else (VectorClock(), {})
        self.agent.expose(lambda: self.doc)
        self.observe()

    def observe(self) -> None:
        self.agent.observe("replica", seen=self.seen, state=dict(self.doc))

    async def write(self) -> None:
        name = self.agent.name
        if self.seen[name] < WRITES:
            seen = self.seen.tick(name)
            await self.become(seen, {**self.doc, f"{name} {seen[name]}": "written"})

    async def become(self, seen: VectorClock, doc: dict[str, str]) -> None:
        await self.keep((seen, doc))
        self.seen, self.doc = seen, doc
        self.observe()

    async def tell(self, beat: int) -> None:
        await self.agent.broadcast((self.seen, self.doc))

    async def take(self, message: Message) -> None:
        theirs, doc = message.payload
        if not theirs <= self.seen:
            self.agent.observe("joined", way="full", start={}, end=theirs, seen=self.seen)
            await self.apply(theirs, doc)

    async def apply(self, theirs: VectorClock, doc: dict[str, str]) -> None:
        await self.become(self.seen | theirs, {**self.doc, **doc})


class AppliesByParts(Documents):
    """Takes in an incoming document author by author, for everybody to see."""

    async def apply(self, theirs: VectorClock, doc: dict[str, str]) -> None:
        for author, number in theirs.items():
            part = {key: text for key, text in doc.items() if key.startswith(author)}
            await self.become(self.seen | VectorClock({author: number}), {**self.doc, **part})


class KeepsByParts(Documents):
    """Makes an incoming document durable author by author: a crash leaves half of it."""

    async def apply(self, theirs: VectorClock, doc: dict[str, str]) -> None:
        seen, known = self.seen, self.doc
        for author, number in theirs.items():
            seen |= VectorClock({author: number})
            known = {**known, **{key: text for key, text in doc.items() if key.startswith(author)}}
            await self.keep((seen, known))
            await asyncio.sleep(0.1)
        self.seen, self.doc = seen, known
        self.observe()


# -- delta: what lies between two clocks ------------------------------------------------------------------------------


class Differences(Documents):
    """Sends what came since the last acknowledgement, and takes what it can join."""

    def come_back(self, kept: Any) -> None:
        super().come_back(kept)
        self.acked = dict.fromkeys(self.peers, VectorClock())

    async def write(self) -> None:
        if self.seen[self.agent.name] < WRITES:
            await super().write()
            self.agent.observe("told", to=self.peers, upto=self.seen)

    async def tell(self, beat: int) -> None:
        for peer in self.peers:
            await self.send(peer, self.acked[peer])

    async def send(self, peer: str, start: VectorClock) -> None:
        if not self.seen <= start:
            fresh = {key: text for key, text in self.doc.items() if not start.covers(*_author(key))}
            await self.agent.send(peer, (start, self.seen, fresh), type="delta")

    async def take(self, message: Message) -> None:
        peer = message.sender
        if message.type == "ack":
            self.acknowledge(peer, message.payload)
            return
        start, end, fresh = message.payload
        if self.fits(start) and not end <= self.seen:
            self.agent.observe("joined", way="delta", start=start, end=end, seen=self.seen)
            await self.become(self.seen | end, {**self.doc, **fresh})
        await self.agent.send(peer, self.seen, type="ack")

    def acknowledge(self, peer: str, upto: VectorClock) -> None:
        self.acked[peer] |= upto
        self.agent.observe("acked", by=peer, upto=self.acked[peer])

    def fits(self, start: VectorClock) -> bool:
        return start <= self.seen


def _author(key: str) -> tuple[str, int]:
    author, number = key.split()
    return author, int(number)


class JoinsWhateverComes(Differences):
    """Hopes that what it told last has come, and joins a difference whatever it begins with."""

    sent: dict[str, VectorClock]

    def come_back(self, kept: Any) -> None:
        super().come_back(kept)
        self.sent = {}

    async def send(self, peer: str, start: VectorClock) -> None:
        await super().send(peer, self.sent.get(peer, start))
        self.sent[peer] = self.seen

    def fits(self, start: VectorClock) -> bool:
        return True


class SentIsAcked(Differences):
    """Takes what it has sent for acknowledged."""

    async def send(self, peer: str, start: VectorClock) -> None:
        await super().send(peer, start)
        self.acknowledge(peer, self.seen)


class SentOnce(Differences):
    """The same, and does not even say so: it tells everything once."""

    async def send(self, peer: str, start: VectorClock) -> None:
        await super().send(peer, start)
        self.acked[peer] |= self.seen


# -- event: logs ------------------------------------------------------------------------------------------------------


class Logs(Member):
    """Each agent adds amounts; everybody keeps the log of everybody, folded now and then into a snapshot."""

    def come_back(self, kept: Any) -> None:
        self.ends, self.snapshot, self.tail = kept[0] if kept else ({}, 0, [])
        self.total = self.fold()
        self.agent.expose(lambda: self.total)
        self.agent.observe("logged", upto=dict(self.ends))
        self.agent.observe("folded", seen=dict(self.ends), state=self.fold())
        self.agent.observe("replica", seen=dict(self.ends), state=self.total)

    def fold(self) -> int:
        return self.snapshot + sum(self.tail)

    async def write(self) -> None:
        name = self.agent.name
        if self.ends.get(name, 0) < WRITES:
            await self.append([(name, self.ends.get(name, 0) + 1)])

    async def append(self, events: list[tuple[str, int]]) -> None:
        for author, number in events:
            self.ends = {**self.ends, author: number}
            self.tail = [*self.tail, number]
            self.total += number
        folds = len(self.tail) > 3
        if folds:
            self.snapshot, self.tail = self.fold(), self.after_folding()
        await self.keep((self.ends, self.snapshot, self.tail))
        self.agent.observe("logged", events=events)
        if folds:
            self.agent.observe("folded", seen=dict(self.ends), state=self.fold())
        self.agent.observe("replica", seen=dict(self.ends), state=self.total)

    def after_folding(self) -> list[int]:
        return []

    async def tell(self, beat: int) -> None:
        await self.agent.broadcast(self.offer())

    def offer(self) -> list[tuple[str, int]]:
        return [
            (author, number) for author in sorted(self.ends) for number in range(1, self.ends[author] + 1)
        ]

    async def take(self, message: Message) -> None:
        fresh, ends = [], dict(self.ends)
        for author, number in message.payload:
            if self.is_next(number, ends.get(author, 0)):
                fresh.append((author, number))
                ends[author] = number
        if fresh:
            await self.append(fresh)

    def is_next(self, number: int, end: int) -> bool:
        return number == end + 1


class TakesTwice(Logs):
    """Takes an event again that it has."""

    def is_next(self, number: int, end: int) -> bool:
        return 0 < number <= end + 1


class LeavesGaps(Logs):
    """Tells the newest event of each author, and takes whatever is newer than what it has."""

    def offer(self) -> list[tuple[str, int]]:
        return [(author, self.ends[author]) for author in sorted(self.ends)]

    def is_next(self, number: int, end: int) -> bool:
        return number > end


class FoldsTwice(Logs):
    """Leaves the newest event among those after the snapshot that contains it."""

    def after_folding(self) -> list[int]:
        return self.tail[-1:]


# -- crdt: joins ------------------------------------------------------------------------------------------------------


class Counts:
    """A counter that only grows, by agent."""

    def __init__(self, by_agent: dict[str, int]) -> None:
        self.by_agent = by_agent

    def merge(self, other: Counts) -> Counts:
        names = sorted({*self.by_agent, *other.by_agent})
        return Counts({name: max(self.by_agent.get(name, 0), other.by_agent.get(name, 0)) for name in names})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.by_agent == other.by_agent

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.by_agent.items())))

    def __repr__(self) -> str:
        return f"Counts({self.by_agent})"

    def __canonical__(self) -> Any:
        return self.by_agent


class Counters(Member):
    """Counts, and sends its counter."""

    def come_back(self, kept: Any) -> None:
        self.counts = kept[0] if kept else Counts({})
        self.agent.expose(lambda: self.counts.by_agent)
        self.observe()

    def observe(self) -> None:
        self.agent.observe("replica", seen=dict(self.counts.by_agent), state=self.counts)

    async def become(self, counts: Counts) -> None:
        await self.keep(counts)
        self.counts = counts
        self.observe()

    async def write(self) -> None:
        name, counted = self.agent.name, self.counts.by_agent
        if counted.get(name, 0) < WRITES:
            await self.become(Counts({**counted, name: counted.get(name, 0) + 1}))

    async def tell(self, beat: int) -> None:
        await self.agent.broadcast(self.counts.by_agent)

    async def take(self, message: Message) -> None:
        await self.become(self.joined(Counts(message.payload)))

    def joined(self, theirs: Counts) -> Counts:
        return self.counts.merge(theirs)


class TakesOver(Counters):
    """Takes over what it is sent: an older counter that comes late takes something back."""

    def joined(self, theirs: Counts) -> Counts:
        return Counts({**self.counts.by_agent, **theirs.by_agent})


# -- vector-clock: siblings -------------------------------------------------------------------------------------------


class Registers(Member):
    """One register; whoever writes overwrites what it has seen, and what was written meanwhile stands beside it."""

    def come_back(self, kept: Any) -> None:
        self.clock, self.siblings = kept[0] if kept else (VectorClock(), {})
        self.agent.expose(lambda: sorted(self.siblings))
        self.agent.observe("replica", seen=self.clock, state=sorted(self.siblings))

    async def write(self) -> None:
        name = self.agent.name
        if self.clock[name] < WRITES:
            clock = self.written()
            id = f"{name} {clock[name]}"
            await self.keep((clock, {id: clock}))
            self.agent.observe("write", id=id, path="register", clock=clock, seen=sorted(self.siblings))
            self.stand(clock, {id: clock})

    def written(self) -> VectorClock:
        return self.clock.tick(self.agent.name)

    def stand(self, clock: VectorClock, siblings: dict[str, VectorClock]) -> None:
        self.clock, self.siblings = clock, siblings
        seen = [f"{author} {number + 1}" for author, last in clock.items() for number in range(last)]
        self.agent.observe("siblings", path="register", writes=sorted(siblings), seen=seen)
        self.agent.observe("replica", seen=clock, state=sorted(siblings))

    async def tell(self, beat: int) -> None:
        await self.agent.broadcast((self.clock, self.siblings))

    async def take(self, message: Message) -> None:
        theirs, others = message.payload
        if theirs <= self.clock:
            return
        clock, siblings = self.clock | theirs, self.merged(theirs, others)
        self.agent.observe("joined", way="vector-clock", start={}, end=theirs, seen=self.clock)
        await self.keep((clock, siblings))
        self.stand(clock, siblings)

    def merged(self, theirs: VectorClock, others: dict[str, VectorClock]) -> dict[str, VectorClock]:
        mine = {id: at for id, at in self.siblings.items() if id in others or not theirs.covers(*_author(id))}
        fresh = {
            id: at for id, at in others.items() if id in self.siblings or not self.clock.covers(*_author(id))
        }
        return {**mine, **fresh}


class KeepsOverwritten(Registers):
    """Puts together what either has, and drops nothing that was overwritten."""

    def merged(self, theirs: VectorClock, others: dict[str, VectorClock]) -> dict[str, VectorClock]:
        return {**self.siblings, **others}


class LongestClockWins(Registers):
    """Compares clocks by how much they count, and keeps the greatest alone."""

    def merged(self, theirs: VectorClock, others: dict[str, VectorClock]) -> dict[str, VectorClock]:
        both = super().merged(theirs, others)
        longest = max(both, key=lambda id: (both[id].total(), id))
        return {longest: both[longest]}


class WritesBlindly(Registers):
    """Counts its own writes alone in the clock of a write: it seems to know nothing of those of others."""

    def written(self) -> VectorClock:
        name = self.agent.name
        return VectorClock({name: self.clock[name] + 1})


# -- clocks -----------------------------------------------------------------------------------------------------------


class Ticking(Member):
    """Carries a vector clock on every message."""

    def come_back(self, kept: Any) -> None:
        self.clock = kept[0] if kept else VectorClock()

    async def event(self, clock: VectorClock) -> None:
        await self.keep(clock)
        self.clock = clock
        self.agent.observe("clock", clock=clock)

    async def write(self) -> None:
        await self.event(self.clock.tick(self.agent.name))

    async def tell(self, beat: int) -> None:
        await self.agent.send(self.peers[beat % len(self.peers)], self.clock)

    async def take(self, message: Message) -> None:
        await self.event(self.merged(message.payload).tick(self.agent.name))

    def merged(self, theirs: VectorClock) -> VectorClock:
        return self.clock | theirs


class TicksOnly(Ticking):
    """Does not merge the clock of a message."""

    def merged(self, theirs: VectorClock) -> VectorClock:
        return self.clock


class KnowsTooMuch(Ticking):
    """Counts for the sender one event more than it has told: as if it had seen what comes next."""

    def merged(self, theirs: VectorClock) -> VectorClock:
        greatest = max(theirs, key=lambda name: theirs[name])
        return self.clock | theirs.tick(greatest)


class StartsAnew(Ticking):
    """Forgets its clock in a crash."""

    def come_back(self, kept: Any) -> None:
        self.clock = VectorClock()


class Stamping(Member):
    """Carries a hybrid clock on every message, and refuses what is more than half a second ahead."""

    most = NS // 2

    def come_back(self, kept: Any) -> None:
        self.clock = kept[0] if kept else HybridClock()

    def physical(self) -> int:
        return round(self.agent.now() * NS)

    async def event(self, clock: HybridClock, physical: int) -> None:
        await self.keep(clock)
        self.clock = clock
        self.agent.observe("hybrid", l=clock.l_ns, c=clock.c, physical=physical, max_skew=NS)

    async def write(self) -> None:
        physical = self.physical()
        await self.event(self.clock.tick(physical), physical)

    async def tell(self, beat: int) -> None:
        await self.agent.send(self.peers[beat % len(self.peers)], self.clock)

    async def take(self, message: Message) -> None:
        physical = self.physical()
        try:
            clock = self.received(message.payload, physical)
        except ClockDriftError:
            self.agent.observe("disregard")
            return
        await self.event(clock, physical)

    def received(self, theirs: HybridClock, physical: int) -> HybridClock:
        return self.clock.receive(theirs, physical, max_drift_ns=self.most)


class HearsNoStamps(Stamping):
    """Does not look at the clock of a message."""

    def received(self, theirs: HybridClock, physical: int) -> HybridClock:
        return self.clock.tick(physical)


class BelievesAnyClock(Stamping):
    """Takes every stamp, however far ahead."""

    def received(self, theirs: HybridClock, physical: int) -> HybridClock:
        return self.clock.receive(theirs, physical)


CORRECT: tuple[type[Member], ...] = (Documents, Differences, Logs, Counters, Registers, Ticking, Stamping)
"""Without a bug, a way of synchronising or a kind of clock each."""

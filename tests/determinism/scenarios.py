"""Twenty-odd runs as different as can be, and the digests of their traces.

The digests are kept in ``digests.json``. Every Python, hash seed, process and worker must come to the same ones, so that
comparing with the file compares all of them with each other. To accept a change that was meant, and read::

    python -m tests.determinism.scenarios --write

Without ``--write`` the digests are printed as JSON.
"""

import asyncio
import datetime
import json
import os
import random
import secrets
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_convergence._engine.base.effects import Effect, Observe, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError, DeadlockError
from tests.determinism import hosts as _hosts  # noqa: F401 - enters its scenarios
from tests.determinism.catalogue import DIGESTS, FAULTS, SCENARIOS, digest_of, run, scenario
from tests.determinism.programs import alone

__all__ = ["DIGESTS", "SCENARIOS", "digest_of"]


# -- patterns ----------------------------------------------------------------------------------------------------------

PROPOSALS = {f"agent-{number}": "AB"[number % 2] for number in range(1, 6)}


@scenario
def consensus_by_voting_on_a_lossy_network() -> Outcome:
    return run(pattern="consensus", agents=5, network="lossy", seed=11, inputs={"proposals": PROPOSALS})


@scenario
def consensus_by_paxos_under_every_fault() -> Outcome:
    return run(
        pattern=Consensus(algorithm="paxos"),
        agents=5,
        network="flaky",
        faults=FAULTS,
        seed=12,
        inputs={"proposals": PROPOSALS},
    )


@scenario
def raft_loses_its_leader_to_a_partition() -> Outcome:
    async def drive(session: Session) -> str:
        first = await session.wait_for_leader()
        with session.network.partition([first]):
            second = await session.wait_for_leader(other_than=first, timeout=30)
        return second.name

    return run(drive, pattern="leader-follower", agents=5)


@scenario
def raft_under_every_fault() -> Outcome:
    async def drive(session: Session) -> None:
        for _ in range(4):
            leader = await session.wait_for_leader()
            await session.sleep(2)
            if leader.is_alive:
                leader.crash()
                await session.sleep(1)
                leader.restart()

    return run(drive, pattern="leader-follower", agents=5, network="wan", faults=FAULTS, seed=14)


@scenario
def bullies_on_a_wan() -> Outcome:
    return run(pattern=LeaderFollower(algorithm="bully"), agents=4, network="wan", seed=15)


@scenario
def a_replicated_log_under_every_fault() -> Outcome:
    async def drive(session: Session) -> object:
        for number in range(4):
            await session.log.propose(number)
        return await session.log.read()

    pattern = LeaderFollower(replicate=True, lease=True)
    return run(drive, pattern=pattern, agents=5, network="lossy", faults=FAULTS, seed=17)


@scenario
def two_phase_commit_under_every_fault() -> Outcome:
    votes = dict.fromkeys(PROPOSALS, "yes")
    pattern = Consensus(algorithm="two-phase-commit")
    return run(
        pattern=pattern, agents=5, network="flaky", faults=FAULTS, seed=18, inputs={"proposals": votes}
    )


# -- messages ----------------------------------------------------------------------------------------------------------


async def _gossip(agent: SimulatedAgent) -> int:
    heard = 0
    for round_ in range(20):
        await agent.send(
            agent.random.choice(agent.peers), {"round": round_, "from": agent.name, "tags": {"x", "y"}}
        )
        try:
            while True:
                await agent.receive(timeout=agent.random.random())
                heard += 1
        except TimeoutError:
            pass
    return heard


@scenario
def gossip_in_chaos() -> Outcome:
    return run(agents=dict.fromkeys("abcdef", _gossip), network="chaos", faults=["skew", "pause"], seed=16)


@scenario
def gossip_under_a_tape() -> Outcome:
    tape = bytes(number * number % 251 for number in range(512))
    schedule = Schedule.from_tape(tape, seed=3, faults=("loss", "crash", "partition"))
    return run(agents=dict.fromkeys("abc", _gossip), network="lossy", schedule=schedule)


@scenario
def gossip_under_listed_deviations() -> Outcome:
    deviations = {
        "deliver a→b #2": 1,
        "deliver b→a #1": 40_000_002,
        "stall c #5": 7,
        "pause a #9": 500_000,
        "skew b #1": 600,
    }
    schedule = Schedule.of(deviations, seed=4)
    return run(
        agents=dict.fromkeys("abc", _gossip), network="lossy", faults=["pause", "skew"], schedule=schedule
    )


@scenario
def requests_and_replies() -> Outcome:
    async def server(agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            await asyncio.sleep(message.payload % 5)
            await agent.reply(message, message.payload * 2)

    async def client(agent: SimulatedAgent) -> list[Any]:
        answers: list[Any] = []
        for number in range(10):
            try:
                answers.append(await agent.request("server", number, timeout=3))
            except TimeoutError as error:
                answers.append(str(error))
        return answers

    return run(agents={"server": server, "one": client, "two": client}, network="lossy", seed=17)


@scenario
def rules_of_the_network() -> Outcome:
    async def drive(session: Session) -> list[Any]:
        a, b, c = session.agents.values()
        net = session.network
        with net.drop(odds=0.5), net.delay(0.3, source=a, target=b), net.duplicate(source=c, copies=2):
            for number in range(20):
                await a.send("b", number)
                await c.send("b", number)
        with net.hold(target=c):
            for number in range(5):
                await a.send("c", number)
            await session.sleep(1)
        with net.one_way_partition([b]), net.partition([a], [c]):
            await b.send("a", "cut")
            await a.send("b", "open")
            await session.sleep(1)
        received = []
        for agent in (b, c):
            try:
                while True:
                    received.append((await agent.receive(timeout=2)).payload)
            except TimeoutError:
                pass
        return received

    return run(drive, agents=["a", "b", "c"], network="wan", seed=18)


# -- state and storage -------------------------------------------------------------------------------------------------


@scenario
def replicas_meet_after_a_partition() -> Outcome:
    async def drive(session: Session) -> None:
        a, b, c = session.agents.values()
        with session.network.partition([a], [b, c]):
            for agent in (a, b, c):
                agent.state.set("plan.title", f"from {agent.name}")
                agent.state.increment("count")
                agent.state.append("log", agent.name)
            await session.sleep(5)
        c.state.delete("plan")

    return run(drive, agents=["a", "b", "c"], network="lossy", seed=19)


@scenario
def storage_is_lost_and_torn() -> Outcome:
    async def writes(agent: SimulatedAgent) -> None:
        agent.observe("found", lives=agent.storage.get("lives", 0), text=agent.storage.get("text", ""))
        agent.storage.put("lives", agent.storage.get("lives", 0) + 1)
        await agent.storage.sync()
        for number in range(6):
            agent.storage.put("text", f"{agent.name} wrote {number}")
            agent.storage.put(f"key {number}", list(range(number)))
            await asyncio.sleep(0.1)

    deviations = {
        "crash a #5": 50_000,  # nothing survives
        "crash b #6": 50_000,
        "storage b #1": 4,  # two writes survive
        "crash c #7": 50_000,
        "storage c #1": 9,  # four survive, and half of the next
        "crash d #6": 50_000,
        "storage d #1": 1,
        "crash d #12": 50_000,
        "storage d #2": 3,
    }
    return run(
        agents=dict.fromkeys("abcd", writes), faults=["crash"], schedule=Schedule.of(deviations, seed=20)
    )


# -- the world that a program sees -------------------------------------------------------------------------------------


@scenario
def entropy() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        for _ in range(3):
            agent.observe(
                "entropy",
                random=[random.random(), random.randint(0, 10**9), random.choice("abc"), random.gauss(0, 1)],
                unseeded=random.Random().random(),
                system=random.SystemRandom().random(),
                own=agent.random.random(),
                uuids=[uuid.uuid1(), uuid.uuid4()],
                secret=secrets.token_hex(8),
                bytes=os.urandom(8),
                name=next(tempfile._get_candidate_names()),  # type: ignore[attr-defined]
                process=os.getpid(),
            )
            random.shuffle(shuffled := list(range(10)))
            agent.observe("shuffled", order=shuffled)
            await asyncio.sleep(random.random())

    return run(agents=dict.fromkeys("ab", program), seed=22)


@scenario
def clocks() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        agent.skew_clock(offset=-1.5, drift=0.01 if agent.name == "a" else 0.0)
        for _ in range(5):
            await asyncio.sleep(1.25)
            agent.observe(
                "clocks",
                time=[
                    time.time(),
                    time.time_ns(),
                    time.monotonic(),
                    time.perf_counter_ns(),
                    time.process_time(),
                ],
                now=agent.now(),
                loop=asyncio.get_running_loop().time(),
                utc=datetime.datetime.now(datetime.UTC),
                gmtime=list(time.gmtime()),
            )
            time.sleep(0.1)

    return run(agents=dict.fromkeys("ab", program), seed=23)


@scenario
def polling_the_clock() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        deadline = time.monotonic() + 0.01
        polls = 0
        while time.monotonic() < deadline:
            polls += 1
        agent.observe("polled", polls=polls)

    return alone(program)


# -- machines, failures, long runs -------------------------------------------------------------------------------------


class _Counter:
    """Counts its lives, and chatters by timers."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        self.name = name
        self.others = [other for other in names if other != name]
        self.ticks = 0

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        lives = durable.get("lives", 0) + 1
        return [
            Persist("lives", lives),
            Sync(),
            Observe("life", {"number": lives}),
            SetTimer("tick", 10**8, 10**8),
        ]

    def on_timer(self, name: str) -> Iterable[Effect]:
        self.ticks += 1
        yield Send(self.others[self.ticks % len(self.others)], "tick", {"ticks": self.ticks})
        if self.ticks < 15:
            yield SetTimer("tick", 10**8, 10**8)

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        return [Observe("heard", {"from": sender, **payload})]

    def view(self) -> int:
        return 0


@scenario
def machines_that_crash_and_restart() -> Outcome:
    return run(agents=dict.fromkeys("abcd", _Counter), network="lossy", faults=FAULTS, seed=5)


@scenario
def a_behaviour_that_raises() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        await asyncio.sleep(1)
        agent.observe("values", path=Path("a") / "b", error=KeyError("k"), when=datetime.timedelta(seconds=1))
        raise AgentError("planned", agent=agent.name)

    return run(agents={"program": program, "other": _gossip}, seed=25)


@scenario
def a_deadlock() -> Outcome:
    async def program(agent: SimulatedAgent) -> None:
        await agent.send("b" if agent.name == "a" else "a", "after you")
        await agent.receive()
        await agent.receive()

    session = ConvergenceEngine().create_session("determinism", agents={"a": program, "b": program})
    try:
        session.run()
    except DeadlockError as error:
        outcome: Outcome = error.outcome
        return outcome
    raise AssertionError("no deadlock was found")


@scenario
def a_long_run_with_a_small_window() -> Outcome:
    async def chatter(agent: SimulatedAgent) -> int:
        for number in range(3_000):
            await agent.send(agent.peers[number % len(agent.peers)], [number])
            if number % 3 == 0:
                await asyncio.sleep(0.001)
            if number % 7 == 0:
                await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.0001))
        return len([message async for message in _drain(agent)])

    return run(agents=dict.fromkeys("abcd", chatter), network="lossy", trace=5_000, seed=26)


async def _drain(agent: SimulatedAgent) -> AsyncIterator[Any]:
    while True:
        try:
            yield await agent.receive(timeout=5)
        except TimeoutError:
            return


# -- the file ----------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> None:
    digests = json.dumps({name: digest_of(name) for name in SCENARIOS}, indent=2) + "\n"
    if arguments == ["--write"]:
        DIGESTS.write_text(digests)
    else:
        sys.stdout.write(digests)


if __name__ == "__main__":
    main(sys.argv[1:])

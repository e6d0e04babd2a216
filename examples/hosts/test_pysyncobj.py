"""PySyncObj, as it is: a real Raft, with its threads, its poll() and its pipes. Its leader crashes and comes back.

Each node is a process of its own. Whatever a crash, a reset connection or an unlucky order does: the nodes apply the same
entries in the same order, and an entry that was acknowledged stays.
"""

import socket
import time
from itertools import combinations, count
from pathlib import Path

import pytest

pytest.importorskip("pysyncobj")

from pysyncobj import SyncObj, SyncObjConf, SyncObjException, replicated

from pytest_convergence import Session

# PySyncObj leaves files open that it has read.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAMES = ("a", "b", "c")
LEADER = 2


class Log(SyncObj):
    def __init__(self, own: str, others: list[str], journal: Path) -> None:
        self.entries: list[str] = []
        super().__init__(own, others, SyncObjConf(journalFile=str(journal), connectionTimeout=2.0))

    @replicated
    def append(self, entry: str) -> None:
        self.entries.append(entry)


class Cluster:
    def __init__(self, session: Session, directory: Path) -> None:
        self.logs: dict[str, Log] = {}  # of the processes that run now
        self.acknowledged: list[str] = []
        for name in NAMES:
            session.host(name, self.run, name, directory / name, process=True, serves=True)
        session.always("the logs agree", lambda _: self.agree())

    def run(self, name: str, journal: Path) -> None:
        addresses = {each: f"{socket.gethostbyname(each)}:4321" for each in NAMES}
        log = self.logs[name] = Log(addresses.pop(name), list(addresses.values()), journal)
        try:
            self.append_for_ever(log, f"{name} of {time.time():.1f}")
        finally:
            log._doDestroy()  # it closes the journal; destroy() would ask the thread to, which has ended

    def append_for_ever(self, log: Log, author: str) -> None:
        for number in count():
            try:
                log.append(f"{author}: {number}", sync=True, timeout=2)
            except SyncObjException:  # nobody leads, or the leader is gone: was it appended?
                continue
            self.acknowledged.append(f"{author}: {number}")
            time.sleep(1)

    def agree(self) -> bool:
        logs = [log.entries for log in self.logs.values()]
        return all(one[: len(other)] == other[: len(one)] for one, other in combinations(logs, 2))

    async def leader(self, session: Session) -> str:
        while True:
            for name, log in self.logs.items():
                if log.getStatus()["state"] == LEADER:
                    return name
            await session.sleep(0.5)


@pytest.mark.convergence(schedules=10)
def test_what_was_acknowledged_survives_the_leader(
    convergence_session: Session, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cluster = Cluster(convergence_session, tmp_path_factory.mktemp("journals"))
    early: list[str] = []

    async def scenario(session: Session) -> None:
        while len(cluster.acknowledged) < 3:
            await session.sleep(0.1)
        leader = await cluster.leader(session)
        session.hosts[leader].crash()  # of the process, or of the machine: the schedule chooses
        del cluster.logs[leader]
        early.extend(cluster.acknowledged)
        await cluster.leader(session)  # another one
        await session.sleep(3)
        session.hosts[leader].restart()
        await session.sleep(10)

    convergence_session.run(scenario)
    assert len(cluster.acknowledged) > len(early)
    for log in cluster.logs.values():
        assert set(early) <= set(log.entries)

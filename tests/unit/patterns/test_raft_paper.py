"""The tables of etcd's tests of the Raft paper, and the commitment and quorum tables of etcd and HashiCorp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import Effect, Send
from pytest_convergence._engine.patterns.quorum import (
    EVERYTHING,
    VoteResult,
    committed_index,
    joint_committed_index,
    joint_vote_result,
)
from pytest_convergence._engine.patterns.raft import Role
from pytest_convergence._engine.patterns.raft_log import Entry
from pytest_convergence._engine.patterns.raft_progress import Commitment
from pytest_convergence._engine.patterns.raft_replication import Proposal, RaftReplica, ReplicaRules
from tests.unit.check.trials import TIMING

RULES = ReplicaRules(TIMING, pre_vote=False)
RESULTS = {"VoteWon": VoteResult.WON, "VoteLost": VoteResult.LOST, "VotePending": VoteResult.PENDING}


@pytest.fixture
def tables(vectors: Path) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((vectors / "raft" / "paper_tables.json").read_text())
    return tables


def replica(size: int, *, name: str = "1", term: int = 0, voted_for: str | None = None) -> RaftReplica:
    """Return a follower among agents named 1 to ``size``."""
    machine = RaftReplica(name, [str(number) for number in range(1, size + 1)], RULES)
    durable = {} if term == 0 else {"raft.1": [1, {"term": term, "voted_for": voted_for}, "end"]}
    list(machine.on_start(durable))
    return machine


def with_log(machine: RaftReplica, terms: list[int]) -> RaftReplica:
    """Give a machine a log of entries with these terms."""
    machine.log.write(1, [_entry(index, term) for index, term in enumerate(terms, start=1)])
    return machine


def _entry(index: int, term: int) -> Entry:
    return Entry(term, f"{index}/{term}", f"{index}/{term}")


def terms_of(machine: RaftReplica) -> list[int]:
    return [entry.term for _, entry in machine.log.entries()]


def sent(effects: Any, kind: str) -> list[Any]:
    return [effect.payload for effect in effects if isinstance(effect, Send) and effect.kind == kind]


def elect(machine: RaftReplica) -> list[Effect]:
    """Have a machine win an election."""
    effects = list(machine.on_command("campaign", None))
    for other in machine.others:
        if machine.role is Role.CANDIDATE:
            effects = list(
                machine.on_message(other, "vote_response", {"term": machine.term, "granted": True})
            )
    assert machine.role is Role.LEADER
    return effects


def append(machine: RaftReplica, prev: tuple[int, int], terms: list[int], *, term: int) -> list[Effect]:
    """Have a leader of ``term`` send entries with these terms, to follow the entry at ``prev`` (term, index)."""
    payload = {
        "term": term,
        "prev_term": prev[0],
        "prev_index": prev[1],
        "entries": [tuple(_entry(prev[1] + 1 + place, each)) for place, each in enumerate(terms)],
        "commit": 0,
        "round": 1,
        "beat": 0,
    }
    return list(machine.on_message("2", "append", payload))


# -- elections ---------------------------------------------------------------------------------------------------------


def test_an_election_of_one_round_ends_as_the_votes_say(tables: dict[str, Any]) -> None:
    for case in tables["election_one_round"]["cases"]:
        machine = replica(case["size"])
        list(machine.on_command("campaign", None))
        for voter, granted in case["votes"].items():
            list(machine.on_message(voter, "vote_response", {"term": 1, "granted": granted}))
        assert (machine.role.value, machine.term) == (case["state"], 1), case


def test_an_agent_votes_once_in_a_term(tables: dict[str, Any]) -> None:
    for case in tables["vote_once_per_term"]["cases"]:
        voted_for = None if case["voted_for"] is None else str(case["voted_for"])
        machine = replica(3, term=1, voted_for=voted_for)
        request = {"term": 1, "last_term": 0, "last_index": 0}
        (answer,) = sent(machine.on_message(str(case["candidate"]), "vote_request", request), "vote_response")
        assert answer["granted"] is not case["reject"], case


def test_nobody_votes_for_a_log_that_is_less_up_to_date(tables: dict[str, Any]) -> None:
    for case in tables["election_restriction"]["cases"]:
        machine = with_log(replica(2), case["voter_log_terms"])
        request = {"term": 3, "last_term": case["log_term"], "last_index": case["index"]}
        (answer,) = sent(machine.on_message("2", "vote_request", request), "vote_response")
        assert answer["granted"] is not case["reject"], case


# -- appending ---------------------------------------------------------------------------------------------------------


def test_a_follower_takes_entries_only_after_one_that_it_has(tables: dict[str, Any]) -> None:
    for case in tables["append_check_prev"]["cases"]:
        machine = with_log(replica(3, term=2), [1, 2])
        effects = append(machine, (case["prev_term"], case["prev_index"]), [], term=2)
        (answer,) = sent(effects, "append_response")
        assert answer["matches"] is not case["reject"], case


def test_a_follower_drops_what_conflicts_and_nothing_else(tables: dict[str, Any]) -> None:
    for case in tables["append_entries_conflict"]["cases"]:
        machine = with_log(replica(3, term=2), [1, 2])
        append(machine, (case["prev_term"], case["prev_index"]), case["entry_terms"], term=2)
        assert terms_of(machine) == case["expect_log_terms"], case


def converse(leader: RaftReplica, follower: RaftReplica, effects: list[Effect]) -> int:
    """Let the two talk until they have nothing more to say; return the number of messages."""
    machines = {leader.name: leader, follower.name: follower}
    queue = [(leader.name, effect) for effect in effects]
    count = 0
    while queue:
        sender, effect = queue.pop(0)
        if isinstance(effect, Send) and effect.to in machines:
            count += 1
            assert count < 100, "they never come to an end"
            answer = machines[effect.to].on_message(sender, effect.kind, effect.payload)
            queue += [(effect.to, each) for each in answer]
    return count


def test_every_follower_of_figure_7_comes_to_hold_the_leaders_log(tables: dict[str, Any]) -> None:
    table = tables["figure7_logs"]
    for terms in table["followers"]:
        leader = with_log(replica(3, term=8), table["leader"])
        follower = with_log(replica(3, name="2", term=8), terms)
        messages = converse(leader, follower, elect(leader))
        assert terms_of(leader) == [*table["leader"], 9]
        assert terms_of(follower) == terms_of(leader), terms
        assert messages <= 10, "a leader goes back by whole terms, not entry by entry"


# -- committing --------------------------------------------------------------------------------------------------------


def acknowledge(machine: RaftReplica, follower: str, index: int) -> None:
    answer = {"term": machine.term, "round": 1, "beat": 0, "matches": True, "index": index}
    list(machine.on_message(follower, "append_response", answer))


def test_an_entry_is_committed_once_a_quorum_holds_it(tables: dict[str, Any]) -> None:
    for case in tables["leader_ack_commit"]["cases"]:
        machine = replica(case["size"])
        elect(machine)
        for other in machine.others:
            acknowledge(machine, other, 1)  # the entry that the term begins with
        list(machine.on_command("propose", Proposal("p", "some data")))
        for acceptor in case["acceptors"]:
            acknowledge(machine, str(acceptor), 2)
        assert (machine.commit == 2) is case["committed"], case


def test_a_leader_counts_only_from_its_own_term_on(tables: dict[str, Any]) -> None:
    for case in tables["figure8_commit_rule"]["cases"]:
        machine = with_log(replica(2, term=2), [1, 2])
        elect(machine)
        assert (machine.term, terms_of(machine)) == (3, [1, 2, 3])
        acknowledge(machine, "2", case["acked_index"])
        assert machine.commit == case["commit"], case


def test_commitments_follow_hashicorps_sequences(vectors: Path) -> None:
    path = vectors / "quorum" / "commitment_sequences.json"
    for sequence in json.loads(path.read_text())["sequences"]:
        commitment = Commitment(_voters(sequence["voters"]), sequence["start"])
        for what, *rest in sequence["steps"]:
            if what == "match":
                commitment.match(*rest)
            elif what == "voters":
                commitment.set_members(_voters(rest[0]))
            else:
                assert commitment.index == rest[0], sequence


def _voters(count: int) -> list[str]:
    return [f"s{number}" for number in range(1, count + 1)]


# -- quorums -----------------------------------------------------------------------------------------------------------


def quorum_cases(vectors: Path, name: str) -> Iterator[tuple[dict[str, Any], list[str], list[str] | None]]:
    """Yield the cases of a table of etcd's with their configurations."""
    cases = json.loads((vectors / "quorum" / f"{name}.json").read_text())["cases"]
    assert len(cases) > 10
    for case in cases:
        new = case.get("cfgj")
        old = list(map(str, case.get("cfg", [])))
        yield case, old, None if new is None else [] if new == "zero" else list(map(str, new))


def given(case: dict[str, Any], what: str, members: list[str]) -> dict[str, str]:
    """Return what a case says of its members: the values stand in the order of their numbers, ``_`` for unknown."""
    ids = sorted(set(members), key=int)
    known = zip(ids, case.get(what, []), strict=True)
    return {member: value for member, value in known if value != "_"}


@pytest.mark.parametrize("name", ["majority_commit", "joint_commit"])
def test_committed_indexes_agree_with_etcds_tables(vectors: Path, name: str) -> None:
    for case, old, new in quorum_cases(vectors, name):
        held = {member: int(index) for member, index in given(case, "idx", old + (new or [])).items()}
        index = committed_index(old, held) if new is None else joint_committed_index(old, new, held)
        assert index == (EVERYTHING if case["expect"] == "inf" else case["expect"]), case


def test_joint_votes_agree_with_etcds_table(vectors: Path) -> None:
    for case, old, new in quorum_cases(vectors, "joint_vote"):
        votes = {member: vote == "y" for member, vote in given(case, "votes", old + (new or [])).items()}
        assert joint_vote_result(old, new or [], votes) is RESULTS[case["expect"]], case

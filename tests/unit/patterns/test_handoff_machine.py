"""The hand-off machine, event by event: what it does with answers that are late, repeated, or unwelcome."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelCall,
    Effect,
    Observe,
    Persist,
    Raised,
    Returned,
    Send,
    SetTimer,
)
from pytest_convergence._engine.patterns.handoff import HandoffTiming, Work
from pytest_convergence._engine.patterns.handoff_core import Role
from pytest_convergence._engine.patterns.handoff_machine import HandoffMachine
from pytest_convergence._engine.state.values import checksum_of
from tests.unit.patterns.driver import MS, SECOND
from tests.unit.patterns.test_handoff_under_noise import asked

TIMING = HandoffTiming(250 * MS, 5 * SECOND, 500 * MS)
THREE = ("a", "b", "c")


class Desk:
    """One machine, its clock, its disk, and what came out of it last."""

    def __init__(self, name: str = "a", agents: tuple[str, ...] = THREE, *, takes: Any = ()) -> None:
        self.now = 0
        self.disk: dict[str, Any] = {}
        self.name, self.agents, self.takes = name, agents, takes
        self.effects: list[Effect] = []
        self.restart()

    def restart(self) -> list[Effect]:
        """Begin a life with what is on the disk."""
        self.machine = HandoffMachine(self.name, self.agents, lambda: self.now, TIMING)
        if self.takes:
            self.machine.core.declare(*self.takes)
        return self._keep(self.machine.on_start(dict(self.disk)))

    def hear(self, sender: str, kind: str, **payload: Any) -> list[Effect]:
        """Let a message arrive."""
        return self._keep(self.machine.on_message(sender, kind, payload))

    def ring(self, timer: str, after: int = 0) -> list[Effect]:
        """Let a timer fire, after some time."""
        self.now += after
        return self._keep(self.machine.on_timer(timer))

    def command(self, name: str, argument: Any) -> list[Effect]:
        """Give a command."""
        return self._keep(self.machine.on_command(name, argument))

    def _keep(self, effects: Iterable[Effect]) -> list[Effect]:
        self.effects = list(effects)
        self.disk.update((each.key, each.value) for each in self.effects if isinstance(each, Persist))
        return self.effects

    def sent(self) -> list[tuple[str, str]]:
        """(recipient, kind) of what was sent last."""
        return [(each.to, each.kind) for each in self.effects if isinstance(each, Send)]

    def facts(self) -> list[str]:
        """What was observed last."""
        return [each.fact for each in self.effects if isinstance(each, Observe)]

    def conclusions(self) -> list[tuple[str, str]]:
        """(state, owner) of the hand-offs that ended last."""
        calls = [each for each in self.effects if isinstance(each, Call) and each.function == "concluded"]
        return [(each.arguments[0]["state"], each.arguments[0]["owner"]) for each in calls]

    def role(self, id: str = "w") -> Role:
        """What the agent is to the work."""
        return self.machine.core.entries[id].role


def record(owner: str = "b", number: int = 2, epoch: int = 0, **changes: Any) -> dict[str, Any]:
    """The record of a work on the wire."""
    work = Work(
        id="w",
        task="t",
        state=None,
        checksum=checksum_of(["t", None]),
        version=0,
        epoch=epoch,
        number=number,
        owner=owner,
        path=("a", owner),
        hops=1,
        max_hops=16,
        capabilities=(),
        reason="delegation",
        priority=0,
    )
    return work._replace(**changes).wire()


def promised(to: str = "b", agents: tuple[str, ...] = THREE) -> Desk:
    """A giver whose offer was accepted: it is committed."""
    desk = Desk("a", agents)
    desk.command("hand_off", asked("w", to=to, capabilities=[]))
    desk.hear(to, "handoff_accept", id="w", attempt=1, token=(0, 2))
    assert desk.role() is Role.RELEASED
    return desk


def test_a_giver_releases_the_work_before_it_transfers_it():
    desk = promised()
    kinds = [type(each).__name__ for each in desk.effects]
    assert kinds.index("Sync") < kinds.index("Observe") < kinds.index("Send")
    assert desk.facts() == ["release"]
    assert ("b", "handoff_transfer") in desk.sent()


def test_a_token_that_is_never_taken_gives_the_work_back_under_the_next_one():
    desk = promised()
    desk.hear("b", "handoff_never", id="w", token=(0, 2), why="full")
    assert desk.conclusions() == [("refused", "a")]
    assert desk.facts()[0] == "own"
    assert desk.machine.core.entries["w"].work.token == (0, 3)


def test_the_same_refusal_once_more_changes_nothing():
    desk = promised()
    desk.hear("b", "handoff_never", id="w", token=(0, 2), why="full")
    assert desk.hear("b", "handoff_never", id="w", token=(0, 2), why="full") == []


def test_after_a_refused_transfer_the_next_candidate_is_asked():
    desk = Desk()
    desk.command("hand_off", asked("w"))
    for agent in "bc":
        standing = {
            "agent": agent,
            "capabilities": ["work"],
            "load": 0,
            "capacity": None,
            "priority": 0,
            "declared": True,
        }
        desk.hear(agent, "handoff_standing", id="w", standing=standing)
    assert desk.sent() == [("b", "handoff_request")]
    desk.hear("b", "handoff_accept", id="w", attempt=1, token=(0, 2))
    desk.hear("b", "handoff_never", id="w", token=(0, 2), why="full")
    assert ("b", "handoff_query") in desk.sent()  # loads have changed: everybody is asked again


def test_what_guardians_have_a_copy_of_is_not_taken_back():
    desk = promised()
    for _ in range(2):
        desk.ring("give w", SECOND)
    assert ("c", "handoff_copy") in desk.sent()
    assert desk.hear("b", "handoff_never", id="w", token=(0, 2), why="full") == []
    assert desk.role() is Role.RELEASED


def test_a_caller_hears_at_the_deadline_that_the_work_is_promised():
    desk = promised()
    desk.ring("give w", 61 * SECOND)
    assert desk.conclusions() == [("accepted", "b")]
    timers = [each for each in desk.effects if isinstance(each, SetTimer)]
    assert timers[0].background  # the transfer goes on as upkeep
    desk.hear("b", "handoff_owned", id="w", token=(0, 2))
    assert "handoff_completed" in desk.facts()


def test_a_late_confirmation_does_not_touch_a_work_that_was_acquired_again():
    desk = promised()
    desk.hear("b", "handoff_owned", id="w", token=(0, 2))
    back = record("a", 3, path=("a", "b", "a"), hops=2)
    desk.hear("b", "handoff_transfer", id="w", work=back)
    assert desk.role() is Role.OWNER
    assert desk.hear("b", "handoff_owned", id="w", token=(0, 2)) == []
    assert desk.role() is Role.OWNER


def test_a_giver_that_crashed_after_its_promise_keeps_it():
    desk = promised()
    desk.restart()
    assert desk.role() is Role.RELEASED
    assert ("b", "handoff_transfer") in desk.sent()


def test_a_giver_that_remembers_its_promise_and_not_what_it_was_asked_keeps_it_too():
    desk = promised()
    for record_of_life in desk.disk.values():
        record_of_life[1]["plan"] = None
    desk.restart()
    assert ("b", "handoff_transfer") in desk.sent()
    desk.hear("b", "handoff_owned", id="w", token=(0, 2))
    assert desk.role() is Role.GUARDIAN


def test_an_acceptance_of_an_earlier_offer_is_declined():
    desk = Desk()
    desk.command("hand_off", asked("w", to="b", capabilities=[]))
    desk.hear("b", "handoff_accept", id="w", attempt=7, token=(0, 2))
    assert desk.sent() == [("b", "handoff_withdraw")]
    desk.hear("c", "handoff_accept", id="other", attempt=1, token=(0, 2))
    assert desk.sent() == [("c", "handoff_withdraw")]


def test_a_repeated_acceptance_is_no_news():
    desk = promised()
    assert desk.hear("b", "handoff_accept", id="w", attempt=1, token=(0, 2)) == []


@pytest.mark.parametrize("kind", ["handoff_reject", "handoff_standing"])
def test_answers_that_nobody_waits_for_are_ignored(kind):
    desk = Desk()
    assert desk.hear("b", kind, id="w", attempt=1, token=(0, 1), why="full") == []


def test_a_refusal_of_an_earlier_offer_is_ignored():
    desk = Desk()
    desk.command("hand_off", asked("w", to="b", capabilities=[]))
    assert desk.hear("b", "handoff_reject", id="w", attempt=9, token=(0, 2), why="full") == []


# -- the taker ---------------------------------------------------------------------------------------------------------


def taker() -> Desk:
    """An agent that has taken the work."""
    desk = Desk("b", takes=([], None, 0))
    desk.hear("a", "handoff_transfer", id="w", work=record())
    return desk


def test_a_transfer_is_taken_once_and_confirmed_each_time():
    desk = taker()
    assert desk.facts() == ["taken"]
    assert ("a", "handoff_owned") in desk.sent()
    desk.hear("a", "handoff_transfer", id="w", work=record())
    assert desk.facts() == []
    assert desk.sent() == [("a", "handoff_owned")]


def test_a_transfer_whose_state_was_cut_off_is_never_taken():
    desk = Desk("b")
    broken = record(state=["half"])
    for _ in range(2):
        desk.hear("a", "handoff_transfer", id="w", work=broken)
        assert desk.sent() == [("a", "handoff_never")]
    desk.restart()
    desk.hear("a", "handoff_transfer", id="w", work=record())  # whole this time, but that token was refused
    assert desk.sent() == [("a", "handoff_never")]


def test_work_begins_with_the_first_lease_and_not_before():
    desk = taker()
    assert not desk.machine.may_act("w")
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    assert "own" in desk.facts()
    assert [each.function for each in desk.effects if isinstance(each, Call)] == ["work"]
    assert desk.machine.may_act("w")
    assert desk.machine.token_of("w") == (0, 2)


def test_a_round_that_is_granted_too_late_gives_no_lease():
    desk = taker()
    desk.now += 6 * SECOND
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    assert not desk.machine.may_act("w")


def test_a_lease_that_runs_out_suspends_the_owner():
    desk = taker()
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    desk.ring("lapse w", 5 * SECOND)
    assert desk.facts() == ["suspend"]
    assert not desk.machine.may_act("w")
    assert desk.ring("lapse w") == []


def test_an_owner_that_granted_the_work_to_another_asks_for_no_lease():
    desk = taker()
    desk.now += 6 * SECOND
    desk.hear("c", "handoff_claim", id="w", epoch=1)
    assert desk.sent() == [("c", "handoff_grant")]
    assert desk.ring("renew w") == []
    assert desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1) == []


def test_an_owner_yields_to_a_later_one():
    desk = taker()
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    desk.hear("c", "handoff_nack", id="w", granted=1, work=record("c", 3, 1))
    assert desk.role() is Role.GUARDIAN
    assert "release" in desk.facts()
    assert any(isinstance(each, CancelCall) for each in desk.effects)


def test_a_guardian_that_granted_more_and_knows_no_later_owner_changes_nothing():
    desk = taker()
    assert desk.hear("c", "handoff_nack", id="w", granted=1, work=None) == []
    assert desk.hear("c", "handoff_nack", id="w", granted=1, work=record()) == []


def test_a_guardian_without_the_record_gets_it_with_the_next_round():
    desk = taker()
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    desk.ring("renew w", SECOND)
    lease = next(each for each in desk.effects if isinstance(each, Send) and each.to == "c")
    assert lease.payload["work"] is None
    desk.hear("c", "handoff_missing", id="w")
    desk.ring("renew w", SECOND)
    lease = next(each for each in desk.effects if isinstance(each, Send) and each.to == "c")
    assert lease.payload["work"] is not None


def test_a_result_counts_when_a_majority_of_the_guardians_has_it():
    desk = taker()
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    desk.command(RETURNED, Returned("work w", "result"))
    assert desk.role() is Role.FINISHING
    assert desk.machine.result_of("w") is None
    desk.hear("c", "handoff_done_ack", id="w", token=(0, 2), final=False)
    assert desk.facts() == ["finished"]
    assert desk.machine.result_of("w") == ("result",)


def test_a_result_waits_for_the_lease():
    desk = taker()
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=1)
    desk.ring("lapse w", 5 * SECOND)
    assert desk.command("finish", {"id": "w", "token": None, "value": "result"}) == []
    desk.hear("c", "handoff_lease_ack", id="w", rank=(0, 2, 0), round=2)
    assert desk.role() is Role.FINISHING


def test_what_other_calls_returned_or_raised_concerns_no_work():
    desk = taker()
    assert desk.command(RETURNED, Returned("concluded w", None)) == []
    assert desk.command(RAISED, Raised("work w", ValueError("x"))) == []
    assert desk.command("save", {"id": "w", "token": (0, 1), "state": 1}) == []


def test_an_agent_that_cannot_do_what_it_recovered_looks_for_one_that_can():
    desk = Desk("c")
    desk.hear("b", "handoff_lease", id="w", rank=(0, 2, 0), round=1, work=record(capabilities=("paint",)))
    for _ in range(20):
        desk.ring("watch w", SECOND)
    assert ("a", "handoff_claim") in desk.sent()
    desk.hear("a", "handoff_grant", id="w", epoch=1, work=record(capabilities=("paint",)), result=None)
    assert "taken" in desk.facts()
    desk.hear("a", "handoff_lease_ack", id="w", rank=(1, 3, 0), round=1)
    assert "own" not in desk.facts()
    assert ("b", "handoff_query") in desk.sent()
    desk.machine.core.declare(["paint"], None, 0)  # and does it itself as soon as it can
    desk.ring("give w", SECOND)
    assert "own" in desk.facts()


def test_a_result_that_some_guardian_has_is_not_worked_out_again():
    desk = Desk("c", takes=([], None, 0))
    desk.hear("b", "handoff_lease", id="w", rank=(0, 2, 0), round=1, work=record())
    for _ in range(20):
        desk.ring("watch w", SECOND)
    desk.hear("a", "handoff_grant", id="w", epoch=1, work=record(), result=["result"])
    assert desk.role() is Role.FINISHING
    assert desk.machine.core.entries["w"].value == "result"


def test_a_claim_for_an_epoch_that_is_taken_names_the_next_one():
    desk = Desk("c", takes=([], None, 0))
    desk.hear("b", "handoff_lease", id="w", rank=(0, 2, 0), round=1, work=record())
    for _ in range(20):
        desk.ring("watch w", SECOND)
    desk.hear("a", "handoff_deny", id="w", granted=4)
    desk.ring("watch w", SECOND)
    claims = [each.payload["epoch"] for each in desk.effects if isinstance(each, Send)]
    assert set(claims) == {5}
    assert desk.hear("a", "handoff_deny", id="w", granted=2) == []


def test_a_guardian_grants_no_claim_while_its_lease_lasts():
    desk = Desk("c")
    desk.hear("b", "handoff_lease", id="w", rank=(0, 2, 0), round=1, work=record())
    desk.hear("a", "handoff_claim", id="w", epoch=1)
    assert desk.sent() == [("a", "handoff_deny")]
    desk.restart()  # what it promised before is not known: the whole time passes again
    desk.now += 3 * SECOND
    desk.hear("a", "handoff_claim", id="w", epoch=1)
    assert desk.sent() == [("a", "handoff_deny")]
    desk.now += 3 * SECOND
    desk.hear("a", "handoff_claim", id="w", epoch=1)
    assert desk.sent() == [("a", "handoff_grant")]
    desk.hear("b", "handoff_lease", id="w", rank=(0, 2, 0), round=2, work=None)
    assert desk.sent() == [("b", "handoff_nack")]
    desk.hear("b", "handoff_claim", id="w", epoch=1)  # an epoch is granted once
    assert desk.sent() == [("b", "handoff_deny")]


def test_who_knows_that_the_work_is_done_says_so_to_everybody_who_asks():
    desk = Desk("c")
    desk.hear("b", "handoff_done", work=record(), value="result", final=True)
    for kind, payload in (
        ("handoff_lease", {"rank": (0, 2, 0), "round": 1, "work": None}),
        ("handoff_claim", {"epoch": 1}),
        ("handoff_copy", {"work": record()}),
    ):
        desk.hear("a", kind, id="w", **payload)
        assert desk.sent() == [("a", "handoff_done")], kind
    desk.hear("a", "handoff_request", attempt=1, keep_ns=SECOND, work=record("c", 5))
    assert desk.sent() == [("a", "handoff_reject")]


def test_a_copy_of_an_outdated_record_is_answered_by_the_newer_one():
    desk = Desk("c")
    desk.hear("b", "handoff_lease", id="w", rank=(0, 4, 0), round=1, work=record("b", 4))
    desk.hear("a", "handoff_copy", id="w", work=record("b", 2))
    assert desk.sent() == [("a", "handoff_nack")]


def test_room_that_was_kept_is_given_back():
    desk = Desk("b", takes=([], 1, 0))
    desk.hear("a", "handoff_request", id="w", attempt=1, keep_ns=SECOND, work=record())
    assert desk.sent() == [("a", "handoff_accept")]
    assert desk.machine.core.standing().load == 1
    assert desk.hear("a", "handoff_withdraw", id="w", attempt=2) == []
    desk.hear("a", "handoff_withdraw", id="w", attempt=1)
    assert desk.machine.core.standing().load == 0
    desk.hear("a", "handoff_request", id="w", attempt=3, keep_ns=SECOND, work=record())
    desk.ring("keep w", SECOND)
    assert desk.machine.core.standing().load == 0

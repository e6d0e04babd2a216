"""Why a work is handed off decides who may take it, where no taker is named."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_convergence import HandoffReason
from pytest_convergence._engine.patterns.capabilities import Standing
from pytest_convergence._engine.patterns.handoff_reasons import Circumstances, may_wait, suitable
from tests.unit.sim.harness import run_session

NAMES = ("a", "b", "c", "d", "e")


def able(agent: str, load: int = 0, priority: int = 0) -> Standing:
    return Standing(agent, ("work",), load, None, priority, declared=True)


OTHERS = (able("a", 1, 3), able("b", 3, 2), able("d", 0, 0), able("e", 2, 2))
"""Of whom a and e have had the work before c got it."""


@pytest.mark.parametrize(
    ("reason", "asked"),
    [
        ("capability", "daeb"),
        ("load-balancing", "da"),
        ("escalation", "eba"),
        ("failure-recovery", "dbae"),
        ("delegation", "db"),
        ("pipeline-step", "db"),
        ("timeout", "dbae"),
    ],
)
def test_who_may_take_it_and_in_which_order_they_are_asked(reason: str, asked: str) -> None:
    giving = Circumstances(able("c", 2, 1), ("e", "a", "c"), NAMES)
    assert "".join(each.agent for each in suitable(reason, giving, OTHERS)) == asked


def test_every_reason_has_a_behaviour_of_its_own() -> None:
    giving = Circumstances(able("c", 2, 1), ("e", "a", "c"), NAMES)
    behaviours = {
        (
            tuple(each.agent for each in suitable(reason, giving, OTHERS)),
            may_wait(reason),
            reason == "pipeline-step",
        )
        for reason in HandoffReason
    }
    assert len(behaviours) == len(HandoffReason) == 7


def test_a_line_goes_on_behind_the_giver_and_then_from_the_front() -> None:
    giving = Circumstances(able("c"), ("c",), NAMES)
    asked = suitable("pipeline-step", giving, OTHERS)
    assert [each.agent for each in asked] == ["d", "e", "a", "b"]


def test_who_offers_nothing_stands_below_everybody() -> None:
    giving = Circumstances(Standing("c"), ("c",), NAMES)
    for reason in ("escalation", "load-balancing"):
        assert len(suitable(reason, giving, OTHERS)) == 4


# -- in sessions -----------------------------------------------------------------------------------------------------


def chain(*reasons: str, **priorities: int) -> list[tuple[str | None, str]]:
    """Let a start a work, and each owner hand it on for the next reason; return who got it, or why nobody did."""
    told: list[tuple[str | None, str]] = []

    async def worker(agent: Any) -> None:
        agent.offers({"work"}, priority=priorities.get(agent.name, 0))
        async for handoff in agent.handoffs:
            left = handoff.task["left"][handoff.task["at"] :]
            turn = len(handoff.path) - 1
            if turn < len(left):
                on = await handoff.hand_off(capabilities={"work"}, reason=left[turn], timeout=30)
                told.append((on.owner if on.accepted else None, on.why))
                if on.accepted:
                    continue
            handoff.complete("done")

    async def scenario(session: Any) -> None:
        await session.sleep(1)
        first = await session.agents["a"].hand_off({"left": list(reasons), "at": 0}, to="b", timeout=30)
        await first.finished()

    run_session(scenario, agents=dict.fromkeys("abcd", worker))
    return told


def test_what_is_delegated_never_comes_back() -> None:
    told = chain("", "delegation", "delegation", "delegation")
    assert [owner for owner, _ in told] == ["c", "d", None]
    assert told[-1][1] == "everybody who could has had it, and the reason is delegation"


def test_who_escalates_goes_up_step_by_step_until_nobody_stands_above() -> None:
    told = chain("", "escalation", "escalation", "escalation", b=1, d=2, c=5)
    assert [owner for owner, _ in told] == ["d", "c", None]
    assert told[-1][1] == "nobody stands above, and the reason is escalation"


def test_an_idle_agent_has_no_load_to_balance() -> None:
    ((owner, why),) = chain("", "load-balancing")
    assert (owner, why) == (None, "nobody has less to do, and the reason is load-balancing")


def test_a_work_that_took_too_long_waits_for_nobody_and_any_other_does() -> None:
    async def full(agent: Any) -> None:
        agent.offers({"work"}, capacity=1)

        @agent.on_handoff
        async def work(handoff: Any) -> str:
            await agent.session.sleep(10)
            return "done"

        async for _ in agent.inbox:
            pass

    async def giver(agent: Any) -> Any:
        await agent.hand_off("first", capabilities={"work"})
        late = await agent.hand_off("second", capabilities={"work"}, reason="timeout", timeout=60)
        patient = await agent.hand_off("third", capabilities={"work"}, reason="capability", timeout=60)
        return late.accepted, late.why, patient.accepted

    outcome = run_session(agents={"a": giver, "b": full})
    accepted, why, later = outcome.results["a"]
    assert (accepted, later) == (False, True)
    assert why == "nobody has room at once, and the reason is timeout"


def test_an_escalation_needs_no_capabilities() -> None:
    async def scenario(session: Any) -> Any:
        a, b, c = session.agents.values()
        b.offers({"decide"}, priority=2)
        c.offers({"decide"}, priority=1)
        return (await a.hand_off("question", reason="escalation")).owner

    assert run_session(scenario, agents=["a", "b", "c"]).output == "c"

"""What is drawn together shrinks together: schedules with workloads, states, orderings; and each type has its strategy."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st

from pytest_convergence import (
    Delta,
    Fault,
    FaultPlan,
    Goal,
    Message,
    Network,
    Schedule,
    SimulatedAgent,
    VectorClock,
)
from pytest_convergence import strategies as cst
from pytest_convergence._engine.base.clocks import HybridClock, LamportClock
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.session import Session

_FIXED = settings(
    derandomize=True,
    database=None,
    max_examples=1_000,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def minimal(strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool]) -> Any:
    return find(strategy, condition, settings=_FIXED)


def recorded(**options: Any) -> Session:
    session = ConvergenceEngine().create_session("drawn", **options)
    session.is_recorded = True
    return session


def deviations(session: Session) -> list[str]:
    assert session.recorded is not None
    return list(session.recorded.deviations)


# ------------------------------------------------------------------------------------------------------ with a workload


async def counter(agent: SimulatedAgent) -> None:
    total = 0
    async for message in agent.inbox:
        if message.type == "set":
            total = message.payload
        else:
            await agent.reply(message, total)


def adder(amounts: Sequence[int], start: float) -> Callable[[SimulatedAgent], Any]:
    async def add(agent: SimulatedAgent) -> None:
        await agent.session.sleep(start)
        for amount in amounts:
            total = await agent.request("counter", type="get")
            await agent.send("counter", total + amount, type="set")
            await agent.session.sleep(1)

    return add


async def auditor(agent: SimulatedAgent) -> Any:
    await agent.session.sleep(30)
    return await agent.request("counter", type="get")


def race(schedule: Schedule, one: Sequence[int], other: Sequence[int]) -> tuple[Session, int]:
    agents = {"one": adder(one, 0), "other": adder(other, 0.1), "counter": counter, "auditor": auditor}
    session = recorded(agents=agents, network="wan", schedule=schedule)
    return session, session.run().results["auditor"]


def test_a_lost_update_shrinks_to_one_write_of_each_and_to_late_messages_of_the_first() -> None:
    work = st.lists(st.integers(1, 9), max_size=4)
    drawn = st.tuples(cst.schedules(["delay"]), work, work)
    schedule, one, other = minimal(drawn, lambda case: race(*case)[1] != sum(case[1]) + sum(case[2]))
    assert (one, other) == ([1], [1])
    session, total = race(schedule, one, other)
    assert total == 1
    assert 1 <= len(deviations(session)) <= 2
    assert all("one" in label for label in deviations(session))


def test_a_delay_for_each_message_shrinks_to_the_overtakes_that_are_needed() -> None:
    def arrived(schedule: Schedule) -> tuple[Session, list[int]]:
        heard: list[int] = []

        async def speak(agent: SimulatedAgent) -> None:
            number = int(agent.name.removeprefix("mouth-"))
            await agent.session.sleep(0.02 * number)
            await agent.send("ear", number)

        async def listen(agent: SimulatedAgent) -> None:
            async for message in agent.inbox:
                heard.append(message.payload)

        mouths = [f"mouth-{number}" for number in range(1, 6)]
        agents = {**dict.fromkeys(mouths, speak), "ear": listen}
        session = recorded(agents=agents, network="wan", schedule=schedule)
        session.run()
        return session, heard

    def third_is_last_and_first_is_not_first(schedule: Schedule) -> bool:
        heard = arrived(schedule)[1]
        return heard[-1] == 3 and heard[0] != 1

    schedule = minimal(cst.schedules(["delay"]), third_is_last_and_first_is_not_first)
    session, heard = arrived(schedule)
    assert sorted(deviations(session)) == ["deliver mouth-1→ear #1", "deliver mouth-3→ear #1"]
    assert heard == [2, 1, 4, 5, 3]


# ------------------------------------------------------------------------------------- with states, orderings and faults


def test_states_and_a_schedule_shrink_together() -> None:
    def forgets(states: cst.ConflictingStates, schedule: Schedule) -> tuple[Session, bool]:
        told: dict[str, Any] = {}

        async def tell(agent: SimulatedAgent) -> None:
            await agent.send("archive", states[agent.name])

        async def archive(agent: SimulatedAgent) -> None:
            async for message in agent.inbox:
                told[message.sender] = message.payload

        agents = {**dict.fromkeys(states.agents, tell), "archive": archive}
        session = recorded(agents=agents, schedule=schedule)
        session.run()
        return session, any(states[name]["count"] > 3 and name not in told for name in states.agents)

    fields = {"count": st.integers(0, 99), "title": st.text(max_size=3)}
    drawn = st.tuples(cst.conflicting_states(["a", "b"], fields), cst.schedules(["loss", "delay"]))
    states, schedule = minimal(drawn, lambda case: forgets(*case)[1])
    session, _ = forgets(states, schedule)
    lost = deviations(session)
    assert len(lost) == 1
    assert lost[0] in ("deliver a→archive #1", "deliver b→archive #1")
    sender = lost[0].split()[1][0]
    assert states[sender] == {"count": 4, "title": ""}
    assert states.conflicts == ("count",)


def test_an_ordering_and_user_data_shrink_together() -> None:
    sent = [("a", "set"), ("b", "clear"), ("a", "set again")]

    def wrong(case: tuple[tuple[Message, ...], list[int]]) -> bool:
        ordering, numbers = case
        cleared_last = ordering[-1].payload == "clear"
        return cleared_last and sum(numbers) >= 2

    ordering, numbers = minimal(
        st.tuples(cst.message_orderings(sent), st.lists(st.integers(0, 5), max_size=5)), wrong
    )
    assert [message.payload for message in ordering] == ["set", "set again", "clear"]
    assert numbers == [2]


def test_a_plan_of_faults_and_a_workload_shrink_together() -> None:
    def loses(plan: FaultPlan, count: int) -> bool:
        done: list[int] = []

        async def work(agent: SimulatedAgent) -> None:
            for number in range(count):
                if number not in done:
                    await agent.session.sleep(0.1)
                    done.append(number)
            if agent.storage.get("crashed"):
                done.clear()
            agent.storage.put("crashed", True)
            await agent.storage.sync()
            await agent.session.sleep(0.1)

        recorded(agents={"a": work}, schedule=plan).run()
        return count >= 2 and not done

    plan, count = minimal(
        st.tuples(cst.fault_plans(["a"], kinds=["crash"]), st.integers(0, 5)), lambda case: loses(*case)
    )
    assert count == 2
    assert len(plan.faults) == 1
    assert plan.faults[0].kind == "crash"


# ---------------------------------------------------------------------------------------------------- what one field needs


def test_networks_shrink_to_the_condition_that_matters() -> None:
    assert minimal(cst.networks(), lambda network: network.loss > 0.05) == Network(
        latency=(0.0, 0.0), loss=0.051
    )
    assert minimal(cst.networks(), lambda network: network.latency[1] > 0.25).latency == (0.0, 0.255)


def test_goals_shrink_to_the_criterion_that_matters() -> None:
    goal = minimal(cst.goals(), lambda goal: len(goal.success_criteria) >= 1)
    assert len(goal.success_criteria) == 1
    assert (goal.timeout, goal.max_iterations, goal.convergence_threshold) == (None, None, 1.0)
    assert minimal(cst.goals(), lambda goal: goal.timeout is not None).timeout == 1.0


def test_proposals_shrink_to_one_who_disagrees() -> None:
    proposals = minimal(cst.proposals(["a", "b", "c"]), lambda drawn: len(set(drawn.values())) > 1)
    assert sorted(proposals.values()) == ["A", "A", "B"]
    assert minimal(cst.proposals(3, st.integers(0, 9)), lambda drawn: sum(drawn.values()) > 12) is not None


def test_a_plan_of_faults_shrinks_to_the_one_that_matters_early_and_short() -> None:
    plan = minimal(
        cst.fault_plans(["a", "b"]), lambda plan: any(fault.kind == "pause" for fault in plan.faults)
    )
    assert plan == FaultPlan((Fault.pause("a", step=1, seconds=0.001),))


def test_a_history_shrinks_to_the_events_on_the_way_from_one_to_another() -> None:
    def relayed(history: cst.History) -> bool:
        return any(
            history.happened_before(one, other) and {one.agent, other.agent} == {"a", "c"}
            for one in history
            for other in history
        )

    assert len(minimal(cst.histories(["a", "b", "c"]), relayed)) == 2


@pytest.mark.parametrize(
    "kind",
    [
        VectorClock, LamportClock, HybridClock, Message, Schedule, FaultPlan, Network, Goal, Delta, cst.History,
        cst.ConflictingStates,
    ],
)  # fmt: skip
def test_each_type_has_its_strategy(kind: type[Any]) -> None:
    assert isinstance(minimal(st.from_type(kind), lambda drawn: True), kind)

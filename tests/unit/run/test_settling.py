"""When a run has settled, and what the verdict says: quiescence, stable views, convergence and divergence."""

from typing import Any

import pytest

from pytest_convergence import ConvergenceEngine, PropertyViolation
from pytest_convergence._engine.base.effects import Effect, SetTimer
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.sim.conditions import Network
from tests.unit.run.test_failures import Quiet
from tests.unit.sim.harness import make_session, run_session


async def idle(agent: SimulatedAgent) -> None:
    pass


async def listens(agent: SimulatedAgent) -> None:
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


async def waits(agent: SimulatedAgent) -> None:
    await agent.receive()


# -- settling ----------------------------------------------------------------------------------------------------------


def test_settling_waits_for_user_messages_in_flight():
    got: list[Any] = []

    async def keeps(agent: SimulatedAgent) -> None:
        async for message in agent.inbox:
            got.append(message.payload)

    async def scenario(session: Session) -> None:
        await session.agents["b"].send("a", "late")

    outcome = run_session(scenario, agents={"a": keeps, "b": None}, network=Network(latency=30))
    assert got == ["late"]
    assert outcome.converged


def test_settling_waits_until_replicas_have_met():
    async def scenario(session: Session) -> None:
        session.agents["agent-1"].state.set("k", 1)

    outcome = run_session(scenario, agents=3, network="flaky", seed=4)
    assert outcome.converged
    assert outcome.agreement == 1
    assert len({str(view) for view in (outcome.views or {}).values()}) == 1


def test_faults_of_the_schedule_stop_when_the_work_is_done():
    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.agents["agent-1"].state.set("k", 1)

    outcome = run_session(
        scenario, agents=3, network=Network(loss=0.9), faults=["crash", "partition"], seed=5
    )
    assert outcome.converged


def test_a_cut_that_lasts_divides_the_views_and_is_no_divergence():
    async def scenario(session: Session) -> None:
        session.network.partition(["agent-1"])
        session.agents["agent-1"].state.set("k", 1)

    outcome = run_session(scenario, agents=3)
    assert outcome.converged  # those that are connected agree
    assert outcome.agreement == pytest.approx(2 / 3)


def test_replicas_that_cannot_meet_diverge_and_say_where():
    async def scenario(session: Session) -> None:
        session.network.drop(where=lambda message: message.channel == "sync")
        session.agents["agent-1"].state.set("plan.title", "mine")

    outcome = run_session(scenario, agents=2, timeout=30)
    assert not outcome.converged
    assert outcome.state is SessionState.DIVERGED
    assert any("agent-1 and agent-2 expose different views" in reason for reason in outcome.reasons)
    assert "'plan'" in str(outcome)


def test_views_that_never_settle_diverge_when_the_time_is_up():
    class Restless(Quiet):
        count = 0

        def on_start(self, durable: Any) -> list[Effect]:
            return [SetTimer("tick", 10**8, background=True)]

        def on_timer(self, name: str) -> list[Effect]:
            self.count += 1
            return [SetTimer("tick", 10**8, background=True)]

        def view(self) -> int:
            return self.count

    async def scenario(session: Session) -> str:
        return "done"

    outcome = run_session(scenario, agents={"a": Restless}, timeout=20)
    assert outcome.state is SessionState.DIVERGED
    assert outcome.reasons == ("views were still changing, or messages under way, when the time was up",)
    assert outcome.output == "done"


def test_background_work_does_not_keep_a_world_awake():
    class Beats(Quiet):
        def on_start(self, durable: Any) -> list[Effect]:
            return [SetTimer("beat", 10**9, background=True)]

        def on_timer(self, name: str) -> list[Effect]:
            return [SetTimer("beat", 10**9, background=True)]

    outcome = run_session(agents={"a": Beats, "b": idle})
    assert outcome.converged
    assert outcome.duration == 0


def test_an_agreement_on_what_nobody_proposed_is_no_convergence():
    class Invents(Quiet):
        decided = "out of thin air"

        def view(self) -> Any:
            return self

    session = make_session(agents=3, pattern="consensus")
    session.pattern = _Pattern(session.pattern, Invents)
    outcome = session.run(proposals={"agent-1": 1, "agent-2": 1, "agent-3": 1})
    assert outcome.state is SessionState.DIVERGED
    assert "what was agreed, 'out of thin air', is not valid" in str(outcome)


class _Pattern:
    """A pattern with another machine."""

    def __init__(self, inner: Any, machine: Any) -> None:
        self._inner = inner
        self._machine = machine
        self.properties: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def machine(self, name: str, names: tuple[str, ...], inputs: Any) -> Any:
        return self._machine(name, names)

    def output(self, views: Any) -> Any:
        return "out of thin air"


def test_an_agent_that_exposes_nothing_contradicts_nobody():
    class Exposes(Quiet):
        def view(self) -> str:
            return "mine"

    outcome = run_session(agents={"a": Exposes, "b": idle, "c": None})
    assert outcome.converged
    assert outcome.agreement == 1


def test_agents_that_expose_different_views_diverge():
    class Exposes(Quiet):
        def view(self) -> str:
            return self.name[0]

    outcome = run_session(agents={"a1": Exposes, "a2": Exposes, "b": Exposes, "other": idle})
    assert outcome.reasons == ("a1 and b expose different views: 'a' and 'b'",)
    assert outcome.agreement == 3 / 4


def test_a_pattern_without_a_result_diverges():
    outcome = run_session(
        agents=4, pattern="consensus", inputs={"proposals": {f"agent-{n}": n for n in (1, 2, 3, 4)}}
    )
    assert outcome.state is SessionState.DIVERGED
    assert outcome.output is None
    assert "came to no result" in str(outcome)


def test_quiet_disagreement_does_not_run_on_because_of_partitions_to_come():
    outcome = run_session(
        agents=4,
        pattern="consensus",
        faults=["partition"],
        seed=1,
        inputs={"proposals": {f"agent-{n}": n for n in (1, 2, 3, 4)}},
    )
    assert outcome.state is SessionState.DIVERGED
    assert outcome.metrics.virtual_seconds < 1_000


def _poller(*, elects: bool):
    """An agent that looks for a leader every 0.1 s, and elects one, if it does, after a second without."""

    async def agent(self: SimulatedAgent) -> None:
        first = min(self.session.agents)
        if self.name == first:
            self.observe("leader", term=1)
        silent, term = 0, 1
        while True:
            try:
                await self.receive(timeout=0.1)
                silent = 0
            except TimeoutError:
                silent += 1
            if self.name == first:
                await self.broadcast("I lead")
            elif elects and silent == 10:
                first, term = self.name, term + 1
                self.observe("leader", term=term)

    return agent


async def _the_leader_crashes(session: Session) -> None:
    await session.sleep(0.5)
    session.agents["a"].crash()


def test_an_election_may_take_longer_than_agents_poll():
    agents = dict.fromkeys("abc", _poller(elects=False)) | {"b": _poller(elects=True)}
    session = ConvergenceEngine().create_session("test", agents=agents, properties=["eventually_one_leader"])
    assert session.run(_the_leader_crashes).violations == ()


def test_who_never_elects_anybody_is_found_out_in_the_end():
    agents = dict.fromkeys("abc", _poller(elects=False))
    session = ConvergenceEngine().create_session("test", agents=agents, properties=["eventually_one_leader"])
    with pytest.raises(PropertyViolation, match="nobody leads, although b, c"):
        session.run(_the_leader_crashes)

"""``protocol=``: the user's own agents in place of a pattern's reference protocol, judged by the pattern's properties."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pytest_convergence import Decide, LeaderFollower, Observe, Persist, Send, SetTimer, Sync
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError, ConvergenceUsageError, PropertyViolation
from tests.unit.sim.harness import make_session, run_session

THREE = ["a", "b", "c"]
PROPOSALS = {"proposals": {"a": 1, "b": 2, "c": 3}}


# -- coroutines ----------------------------------------------------------------------------------------------------------


def lowest_wins(proposals: Mapping[str, int]) -> Any:
    """A consensus without faults: everybody tells everybody, the smallest proposal is decided."""

    async def member(agent: SimulatedAgent) -> int:
        await agent.broadcast(proposals[agent.name])
        heard = [(await agent.receive()).payload for _ in agent.peers]
        chosen = min([proposals[agent.name], *heard])
        agent.observe("decide", value=chosen)
        return chosen

    return member


def test_a_coroutine_takes_the_place_of_the_protocol_of_all_agents():
    own = lowest_wins(PROPOSALS["proposals"])
    outcome = run_session(agents=THREE, pattern="consensus", protocol=own, inputs=PROPOSALS)
    assert outcome.converged
    assert outcome.output == 1
    assert outcome.results == dict.fromkeys(THREE, 1)
    assert {message.channel for message in outcome.trace.messages} == {"user"}


def test_views_are_read_from_what_the_agents_observed():
    async def member(agent: SimulatedAgent) -> None:
        agent.observe("decide", value="early" if agent.name == "c" else "all")

    outcome = make_session(agents=THREE, pattern="consensus", protocol=member)
    with pytest.raises(PropertyViolation, match="agreement: .*'all'.* and .*'early'"):
        outcome.run(proposals=dict.fromkeys(THREE, "all"))


def test_agents_that_decide_nothing_come_to_no_result():
    async def member(agent: SimulatedAgent) -> None:
        agent.observe("undecided", round=1)

    outcome = run_session(agents=THREE, pattern="consensus", protocol=member, inputs=PROPOSALS)
    assert not outcome.converged
    assert outcome.output is None
    assert "the consensus pattern came to no result" in outcome.reasons[0]


def test_properties_judge_what_was_decided():
    async def inventive(agent: SimulatedAgent) -> None:
        agent.observe("decide", value="something else")

    with pytest.raises(PropertyViolation, match="validity: "):
        run_session(agents=THREE, pattern="consensus", protocol=inventive, inputs=PROPOSALS)


def test_what_a_coroutine_of_a_protocol_raises_is_the_agent_s_failure():
    async def broken(agent: SimulatedAgent) -> None:
        raise LookupError("not found")

    with pytest.raises(AgentError, match="agent 'a' raised LookupError"):
        run_session(agents=THREE, pattern="consensus", protocol=broken, inputs=PROPOSALS)


def test_a_crash_makes_an_agent_forget_its_view_until_it_says_it_again():
    async def member(agent: SimulatedAgent) -> None:
        if agent.storage.get("lives", 0) == 0:
            agent.storage.put("lives", 1)
            await agent.storage.sync()
            agent.observe("decide", value=1)

    async def scenario(session: Session) -> Any:
        await session.sleep(1)
        before = session.result
        session.agents["a"].crash()
        session.agents["a"].restart()
        await session.sleep(1)
        return [before, session.result]

    session = make_session(agents=THREE, pattern="consensus", protocol=member)
    outcome = session.run(scenario, proposals=dict.fromkeys(THREE, 1))
    assert outcome.output == [1, None]
    assert not outcome.converged


async def elected(agent: SimulatedAgent) -> None:
    """The agent of the smallest name leads, in term 1."""
    agent.observe("term", term=1)
    if agent.name == min([agent.name, *agent.peers]):
        agent.observe("leader", term=1)
        await agent.broadcast("I lead")
    else:
        await agent.receive()
        agent.observe("follow", leader=min([agent.name, *agent.peers]), term=1)


def test_an_election_of_the_user_s_own_elects_a_leader_that_scenarios_wait_for():
    async def scenario(session: Session) -> str:
        return (await session.wait_for_leader(timeout=5)).name

    outcome = run_session(scenario, agents=THREE, pattern="leader-follower", protocol=elected)
    assert outcome.output == "a"
    assert outcome.metrics.elections == 1


def test_the_task_runs_with_the_leader_of_an_election_of_the_user_s_own():
    async def task(leader: SimulatedAgent, followers: Sequence[SimulatedAgent]) -> Any:
        return leader.name, [follower.name for follower in followers]

    session = make_session(agents=THREE, pattern="leader-follower", protocol=elected)
    outcome = session.run(task=task)
    assert outcome.converged
    assert outcome.output == ("a", ["b", "c"])


def test_two_leaders_of_one_term_are_found_out():
    async def usurper(agent: SimulatedAgent) -> None:
        await asyncio.sleep(0.1)
        agent.observe("leader", term=1)

    own = {"a": elected, "b": elected, "c": usurper}
    with pytest.raises(PropertyViolation, match="election_safety"):
        run_session(agents=THREE, pattern="leader-follower", protocol=own, inputs={})


# -- machines ------------------------------------------------------------------------------------------------------------


class Told:
    """The first agent decides, and tells the others until they have heard."""

    def __init__(self, name: str, agents: Sequence[str]) -> None:
        self.name, self.agents = name, agents
        self.value: Any = None

    def on_start(self, durable: Mapping[str, Any]) -> Any:
        return self.learn("fixed") if self.name == self.agents[0] else []

    def learn(self, value: Any) -> Any:
        self.value = value
        told = [Send(other, "tell", value) for other in self.agents[1:] if self.name == self.agents[0]]
        return [
            Observe("decide", {"value": value}),
            Decide(value),
            *told,
            SetTimer("again", 10**9, background=True),
        ]

    def on_message(self, sender: str, kind: str, payload: Any) -> Any:
        return self.learn(payload) if self.value is None else []

    def on_timer(self, name: str) -> Any:
        return []

    def on_command(self, name: str, argument: Any) -> Any:
        return []

    def view(self) -> Any:
        return self.value


class Inputs(Told):
    """The same, which is given the inputs of the run."""

    def __init__(self, name: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        super().__init__(name, agents)
        self.proposals = inputs["proposals"]

    def on_start(self, durable: Mapping[str, Any]) -> Any:
        return self.learn(min(self.proposals.values())) if self.name == self.agents[0] else []


class Optional(Told):
    """The same, with a parameter that has a default: it is not the inputs."""

    def __init__(self, name: str, agents: Sequence[str], greeting: str = "hello") -> None:
        super().__init__(name, agents)
        assert greeting == "hello"


@pytest.mark.parametrize(("own", "value"), [(Told, "fixed"), (Inputs, 1), (Optional, "fixed")])
def test_a_machine_class_takes_the_place_of_the_protocol_of_all_agents(own: Any, value: Any):
    proposals = {"a": 1, "b": 2, "c": "fixed"} if own is not Inputs else PROPOSALS["proposals"]
    outcome = run_session(agents=THREE, pattern="consensus", protocol=own, inputs={"proposals": proposals})
    assert outcome.converged
    assert outcome.output == value
    assert {message.channel for message in outcome.trace.messages} == {"pattern"}


def test_machines_of_the_user_s_own_talk_to_those_of_the_reference_protocol():
    # The reference machines learn a decision from whoever tells them; this one says what they understand.
    class Knows(Told):
        def on_start(self, durable: Mapping[str, Any]) -> Any:
            return self.learn(1) if self.name == "a" else []

        def learn(self, value: Any) -> Any:
            self.value = value
            told = [Send(other, "decided", {"value": value, "ask": False}) for other in self.agents[1:]]
            return [Observe("propose", {"value": 1}), Observe("decide", {"value": 1}), Decide(1), *told]

    outcome = run_session(agents=THREE, pattern="consensus", protocol={"a": Knows}, inputs=PROPOSALS)
    assert outcome.converged
    assert outcome.output == 1


def test_a_coroutine_that_does_not_take_part_is_found_out():
    async def sleeper(agent: SimulatedAgent) -> None:
        async for _ in agent.inbox:
            pass

    session = make_session(agents=THREE, pattern="consensus", protocol={"c": sleeper}, timeout=100)
    with pytest.raises(PropertyViolation, match="termination: c did not decide, although a, b decided"):
        session.run(proposals=dict.fromkeys(THREE, 1))


def test_a_coroutine_speaks_with_the_machines_of_the_reference_protocol():
    heard: list[str] = []

    async def listener(agent: SimulatedAgent) -> Any:
        agent.observe("propose", value=1)
        async for message in agent.inbox:
            heard.append(message.type)
            if message.type == "decided":
                agent.observe("decide", value=message.payload["value"])
                await agent.send(
                    message.sender, {"value": message.payload["value"], "ask": False}, type="decided"
                )
                return message.payload["value"]

    async def chatter(agent: SimulatedAgent) -> Any:
        await agent.send("b", "how are you?")
        return (await agent.receive(timeout=5, sender="a")).payload if agent.name == "b" else None

    session = make_session(
        agents={"a": chatter, "b": chatter, "c": None}, pattern="consensus", protocol={"c": listener}
    )
    outcome = session.run(proposals=dict.fromkeys(THREE, 1))
    assert outcome.converged
    assert outcome.output == 1
    assert outcome.results["b"] == "how are you?"  # behaviours hear one another as always
    assert {"vote", "decided"} <= set(heard)


def test_a_machine_in_place_of_the_protocol_goes_with_a_behaviour():
    async def greet(agent: SimulatedAgent) -> str:
        return f"hello from {agent.name}"

    session = make_session(agents=dict.fromkeys(THREE, greet), pattern="consensus", protocol=Told)
    outcome = session.run(proposals={"a": "fixed", "b": 2, "c": 3})
    assert outcome.output == "fixed"
    assert outcome.results["b"] == "hello from b"


# -- wrong input -----------------------------------------------------------------------------------------------------------


def plain(agent: Any) -> None: ...


async def coroutine(agent: Any) -> None: ...


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"protocol": plain, "pattern": "consensus"},
            "the behaviour of agent 'every agent', .* is not a coroutine",
        ),
        (
            {"protocol": {"a": plain}, "pattern": "consensus"},
            "the behaviour of agent 'a', .* is not a coroutine",
        ),
        ({"protocol": "raft", "pattern": "consensus"}, "is not a coroutine function"),
        (
            {"protocol": {"d": coroutine}, "pattern": "consensus"},
            r"unknown agent in protocol 'd'.*Known: 'a', 'b', 'c'",
        ),
        (
            {"protocol": coroutine},
            "protocol= takes the place of a pattern's reference protocol; name the pattern too",
        ),
    ],
)
def test_wrong_protocols_are_refused(options: dict[str, Any], words: str):
    with pytest.raises(ConvergenceUsageError, match=words):
        make_session(agents=THREE, **options)


def test_an_agent_cannot_have_two_coroutines():
    with pytest.raises(
        ConvergenceUsageError, match="agent 'a' has two behaviours: one in agents= and one in protocol="
    ):
        make_session(agents={"a": coroutine, "b": None}, pattern="consensus", protocol=coroutine)


def test_a_pattern_object_tells_by_itself_what_its_agents_observe():
    facts = [("term", {"term": 1}), ("follow", {"leader": "b", "term": 1})]
    view = LeaderFollower().observed("a", facts)
    assert view is not None
    assert (view.leader, view.term) == ("b", 1)
    assert LeaderFollower().observed("a", []) is None


# -- promises --------------------------------------------------------------------------------------------------------------


PROMISES = ["promises_survive_restart"]


def promising(tells: bool, before: bool = True) -> Any:
    """An agent that promises 1 in its first life and 2 in its second, and syncs what it writes."""

    async def member(agent: SimulatedAgent) -> None:
        if agent.name != "a":
            return
        life = agent.storage.get("life", 1)
        agent.storage.put("life", life + 1)
        await agent.storage.sync()
        if not before:
            await agent.send("b")
        agent.observe("promise", name="price", value=life)
        if tells and before:
            await agent.send("b")
        await asyncio.sleep(1)
        if life == 1:
            agent.crash()

    return member


async def bring_back(session: Session) -> None:
    await session.sleep(2)
    session.agents["a"].restart()
    await session.finished()


def test_a_promise_that_was_told_binds_the_next_life_although_all_was_synced():
    with pytest.raises(
        PropertyViolation, match="told others that its price is 1, and after a restart it says 2"
    ):
        run_session(bring_back, agents=dict.fromkeys(THREE, promising(tells=True)), properties=PROMISES)


def test_a_promise_that_nobody_was_told_binds_nobody():
    for member in (promising(tells=False), promising(tells=True, before=False)):
        run_session(bring_back, agents=dict.fromkeys(THREE, member), properties=PROMISES)


class ForgetsItsTerm:
    """Says that its term is the number of its life, the other way round."""

    def __init__(self, name: str, agents: Sequence[str]) -> None:
        self.name = name

    def on_start(self, durable: Mapping[str, Any]) -> list[Any]:
        term = 0 if "lived" in durable else 7
        return [Persist("lived", True), Sync(), Observe("term", {"term": term}), Send("b", "hello", None)]

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Any]:
        return []

    def on_timer(self, name: str) -> list[Any]:
        return []

    def on_command(self, name: str, argument: Any) -> list[Any]:
        return []


def test_the_promises_of_machines_bind_their_next_lives_too():
    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.agents["a"].crash()
        session.agents["a"].restart()
        await session.sleep(1)

    with pytest.raises(
        PropertyViolation, match="told others that its term is 7, and after a restart it says 0"
    ):
        run_session(scenario, pattern="leader-follower", agents=THREE, protocol=ForgetsItsTerm)

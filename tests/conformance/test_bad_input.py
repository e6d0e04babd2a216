"""Bad input gets a clear error that names the value, and nothing hangs."""

import asyncio
import threading
import time

import pytest

from pytest_convergence import (
    AgentCrashedError,
    AgentError,
    BudgetExceeded,
    Consensus,
    ConvergenceUsageError,
    DeadlockError,
    Goal,
    LivelockError,
    Network,
    Schedule,
)


async def listen(agent):
    async for _ in agent.inbox:
        pass


# -- names that do not exist -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patern": "consensus"}, "unknown option 'patern': did you mean 'pattern'"),
        ({"pattern": "concensus"}, "unknown pattern 'concensus': did you mean 'consensus'"),
        ({"network": "losy"}, "unknown network profile 'losy': did you mean 'lossy'"),
        ({"faults": ["crush"]}, "unknown fault 'crush': did you mean 'crash'"),
        ({"explore": "rndom"}, "unknown explore strategy 'rndom': did you mean 'random'"),
        ({"sync": "dleta"}, "unknown sync strategy 'dleta': did you mean 'delta'"),
        ({"resolve": "last-wirte"}, "'last-wirte': did you mean 'last-write'"),
        (
            {"properties": ["election_safty"]},
            "unknown property 'election_safty': did you mean 'election_safety'",
        ),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_match_and_all_that_exist(
    convergence_engine, options, message
):
    with pytest.raises(ConvergenceUsageError, match=message) as caught:
        convergence_engine.create_session("bad", **{"agents": 2, **options})
    assert "Known: " in str(caught.value)


def test_an_unknown_criterion_is_an_error_that_lists_the_known():
    with pytest.raises(
        ConvergenceUsageError, match="did you mean 'all agents agree'.*'no unresolved conflicts'"
    ):
        Goal("Agree", success_criteria=["all agents agreed"])


def test_an_unknown_input_of_a_pattern_is_named(convergence_engine):
    session = convergence_engine.create_session("bad", pattern="consensus", agents=["a", "b"])
    with pytest.raises(ConvergenceUsageError, match="'proposal': did you mean 'proposals'"):
        session.run(proposal={"a": 1, "b": 2})


def test_inputs_without_a_pattern_are_refused(convergence_engine):
    session = convergence_engine.create_session("bad", agents=2)
    with pytest.raises(ConvergenceUsageError, match="proposals.*no pattern that could take it"):
        session.run(proposals={})


@pytest.mark.parametrize(
    ("proposals", "message"),
    [
        ({"a": 1, "bb": 2}, "unknown agent in proposals 'bb'"),
        ({"a": 1}, "lacks a value for 'b'"),
        ({"a": 1, "b": None}, "the proposal of 'b' is None"),
        (None, "needs run"),
    ],
)
def test_every_agent_needs_one_proposal(convergence_engine, proposals, message):
    session = convergence_engine.create_session("bad", pattern="consensus", agents=["a", "b"])
    with pytest.raises(ConvergenceUsageError, match=message):
        session.run(proposals=proposals)


def test_an_unknown_agent_in_the_initial_states_is_named(convergence_engine):
    with pytest.raises(ConvergenceUsageError, match="states names the agent 'z', but the agents are a, b"):
        convergence_engine.create_session("bad", agents=["a", "b"], states={"z": {}})


# -- values out of range -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"agents": 0}, "agents=0: a session needs at least one agent"),
        ({"agents": -1}, "agents=-1"),
        ({"agents": []}, "at least one agent"),
        ({"agents": True}, "not True"),
        ({"agents": "planner"}, "not 'planner'"),
        ({"agents": 2.5}, "not 2.5"),
        ({"agents": ["a", "b", "a"]}, "the agent 'a' is named twice"),
        ({"agents": ["a", ""]}, "not ''"),
        ({"agents": ["a", 7]}, "not 7"),
        ({"agents": ["a→b"]}, "not 'a→b'"),
        ({"faults": "crash"}, r"such as \['crash', 'partition'\], not 'crash'"),
        ({"schedules": 0}, "schedules must be a whole number >= 1, not 0"),
        ({"seed": "seven"}, "seed must be a whole number, not 'seven'"),
        ({"timeout": 0}, "timeout must be greater than 0 seconds"),
        ({"timeout": -5}, "timeout.*-5"),
        ({"timeout": float("nan")}, "timeout.*nan"),
        ({"timeout": "60"}, "timeout.*'60'"),
        ({"real_timeout": 0}, "real_timeout must be greater than 0"),
        ({"max_events": 0}, "max_events must be a whole number >= 1"),
        ({"trace": 0}, "trace must be"),
        ({"trace": "yes"}, "trace must be.*'yes'"),
        ({"properties": "agreement"}, "properties must be a list"),
        ({"schedule": 3}, "schedule must be a Schedule, a token or a FaultPlan, not 3"),
        ({"goal": 3}, "goal must be a Goal"),
        ({"pattern": Consensus}, "pattern must be a name or a pattern object"),
        ({"pattern": Consensus(quorum=4)}, "quorum.*4"),
        ({"pattern": Consensus(quorum=0)}, "quorum.*0"),
        ({"pattern": Consensus(quorum=1.5)}, "quorum.*1.5"),
        ({"pattern": Consensus(max_rounds=0)}, "max_rounds must be a whole number of at least 1"),
        ({"pattern": Consensus(tie="lowset")}, "unknown tie rule 'lowset': did you mean 'lowest'"),
    ],
)
def test_a_value_out_of_range_is_named(convergence_engine, options, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        convergence_engine.create_session("bad", **{"agents": 3, **options})


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"latency": -1}, "latency"),
        ({"latency": (0.5, 0.1)}, "latency must be"),
        ({"loss": 1.5}, "loss must be a probability from 0 to 1, not 1.5"),
        ({"duplicate": -0.1}, "duplicate must be a probability"),
        ({"loss": 0.6, "duplicate": 0.6}, "must not exceed 1"),
    ],
)
def test_a_network_with_impossible_numbers_is_refused(numbers, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        Network(**numbers)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda session: session.sleep(-1), "seconds.*-1"),
        (lambda session: session.agents["a"].receive(timeout=-1), "timeout.*-1"),
        (lambda session: session.agents["a"].request("b", 1, timeout=-1), "timeout.*-1"),
        (lambda session: session.wait_for_leader(timeout=-1), "timeout.*-1|no leaders"),
    ],
)
def test_a_negative_time_is_refused(convergence_session_factory, act, message):
    async def scenario(session):
        with pytest.raises(ConvergenceUsageError, match=message):
            await act(session)

    convergence_session_factory(agents={"a": listen, "b": listen}).run(scenario)


@pytest.mark.parametrize("timeout", [0, -1, "10"])
def test_a_run_needs_a_positive_timeout(convergence_engine, timeout):
    with pytest.raises(ConvergenceUsageError, match="timeout"):
        convergence_engine.create_session("bad", agents=2).run(timeout=timeout)


def test_a_session_name_can_be_used_once(convergence_engine):
    convergence_engine.create_session("plan", agents=2)
    with pytest.raises(ConvergenceUsageError, match="has a session named 'plan' already"):
        convergence_engine.create_session("plan", agents=2)


def test_a_session_of_another_engine_is_refused(convergence_engine, convergence_session_factory):
    stranger = convergence_session_factory(agents=2)
    with pytest.raises(ConvergenceUsageError, match="was not created by this engine"):
        convergence_engine.run(stranger)


# -- behaviours --------------------------------------------------------------------------------------------------------


def plain(agent):
    return agent.name


async def generator(agent):
    yield agent.name


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (plain, "the behaviour of agent 'a'.*plain.*is not a coroutine function"),
        (generator, "is an async generator"),
        ("listen", "'listen'.*is not a coroutine function"),
    ],
)
def test_a_behaviour_that_is_no_coroutine_function_is_refused(convergence_engine, behaviour, message):
    with pytest.raises(ConvergenceUsageError, match=message):
        convergence_engine.create_session("bad", agents={"a": behaviour})


def test_a_scenario_that_is_no_coroutine_function_is_refused(convergence_engine):
    with pytest.raises(ConvergenceUsageError, match="the scenario must be a coroutine function"):
        convergence_engine.create_session("bad", agents=2).run(plain)


def test_an_exception_in_a_behaviour_names_the_agent_and_the_exception(convergence_session_factory):
    async def clumsy(agent):
        await asyncio.sleep(1)
        return 1 / 0

    with pytest.raises(AgentError, match="agent 'b' raised ZeroDivisionError: division by zero") as caught:
        convergence_session_factory(agents={"a": listen, "b": clumsy}).run()
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    frames = []
    traceback = cause.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "clumsy"


def test_an_exception_in_a_task_of_a_behaviour_that_awaits_it_names_the_agent(convergence_session_factory):
    async def part():
        raise KeyError("lost")

    async def manager(agent):
        await asyncio.create_task(part())

    with pytest.raises(AgentError, match="'manager' raised KeyError"):
        convergence_session_factory(agents={"manager": manager}).run()


def test_an_exception_in_the_scenario_is_the_tests_own(convergence_session_factory):
    async def scenario(session):
        raise LookupError("my mistake")

    with pytest.raises(LookupError, match="my mistake"):
        convergence_session_factory(agents=2).run(scenario)


def test_a_behaviour_that_blocks_the_thread_is_interrupted_and_shown(convergence_session_factory):
    async def busy(agent):
        while True:
            pass

    before = time.monotonic()
    with pytest.raises(BudgetExceeded, match=r"real_timeout=1 seconds.*blocks the thread") as caught:
        convergence_session_factory(agents={"busy": busy, "other": listen}, real_timeout=1).run()
    assert "real_timeout" in caught.value.outcome.reasons[0]
    assert "busy" in str(caught.value)  # the stack names the function that it was in
    assert time.monotonic() - before < 50


# -- standing still ----------------------------------------------------------------------------------------------------


def test_a_deadlock_is_found_at_once(convergence_session_factory):
    async def polite(agent):
        await agent.receive()

    with pytest.raises(DeadlockError, match="left waits.*\n.*right waits") as caught:
        convergence_session_factory(agents={"left": polite, "right": polite}).run()
    assert caught.value.outcome.metrics.virtual_seconds == 0


def test_a_deadlock_of_the_scenario_says_what_it_awaits(convergence_session_factory):
    async def scenario(session):
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="the scenario waits.*Event"):
        convergence_session_factory(agents=2).run(scenario)


def test_an_agent_that_wakes_itself_for_ever_is_a_livelock(convergence_session_factory):
    async def spin(agent):
        while True:
            await asyncio.sleep(0)

    with pytest.raises(LivelockError, match="steps ran at virtual time.*time did not move"):
        convergence_session_factory(agents={"spin": spin}).run()


def test_agents_that_chatter_for_ever_run_out_of_events(convergence_session_factory):
    async def chatter(agent):
        await agent.broadcast(0)
        async for message in agent.inbox:
            await agent.send(message.sender, message.payload + 1)

    with pytest.raises(BudgetExceeded, match="max_events=5,000.*raise max_events"):
        convergence_session_factory(agents={"a": chatter, "b": chatter}, max_events=5_000).run()


def test_an_agent_that_never_ends_runs_out_of_virtual_time(convergence_session_factory):
    async def heartbeat(agent):
        while True:
            await asyncio.sleep(60)

    with pytest.raises(BudgetExceeded, match="virtual time budget of timeout=3600 seconds"):
        convergence_session_factory(agents={"a": heartbeat}, timeout=3600).run()


# -- messages ----------------------------------------------------------------------------------------------------------


def test_an_unknown_recipient_is_named_with_the_nearest(convergence_session_factory):
    async def sender(agent):
        with pytest.raises(ConvergenceUsageError, match="unknown agent 'reviwer': did you mean 'reviewer'"):
            await agent.send("reviwer", "please")

    convergence_session_factory(agents={"sender": sender, "reviewer": listen}).run()


def test_an_unknown_sender_to_wait_for_is_named(convergence_session_factory):
    async def waiter(agent):
        with pytest.raises(ConvergenceUsageError, match="unknown agent 'reviwer': did you mean 'reviewer'"):
            await agent.receive(sender="reviwer")

    convergence_session_factory(agents={"waiter": waiter, "reviewer": listen}).run()


def test_an_unknown_agent_in_a_partition_is_named(convergence_session_factory):
    async def scenario(session):
        with pytest.raises(ConvergenceUsageError, match="unknown agent 'x'"):
            session.network.partition(["x"])

    convergence_session_factory(agents=2).run(scenario)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "agents on both sides"),
        ([["agent-1", "agent-2"]], "agents on both sides"),
        ([["agent-1"], ["agent-1", "agent-2"]], "'agent-1' stands on two sides"),
    ],
)
def test_a_partition_needs_two_sides(convergence_session_factory, groups, message):
    async def scenario(session):
        with pytest.raises(ConvergenceUsageError, match=message):
            session.network.partition(*groups)

    convergence_session_factory(agents=2).run(scenario)


def test_sending_after_a_crash_is_an_error(convergence_session_factory):
    async def scenario(session):
        session.agents["a"].crash()
        with pytest.raises(AgentCrashedError, match="'a' has crashed and cannot send"):
            await session.agents["a"].send("b", "too late")

    convergence_session_factory(agents={"a": listen, "b": listen}).run(scenario)


def test_sending_before_the_run_is_an_error(convergence_session_factory):
    session = convergence_session_factory(agents=["a", "b"])
    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        pytest.raises(ConvergenceUsageError, match="'a' cannot send before the session runs"),
    ):
        runner.run(session.agents["a"].send("b", "too early"))


def test_sending_after_the_run_is_an_error(convergence_session_factory):
    session = convergence_session_factory(agents=["a", "b"])
    session.run()
    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        pytest.raises(ConvergenceUsageError, match="'a' cannot send: the run is over"),
    ):
        runner.run(session.agents["a"].send("b", "too late"))


def test_a_message_is_a_snapshot_of_its_payload(convergence_session_factory):
    async def giver(agent):
        plan = {"steps": ["think"]}
        await agent.send("taker", plan)
        plan["steps"].append("panic")

    async def taker(agent):
        return (await agent.receive()).payload

    outcome = convergence_session_factory(agents={"giver": giver, "taker": taker}).run()
    assert outcome.results["taker"] == {"steps": ["think"]}


def test_recipients_do_not_share_a_payload(convergence_session_factory):
    async def giver(agent):
        await agent.broadcast(["plan"])

    async def taker(agent):
        payload = (await agent.receive()).payload
        payload.append(agent.name)
        return payload

    outcome = convergence_session_factory(agents={"giver": giver, "x": taker, "y": taker}).run()
    assert outcome.results["x"] == ["plan", "x"]
    assert outcome.results["y"] == ["plan", "y"]


def test_a_duplicate_is_a_snapshot_too(convergence_session_factory):
    async def giver(agent):
        await agent.send("taker", ["plan"])

    async def taker(agent):
        first = (await agent.receive()).payload
        first.append("scribbled")
        return (await agent.receive()).payload

    async def scenario(session):
        with session.network.duplicate():
            return await session.finished()

    outcome = convergence_session_factory(agents={"giver": giver, "taker": taker}).run(scenario)
    assert outcome.results["taker"] == ["plan"]


@pytest.mark.parametrize("payload", [threading.Lock(), (step for step in ()), {"nested": [threading.Lock()]}])
def test_a_payload_that_cannot_be_copied_is_refused(convergence_session_factory, payload):
    async def giver(agent):
        with pytest.raises(ConvergenceUsageError, match="'giver' cannot send.*a message is a snapshot"):
            await agent.send("taker", payload)

    convergence_session_factory(agents={"giver": giver, "taker": listen}).run()


def test_a_reply_needs_the_message_that_it_answers(convergence_session_factory):
    async def confused(agent):
        with pytest.raises(
            ConvergenceUsageError, match="reply takes the message that is answered, not 'hello'"
        ):
            await agent.reply("hello", "hello yourself")

    convergence_session_factory(agents={"a": confused}).run()


def test_a_schedule_needs_a_whole_seed():
    with pytest.raises(ConvergenceUsageError, match=r"seed must be a whole number, not 1\.5"):
        Schedule.seeded(1.5)  # type: ignore[arg-type]

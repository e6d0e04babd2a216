"""Section 2 of the usage contract in words: the reactive pattern."""

import asyncio
from typing import Any

import pytest

from pytest_convergence import (
    ConvergenceUsageError,
    HandlerFailed,
    PropertyViolation,
    Publish,
    Reactive,
    Saga,
    SessionState,
    Step,
)

AGENTS = ["shop", "depot", "ledger"]


def facts(outcome, name):
    """The data of every fact of that name, with its agent."""
    return [
        {**event.detail, "by": event.agent}
        for event in outcome.trace
        if event.kind == "observe" and event.detail["fact"] == name
    ]


def nothing(payload):
    return None


def fails(payload):
    raise ValueError("no")


def in_turn(*functions):
    """A function that does at each call what the next of these would do."""
    left = iter(functions)

    def do(payload):
        return next(left)(payload)

    return do


def react(factory, handlers, events, pattern="reactive", scenario=None, agents=AGENTS, **options):
    session = factory(pattern=pattern, agents=list(agents), **options)
    return session.run(scenario, handlers=handlers, events=events)


@pytest.mark.convergence(pattern="reactive", agents=["shop", "depot", "ledger"])
def test_agents_react_to_events_and_cause_further_ones(convergence_session):
    outcome = convergence_session.run(
        handlers={
            "ordered": {
                "depot": lambda order: Publish("sent", order),
                "ledger": lambda order: f"{order} due",
            },
            "sent": {"ledger": lambda order: f"{order} on its way"},
        },
        events=[("ordered", "book"), ("ordered", "pen")],
    )
    assert outcome.converged
    assert outcome.output == {
        "ordered": {
            "depot": [Publish("sent", "book"), Publish("sent", "pen")],
            "ledger": ["book due", "pen due"],
        },
        "sent": {"ledger": ["book on its way", "pen on its way"]},
    }


def test_a_topic_without_events_has_empty_lists(convergence_session_factory):
    handlers = {"a": {"shop": nothing}, "b": {"depot": nothing}}
    assert react(convergence_session_factory, handlers, [("a", 1)]).output == {
        "a": {"shop": [None]},
        "b": {"depot": []},
    }


def test_the_publisher_may_subscribe_itself_and_be_another(convergence_session_factory):
    async def handle(agent, payload):
        await asyncio.sleep(1)
        return agent.name

    handlers = {"a": {"ledger": handle, "shop": handle}}
    outcome = react(convergence_session_factory, handlers, [("a", 1)], Reactive(publisher="ledger"))
    assert outcome.output == {"a": {"ledger": ["ledger"], "shop": ["shop"]}}
    assert {fact["by"] for fact in facts(outcome, "publish")} == {"ledger"}


def test_results_are_sorted_by_events_whatever_the_schedule(convergence_session_factory):
    handlers = {
        "go": {
            "depot": lambda n: [Publish("on", n), Publish("on", n + 1)],
            "shop": lambda n: Publish("on", -n),
        },
        "on": {"ledger": lambda n: n},
    }
    for seed in range(5):
        session = convergence_session_factory(pattern="reactive", agents=AGENTS, network="chaos", seed=seed)
        output = session.run(handlers=handlers, events=[("go", 10), ("go", 20)]).output
        assert output["on"]["ledger"] == [-10, 10, 11, -20, 20, 21]


def test_a_handler_that_a_crash_interrupts_runs_again_and_publishes_once(convergence_session_factory):
    runs = []

    async def handle(agent, payload):
        runs.append(payload)
        await asyncio.sleep(2)
        return Publish("done", payload)

    async def scenario(session):
        await session.sleep(1)
        session.agents["depot"].crash()
        session.agents["depot"].restart()
        await session.sleep(30)

    handlers = {"go": {"depot": handle}, "done": {"ledger": lambda payload: payload}}
    outcome = react(convergence_session_factory, handlers, [("go", 1)], scenario=scenario)
    assert outcome.converged
    assert runs == [1, 1]
    assert outcome.output["done"] == {"ledger": [1]}


def test_an_event_that_is_delivered_twice_is_handled_once(convergence_session_factory):
    runs = []
    outcome = react(
        convergence_session_factory,
        {"go": {"depot": runs.append}},
        [("go", 1), ("go", 2)],
        network="chaos",
        faults=["duplicate"],
        seed=3,
    )
    assert outcome.converged
    assert runs == [1, 2]


def test_causal_order_holds_across_publishers_and_fifo_alone_does_not(convergence_session_factory):
    def heard_under(order, seed):
        heard = []
        handlers = {
            "bill": {
                "depot": lambda n: Publish("paid", n),
                "ledger": lambda n: heard.append("bill"),
            },
            "paid": {"ledger": lambda n: heard.append("paid")},
        }
        pattern = Reactive(order=order)
        react(convergence_session_factory, handlers, [("bill", 1)], pattern, network="flaky", seed=seed)
        return heard

    assert all(heard_under("causal", seed) == ["bill", "paid"] for seed in range(20))
    assert any(heard_under("fifo", seed) == ["paid", "bill"] for seed in range(20))


def test_a_handler_that_raises_is_tried_again(convergence_session_factory):
    runs = []

    def handle(payload):
        runs.append(payload)
        if len(runs) < 3:
            raise ValueError("not yet")
        return "at last"

    outcome = react(convergence_session_factory, {"go": {"depot": handle}}, [("go", 1)])
    assert outcome.converged
    assert outcome.output == {"go": {"depot": ["at last"]}}
    assert outcome.metrics.retries == 2


def test_a_handler_that_always_raises_makes_the_outcome_diverged_and_says_so(convergence_session_factory):
    outcome = react(
        convergence_session_factory, {"go": {"depot": fails}}, [("go", 1)], Reactive(max_attempts=2)
    )
    assert outcome.state is SessionState.DIVERGED
    assert outcome.output == {"go": {"depot": [HandlerFailed("ValueError: no")]}}
    assert "the handler of 'go' at depot failed with ValueError: no" in str(outcome)
    assert outcome.metrics.dead_letters == 1


def test_what_handlers_write_to_the_shared_state_reaches_everybody(convergence_session_factory):
    def handle(agent, payload):
        agent.state.set(f"seen.{agent.name}", payload)

    session = convergence_session_factory(
        pattern="reactive", agents=AGENTS, network="lossy", faults=["crash"], seed=4
    )
    outcome = session.run(handlers={"go": {"depot": handle, "ledger": handle}}, events=[("go", 1)])
    assert outcome.converged
    for agent in session.agents.values():
        assert agent.state.as_dict() == {"seen": {"depot": 1, "ledger": 1}}


def test_publishing_to_a_topic_that_nobody_subscribes_to_fails_the_test(convergence_session_factory):
    with pytest.raises(Exception, match="nobody subscribes to that topic. Topics: 'go'"):
        react(convergence_session_factory, {"go": {"depot": lambda n: Publish("gone", n)}}, [("go", 1)])


def test_a_chain_of_events_within_the_budget_is_fine_and_beyond_it_a_violation(convergence_session_factory):
    handlers = {"count": {"depot": lambda n: Publish("count", n - 1) if n else None}}
    outcome = react(convergence_session_factory, handlers, [("count", 20)], Reactive(max_hops=21))
    assert len(outcome.output["count"]["depot"]) == 21
    with pytest.raises(PropertyViolation, match="21 events in a chain, more than 20"):
        react(convergence_session_factory, handlers, [("count", 20)], Reactive(max_hops=20))


def trip(**steps):
    """A saga of three steps in three places, with a journal of what was done."""
    journal = []

    def of(name, default=nothing):
        def do(payload):
            journal.append(name)
            return steps.get(name, default)(payload)

        return do

    saga = Saga(
        [
            Step("hotel", "depot", of("hotel"), of("no hotel")),
            Step("flight", "ledger", of("flight"), of("no flight")),
            Step("car", "shop", of("car"), of("no car")),
        ],
        pivot=steps.get("pivot"),
    )
    return saga, journal


def test_a_saga_does_all_its_steps_in_order(convergence_session_factory):
    saga, journal = trip(hotel=lambda p: 7)
    outcome = react(convergence_session_factory, {"go": saga}, [("go", 1)])
    assert outcome.output["go"]["depot"] == [
        {"saga": "done", "results": {"hotel": 7, "flight": None, "car": None}}
    ]
    assert journal == ["hotel", "flight", "car"]


def test_a_saga_that_fails_undoes_what_was_done_in_reverse(convergence_session_factory):
    saga, journal = trip(car=fails)
    outcome = react(convergence_session_factory, {"go": saga}, [("go", 1)])
    assert outcome.converged
    assert outcome.output["go"]["depot"] == [{"saga": "undone", "failed": "car", "reason": "ValueError: no"}]
    assert journal == ["hotel", "flight", "car", "no flight", "no hotel"]


def test_after_the_pivot_a_saga_tries_again_and_undoes_nothing(convergence_session_factory):
    saga, journal = trip(car=in_turn(fails, fails, nothing), pivot="flight")
    outcome = react(convergence_session_factory, {"go": saga}, [("go", 1)])
    assert outcome.output["go"]["depot"][0]["saga"] == "done"
    assert journal == ["hotel", "flight", "car", "car", "car"]


def test_a_saga_that_is_stuck_behind_its_pivot_breaks_atomicity(convergence_session_factory):
    saga, _ = trip(car=fails, pivot="flight")
    with pytest.raises(
        PropertyViolation, match="neither done nor undone: car failed, and hotel, flight stayed"
    ):
        react(convergence_session_factory, {"go": saga}, [("go", 1)])


def test_an_undo_that_raises_is_tried_again(convergence_session_factory):
    saga, journal = trip(**{"flight": fails, "no hotel": in_turn(fails, nothing)})
    outcome = react(convergence_session_factory, {"go": saga}, [("go", 1)])
    assert outcome.converged
    assert journal == ["hotel", "flight", "no hotel", "no hotel"]


def test_a_step_of_which_nothing_is_heard_is_given_up_and_never_done_later(convergence_session_factory):
    saga, journal = trip()

    async def scenario(session):
        with session.agents["ledger"].isolate():
            await session.sleep(40)
        await session.sleep(40)

    handlers = {"go": saga}
    outcome = react(convergence_session_factory, handlers, [("go", 1)], Reactive(step_seconds=5), scenario)
    assert outcome.output["go"]["depot"][0]["failed"] == "flight"
    assert journal == ["hotel", "no hotel"]
    assert outcome.converged


def test_a_step_that_takes_long_is_waited_for_while_its_agent_answers(convergence_session_factory):
    async def slow(payload):
        await asyncio.sleep(60)
        return "at last"

    saga, _ = trip(flight=slow)
    outcome = react(convergence_session_factory, {"go": saga}, [("go", 1)], Reactive(step_seconds=5))
    assert outcome.output["go"]["depot"][0]["results"]["flight"] == "at last"


def test_a_conductor_that_crashes_goes_on_with_its_saga(convergence_session_factory):
    async def slow(payload):
        await asyncio.sleep(3)

    saga, journal = trip(flight=slow, car=fails)

    async def scenario(session):
        await session.sleep(1)
        session.agents["depot"].crash()
        session.agents["depot"].restart()
        await session.sleep(30)

    outcome = react(convergence_session_factory, {"go": saga}, [("go", 1)], scenario=scenario)
    assert outcome.converged
    assert journal == ["hotel", "flight", "car", "no flight", "no hotel"]


def test_a_saga_that_a_crash_interrupts_goes_on_before_other_events(convergence_session_factory):
    async def slow(payload):
        await asyncio.sleep(3)

    saga, journal = trip(flight=slow)
    handlers = {"go": saga, "tell": {"shop": lambda n: Publish("told", n)}, "told": {"depot": journal.append}}

    async def scenario(session):
        await session.sleep(1)
        with session.network.one_way_partition(["ledger"], ["depot"]):
            session.agents["depot"].crash()
            session.agents["depot"].restart()
            await session.sleep(1)
        await session.sleep(30)

    events = [("tell", "first"), ("go", 1), ("tell", "last")]
    outcome = react(convergence_session_factory, handlers, events, Reactive(publisher="ledger"), scenario)
    assert outcome.converged
    assert journal == ["hotel", "flight", "car", "first", "last"]


def test_a_step_without_undo_may_be_the_last_or_behind_the_pivot(convergence_session_factory):
    steps = [Step("a", "shop", nothing, nothing), Step("b", "depot", nothing)]
    outcome = react(convergence_session_factory, {"go": Saga(steps, coordinator="ledger")}, [("go", 1)])
    assert outcome.output["go"]["ledger"][0]["saga"] == "done"
    early = Saga([Step("a", "shop", nothing), *steps[1:]])
    with pytest.raises(ConvergenceUsageError, match="step 'a' .* comes before the last and has no undo"):
        react(convergence_session_factory, {"go": early}, [("go", 1)])


ONE = {"go": {"depot": nothing}}
STEP = Step("a", "shop", nothing, nothing)
NO_FUNCTION: Any = 3


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"handlers": {}}, "needs run"),
        ({"handlers": {"go": {}}}, "with one agent at least, or a Saga"),
        ({"handlers": {"go": nothing}}, "with one agent at least, or a Saga"),
        ({"handlers": {"go": {"deopt": nothing}}}, "did you mean 'depot'"),
        ({"handlers": {"go": {"depot": 3}}}, "must be a function such as handle"),
        ({"handlers": {"": {"depot": nothing}}}, "a topic must be a non-empty string"),
        ({"events": []}, "needs run"),
        ({"events": {"go": 1}}, "needs run"),
        ({"events": ["go"]}, "an event is a pair"),
        ({"events": [("og", 1)]}, "unknown topic in events 'og': did you mean 'go'"),
        ({"topics": []}, "unknown input of the reactive pattern 'topics'"),
        ({"handlers": {"go": Saga([])}}, "needs steps"),
        ({"handlers": {"go": Saga([STEP, STEP])}}, "two steps named 'a'"),
        ({"handlers": {"go": Saga([STEP], pivot="b")}}, "unknown pivot of the saga of topic 'go' 'b'"),
        ({"handlers": {"go": Saga([STEP], coordinator="x")}}, "unknown agent in the saga"),
        ({"handlers": {"go": Saga([Step("a", "shop", NO_FUNCTION)])}}, "do of step 'a'"),
        ({"handlers": {"go": Saga([Step("a", "shop", nothing, NO_FUNCTION)])}}, "undo of step 'a'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(convergence_session_factory, inputs, words):
    session = convergence_session_factory(pattern="reactive", agents=AGENTS)
    with pytest.raises(ConvergenceUsageError, match=words):
        session.run(**{"handlers": ONE, "events": [("go", 1)], **inputs})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "total"}, "unknown order of delivery 'total'"),
        ({"publisher": "shp"}, "did you mean 'shop'"),
        ({"max_hops": 0}, "max_hops must be a whole number"),
        ({"max_attempts": 1.5}, "max_attempts must be a whole number"),
        ({"step_seconds": 0}, "step_seconds must be greater"),
    ],
)
def test_bad_options_are_refused(convergence_session_factory, options, words):
    with pytest.raises(ConvergenceUsageError, match=words):
        convergence_session_factory(pattern=Reactive(**options), agents=AGENTS)

"""Messages with acknowledgement, time to live, correlation and causation."""

from __future__ import annotations

import asyncio

import pytest

from pytest_convergence import ConvergenceEngine, ConvergenceUsageError, Message, MessageKind


def run(agents, **options):
    session = ConvergenceEngine().create_session("messages", agents=agents, **options)
    return session.run()


async def listener(agent):
    heard = []
    async for message in agent.inbox:
        heard.append(message.payload)
        agent.expose(lambda: None)
        agent.storage.put("heard", list(heard))


def test_there_are_fifteen_kinds_and_any_text_of_the_users():
    assert len(MessageKind) == 15
    assert Message("a", "b", None, "heartbeat").kind is MessageKind.HEARTBEAT
    assert Message("a", "b", None, "mine").kind is None


def test_an_acknowledged_message_arrives_once_over_a_network_that_loses_and_duplicates():
    async def sender(agent):
        for number in range(20):
            await agent.send("listener", number, ack=True)

    async def collector(agent):
        return [(await agent.receive(timeout=600)).payload for _ in range(20)]

    for seed in range(10):
        outcome = run({"sender": sender, "listener": collector}, network="chaos", seed=seed)
        assert outcome.results["listener"] == list(range(20))
        assert outcome.metrics.retries > 0


def test_what_is_not_acknowledged_in_time_is_a_timeout():
    async def sender(agent):
        with (
            agent.session.network.partition([agent]),
            pytest.raises(TimeoutError, match="'listener' within 5 s"),
        ):
            await agent.send("listener", "hello", ack=True, timeout=5)
        return agent.now()

    outcome = run({"sender": sender, "listener": listener})
    assert outcome.results["sender"] == pytest.approx(5)


def test_a_message_is_not_delivered_after_its_time_to_live():
    async def sender(agent):
        with agent.session.network.delay(2):
            await agent.send("listener", "late", ttl=1)
            await agent.send("listener", "in time", ttl=3)

    async def first(agent):
        return (await agent.receive()).payload

    outcome = run({"sender": sender, "listener": first})
    assert outcome.results["listener"] == "in time"
    assert outcome.metrics.lost == 1
    expired = [event for event in outcome.trace if event.kind == "observe"]
    assert [event.detail["fact"] for event in expired] == ["expired"]


def test_a_message_that_expires_while_its_recipient_is_paused_is_not_delivered():
    async def sender(agent):
        listener = agent.session.agents["listener"]
        listener.pause()
        await agent.send("listener", "stale", ttl=1)
        await asyncio.sleep(5)
        listener.resume()
        await agent.send("listener", "fresh", ttl=1)

    async def first(agent):
        return (await agent.receive()).payload

    assert run({"sender": sender, "listener": first}).results["listener"] == "fresh"


def test_a_time_to_live_bounds_the_wait_for_an_acknowledgement():
    async def sender(agent):
        with agent.session.network.partition([agent]), pytest.raises(TimeoutError):
            await agent.send("listener", "hello", ack=True, ttl=2)
        return agent.now()

    assert run({"sender": sender, "listener": listener}).results["sender"] < 3


def test_a_message_that_was_caused_by_another_says_so():
    async def asker(agent):
        await agent.send("worker", "question", type="question", correlation_id="talk 1")
        answer = await agent.receive()
        return answer.type, answer.correlation_id, answer.causation_id, answer.kind

    async def worker(agent):
        question = await agent.receive(type="question")
        assert question.correlation_id == "talk 1"
        assert question.causation_id is None
        await agent.send("asker", "answer", type=MessageKind.STATE_UPDATE, caused_by=question)

    outcome = run({"asker": asker, "worker": worker})
    assert outcome.results["asker"] == (
        "state_update",
        "talk 1",
        "asker→worker #1",
        MessageKind.STATE_UPDATE,
    )


def test_a_conversation_is_named_after_the_message_that_began_it():
    async def asker(agent):
        await agent.send("worker", "question")
        return (await agent.receive()).correlation_id

    async def worker(agent):
        await agent.send("asker", "answer", caused_by=await agent.receive())

    assert run({"asker": asker, "worker": worker}).results["asker"] == "asker→worker #1"


def test_a_restarted_recipient_is_delivered_to_again():
    async def sender(agent):
        await agent.send("listener", "one", ack=True)
        agent.session.agents["listener"].crash()
        agent.session.agents["listener"].restart()
        await agent.send("listener", "two", ack=True)

    async def first(agent):
        return (await agent.receive()).payload

    assert run({"sender": sender, "listener": first}).results["listener"] == "two"


def test_machines_get_such_messages_too():
    class Echo:
        def __init__(self, name, agents):
            self.heard = []

        def on_start(self, durable):
            return []

        def on_message(self, sender, kind, payload):
            self.heard.append((kind, payload))
            return []

        def on_timer(self, name):
            return []

        def view(self):
            return list(self.heard)

    async def sender(agent):
        await agent.send("machine", 1, type="number", ack=True)
        await agent.send("machine", 2)

    outcome = run({"sender": sender, "machine": Echo}, network="lossy", seed=3)
    assert outcome.views["machine"]["machine"][0] == ("number", 1)


def test_a_plain_message_to_an_agent_with_a_gate_goes_its_usual_way():
    async def sender(agent):
        await agent.send("listener", "one", ack=True)
        await agent.send("listener", "two")

    async def both(agent):
        return [(await agent.receive()).payload for _ in range(2)]

    assert run({"sender": sender, "listener": both}).results["listener"] == ["one", "two"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"akc": True}, "unknown option of send 'akc': did you mean 'ack'"),
        ({"ttl": 0}, "ttl must be greater than 0"),
        ({"ttl": -1}, "ttl"),
        ({"ack": True, "timeout": 0}, "timeout must be greater than 0"),
        ({"caused_by": "x"}, "caused_by takes the message"),
        ({"correlation_id": 5}, "correlation_id must be text"),
    ],
)
def test_wrong_options_are_refused(options, said):
    async def sender(agent):
        with pytest.raises(ConvergenceUsageError, match=said):
            await agent.send("listener", "x", **options)
        return "refused"

    assert run({"sender": sender, "listener": listener}).results["sender"] == "refused"

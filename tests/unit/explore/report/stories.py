"""Runs that reports are made of."""

from typing import Any

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.options import SessionOptions
from pytest_convergence._engine.run.session import Session
from pytest_convergence.explore.counterexample import Counterexample, Told
from pytest_convergence.explore.report.document import Story

HOSTILE = "</script><script>alert('x')</script> \"quoted\" \\ & ; # end {{data}} \u2028 \ud800 é →"


async def echo(agent: Any) -> None:
    async for message in agent.inbox:
        await agent.reply(message, message.payload)


async def asker(agent: Any) -> None:
    count = 0
    while count < 3:
        try:
            await agent.request("echo", {"count": count, "text": HOSTILE}, timeout=1)
        except TimeoutError:
            continue
        agent.state.set("count", count)
        agent.observe("answered", count=count)
        count += 1


def run_pair(*, takes_snapshots: bool = True, schedule: Schedule | None = None) -> Session:
    """Two agents, a lost message, a partition, a crash, a pause."""

    async def scenario(session: Session) -> None:
        first, second = session.agents.values()
        with session.network.partition([first], [second]):
            await session.sleep(0.5)
        await session.sleep(2)
        second.pause()
        await session.sleep(0.5)
        second.resume()
        await session.finished()
        first.crash()

    options = SessionOptions.parse(
        {
            "agents": {"echo": echo, "asker": asker},
            "network": "lossy",
            "schedule": schedule or Schedule.of({"deliver asker→echo #2": 1}),
        }
    )
    session = Session(options, name="pair")
    session.takes_snapshots = takes_snapshots
    session.run(scenario)
    return session


def story_of(session: Session, **changes: Any) -> Story:
    """What there is to tell of a session, as if it were a counterexample."""
    outcome = session.outcome
    assert outcome is not None
    told: dict[str, Any] = {
        "test": f"test_pair.py::test_it[{HOSTILE}]",
        "session": session.name,
        "state": session.state.value,
        "pattern": "none",
        "schedule": str(session.schedule),
        "failure": f"AssertionError: {HOSTILE}",
        "explanation": f"AssertionError: {HOSTILE}\nall of it",
        "trace": outcome.trace,
        "outcome": outcome,
        "snapshots": session.snapshots.taken if session.snapshots is not None else (),
        "counterexample": Counterexample(
            failure="AssertionError",
            deviations=(Told("message asker→echo #2 lost", "the test passes", "deliver asker→echo #2"),),
            is_minimal=True,
            outcome=outcome,
            violations=(),
            found="Found by schedule 3 of 50.",
            replay="pytest test_pair.py::test_it --convergence-replay=c1-x",
            token="c1-x",
        ),
        "replay": "pytest test_pair.py::test_it --convergence-replay=c1-x",
    }
    return Story(**{**told, **changes})

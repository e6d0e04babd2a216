"""Functions of the user's that a pattern's machine calls: tasks of the agent's present life."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from pytest_convergence import AgentRef, Call, CancelCall, Decide, Pattern, Raised, Returned, SetTimer
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.calling import _takes_one_more
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence.errors import AgentError, DeadlockError
from tests.unit.sim.harness import make_session

MS = 1_000_000


class Caller:
    """Does on its start what it is told to, and decides what came of its calls, as soon as there are enough."""

    def __init__(self, effects: Sequence[Any], enough: int, timers: Mapping[str, Any]) -> None:
        self.effects, self.enough, self.timers = effects, enough, timers
        self.answers: list[Any] = []

    def on_start(self, durable: Mapping[str, Any]) -> Any:
        return list(self.effects)

    def on_message(self, sender: str, kind: str, payload: Any) -> Any:
        return []

    def on_timer(self, name: str) -> Any:
        if name == "done":
            self.enough = len(self.answers)
            return [Decide(self.view())]
        return self.timers[name]

    def on_command(self, name: str, argument: Any) -> Any:
        assert isinstance(argument, Returned if name == "returned" else Raised)
        what = argument.value if isinstance(argument, Returned) else f"{type(argument.error).__name__}"
        self.answers.append((name, argument.id, what))
        return [Decide(self.view())] if len(self.answers) == self.enough else []

    def view(self) -> Any:
        return tuple(self.answers) if len(self.answers) >= self.enough else None


class Calls(Pattern):
    """A pattern whose machines call functions."""

    name = "calls"

    def __init__(self, function: Callable[..., Any], *effects: Any, enough: int = 1, **timers: Any) -> None:
        self.function, self.effects, self.enough, self.timers = function, effects, enough, timers

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Any:
        return Caller(self.effects, self.enough, self.timers)

    def functions(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Any:
        return {"work": self.function}


def _run(function: Callable[..., Any], *effects: Any, agents: Any = ("a",), **options: Any) -> Outcome:
    return make_session(agents=list(agents), pattern=Calls(function, *effects, **options)).run()


def _call(*arguments: Any, id: str = "one") -> Call:
    return Call(id, "work", arguments)


# -- what comes of a call --------------------------------------------------------------------------------------------------


def test_a_plain_function_answers():
    assert _run(lambda number: number + 1, _call(1)).output == (("returned", "one", 2),)


def test_an_async_function_takes_its_virtual_time():
    async def slow(number: int) -> int:
        await asyncio.sleep(7)
        return number + 1

    outcome = _run(slow, _call(1))
    assert outcome.output == (("returned", "one", 2),)
    assert outcome.duration == 7


def test_what_is_awaitable_is_awaited():
    async def slow() -> str:
        return "awaited"

    assert _run(lambda *_: slow(), _call()).output == (("returned", "one", "awaited"),)


def test_what_a_function_raises_is_told_to_the_machine():
    def broken() -> None:
        raise LookupError("no")

    async def broken_later() -> None:
        await asyncio.sleep(1)
        raise KeyError("later")

    assert _run(broken, _call()).output == (("raised", "one", "LookupError"),)
    assert _run(broken_later, _call()).output == (("raised", "one", "KeyError"),)


def test_calls_go_on_side_by_side_and_answer_in_their_own_time():
    async def slow(seconds: int) -> int:
        await asyncio.sleep(seconds)
        return seconds

    outcome = _run(slow, _call(2, id="x"), _call(1, id="y"), enough=2)
    assert outcome.output == (("returned", "y", 1), ("returned", "x", 2))
    assert outcome.duration == 2


def test_a_cancelled_call_is_heard_of_no_more_and_can_clean_up():
    cleaned: list[str] = []

    async def slow() -> str:
        try:
            await asyncio.sleep(10)
        finally:
            cleaned.append("up")
        return "too late"

    effects = (_call(), SetTimer("cancel", 1_000 * MS), SetTimer("done", 20_000 * MS))
    outcome = _run(slow, *effects, enough=99, cancel=[CancelCall("one"), CancelCall("unheard of")])
    assert outcome.output == ()
    assert cleaned == ["up"]


def test_a_call_under_an_id_that_is_under_way_replaces_it():
    async def slow(word: str) -> str:
        await asyncio.sleep(10)
        return word

    outcome = _run(slow, _call("first"), SetTimer("again", 1_000 * MS), again=[_call("second")])
    assert outcome.output == (("returned", "one", "second"),)
    assert outcome.duration == 11


def test_a_crash_ends_the_calls_and_the_next_life_calls_anew():
    begun: list[float] = []

    async def slow(agent: SimulatedAgent) -> str:
        begun.append(agent.session.now)
        await asyncio.sleep(10)
        return "done"

    async def scenario(session: Session) -> None:
        await session.sleep(5)
        session.agents["a"].crash()
        await session.sleep(1)
        session.agents["a"].restart()
        await session.sleep(20)

    outcome = make_session(agents=["a"], pattern=Calls(slow, _call())).run(scenario)
    assert begun == [0, 6]
    assert outcome.output == (("returned", "one", "done"),)


# -- what a function is given ----------------------------------------------------------------------------------------


def test_arguments_and_answers_are_snapshots():
    given: list[Any] = []
    mine = {"list": [1]}

    def keep(value: Any) -> Any:
        given.append(value)
        value["list"].append(2)
        return value

    outcome = _run(keep, _call(mine))
    assert mine == {"list": [1]}
    given[0]["list"].append(3)
    assert outcome.output == (("returned", "one", {"list": [1, 2]}),)


def test_a_reference_becomes_the_agent():
    def name_of(agent: SimulatedAgent) -> str:
        return f"{type(agent).__name__} {agent.name}"

    assert _run(name_of, _call(AgentRef("b")), agents="ab").output == (
        ("returned", "one", "SimulatedAgent b"),
    )


def test_a_function_that_takes_one_argument_more_is_given_its_own_agent_first():
    def work(agent: SimulatedAgent, item: str) -> str:
        return f"{agent.name} does {item}"

    outcome = _run(work, _call("this"))
    assert outcome.output == (("returned", "one", "a does this"),)


def _two(one: Any, other: Any) -> None: ...
def _default(one: Any, other: Any = None) -> None: ...
def _any(*arguments: Any) -> None: ...
def _keyword(one: Any, *, other: Any) -> None: ...


class _Bound:
    def method(self, one: Any) -> None: ...
    def __call__(self, one: Any, other: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "given", "takes"),
    [
        (_two, 1, True), (_two, 2, False), (_two, 0, False), (_default, 1, False), (_default, 0, True),
        (_any, 1, False), (_keyword, 1, False), (_keyword, 0, True), (_Bound().method, 0, True),
        (_Bound().method, 1, False), (_Bound(), 1, True), (print, 0, False), (max, 1, False), (dict.fromkeys, 1, False),
    ],
)  # fmt: skip
def test_which_functions_take_one_more(function: Callable[..., Any], given: int, takes: bool):
    assert _takes_one_more(function, given) is takes


# -- around it -----------------------------------------------------------------------------------------------------------


def test_the_run_does_not_end_while_a_function_is_under_way():
    async def slow() -> str:
        await asyncio.sleep(3600)
        return "at last"

    assert _run(slow, _call()).output == (("returned", "one", "at last"),)


def test_a_deadlock_names_the_call_and_what_it_waits_for():
    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError) as caught:
        _run(stuck, _call())
    assert "a runs 'a work one' of the pattern, which waits: " in str(caught.value)


def test_functions_may_send_messages_and_write_state():
    async def work(agent: SimulatedAgent) -> Any:
        agent.state.set(f"done.{agent.name}", True)
        if agent.name == "a":
            return await agent.request("b", "ping", timeout=5)
        message = await agent.receive(timeout=5)
        await agent.reply(message, "pong")
        return "pong"

    outcome = _run(work, _call(), agents="ab")
    assert outcome.output == (("returned", "one", "pong"),)
    assert outcome.views is not None
    assert outcome.converged


def test_a_call_that_the_pattern_does_not_know_fails_the_run():
    with pytest.raises(AgentError, match="unknown function of the pattern 'play'.*Known: 'work'"):
        _run(lambda: None, Call("one", "play"), SetTimer("done", 1_000 * MS), enough=99)

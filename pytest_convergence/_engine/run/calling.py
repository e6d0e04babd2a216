"""Runs the user's functions that a pattern's machine calls: each is a task in the present life of its agent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.base.effects import RAISED, RETURNED, AgentRef, Call, Raised, Returned
from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.sim.tasks import WorldTask, cancel
from pytest_convergence.errors import unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["AgentCalls"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@final
class AgentCalls:
    """The calls of one agent's protocol.

    Attributes:
        tasks: those under way, by their id.
    """

    __slots__ = ("_agent", "_conduct", "_functions", "tasks")

    def __init__(
        self, conduct: Conduct, agent: SimulatedAgent, functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._conduct = conduct
        self._agent = agent
        self._functions = functions
        self.tasks: dict[str, WorldTask] = {}

    def start(self, call: Call, answer: Callable[[str, Any], None]) -> None:
        """Run the function; it takes its first step after the present one.

        Raises:
            ConvergenceUsageError: the pattern has no such function.
        """
        if call.function not in self._functions:
            raise unknown_name("function of the pattern", call.function, self._functions)
        self.cancel(call.id)
        conduct = self._conduct
        node = conduct.fabric.nodes[self._agent.name]
        task = conduct.spawn(node, self._run(call, answer), f"{self._agent.name} {call.function} {call.id}")
        self.tasks[call.id] = task

    def cancel(self, id: str) -> None:
        """Cancel a call, and hear no more of it."""
        task = self.tasks.pop(id, None)
        if task is not None:
            cancel(task)

    def forget(self) -> None:
        """The agent has crashed, and its calls with it: their code will never run again."""
        self.tasks.clear()

    async def _run(self, call: Call, answer: Callable[[str, Any], None]) -> None:
        task = asyncio.current_task()
        try:
            value = self._function(call)
            if inspect.isawaitable(value):
                value = await value
            command, said = RETURNED, Returned(call.id, snapshot(value))
        except Exception as error:
            command, said = RAISED, Raised(call.id, error)  # type: ignore[assignment]
        if self.tasks.get(call.id) is task:
            del self.tasks[call.id]
            answer(command, said)

    def _function(self, call: Call) -> Any:
        function = self._functions[call.function]
        agents = self._agent.session.agents
        arguments = [
            agents[each.name] if isinstance(each, AgentRef) else snapshot(each) for each in call.arguments
        ]
        if _takes_one_more(function, len(arguments)):
            arguments.insert(0, self._agent)
        return function(*arguments)


def _takes_one_more(function: Callable[..., Any], given: int) -> bool:
    """Whether ``function`` needs exactly one positional argument more than is ``given``."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return False
    positional = [each for each in parameters if each.kind in _POSITIONAL]
    return sum(each.default is each.empty for each in positional) == given + 1

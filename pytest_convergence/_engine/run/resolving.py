"""What happens in a run when a replica meets a conflict: it is noted, handlers hear of it, and others are asked.

1. Each replica that meets a conflict writes that to the trace, with the conflict itself: properties are judged on it.
2. Handlers of the test hear of each conflict once when it is met, and once more whenever it has grown or was settled,
   however many replicas see that. What a handler raises fails the run.
3. Where the plan gives a conflict to arbitration or voting, a settling machine is hosted on the agent, on a channel of its
   own. It is made when the agent first needs it, so sessions without such conflicts pay nothing.
"""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import InFlight
from pytest_convergence._engine.patterns.settlement import Settlement
from pytest_convergence._engine.run.calling import AgentCalls
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.state.conflicts import Conflict

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Resolving"]

_CHANNEL: Final = "conflict"


@final
class Resolving:
    """The conflicts of one run."""

    __slots__ = ("_calls", "_conduct", "_detected", "_heard", "_hosts", "_names", "_resolved")

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._names = tuple(conduct.session.agents)
        self._hosts: dict[str, MachineHost] = {}
        self._calls: dict[str, AgentCalls] = {}
        self._heard: set[tuple[str, str]] = set()
        self._detected: set[str] = set()
        self._resolved: set[str] = set()

    def met(self, name: str, conflict: Conflict) -> None:
        """A replica met a conflict, or knows more about one."""
        conduct = self._conduct
        if conduct.is_over:
            return
        fabric = conduct.fabric
        node = fabric.nodes[name]
        detail = {"path": conflict.path, "conflict": str(conflict), "report": conflict}
        fabric.note("conflict", node, detail)
        if conflict.id not in self._detected:
            self._detected.add(conflict.id)
            fabric.note("observe", node, {"fact": "conflict_detected", "id": conflict.id})
        if conflict.resolution is not None and conflict.id not in self._resolved:
            self._resolved.add(conflict.id)
            fabric.note("observe", node, {"fact": "conflict_resolved", "id": conflict.id})
        self._tell_handlers(conflict)
        if conduct.session.agents[name].state.court.plan.asks:
            self._host(name).command("conflict", conflict)

    # -- handlers ------------------------------------------------------------------------------------------------------

    def _tell_handlers(self, conflict: Conflict) -> None:
        handlers = self._conduct.session.conflict_handlers
        stage = (conflict.id, repr(conflict.resolution))
        if not handlers or stage in self._heard:
            return
        self._heard.add(stage)
        for handler in tuple(handlers):
            try:
                answer = handler(conflict.copied())
            except Exception as error:  # the test's own function: its error is the test's error
                self._conduct.fail(error)
                return
            if inspect.isawaitable(answer):
                conduct = self._conduct
                task = conduct.spawn(conduct.scenario_node, _wait(answer), f"handler of {conflict.path}")
                task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._conduct.fail(error)

    # -- machines ------------------------------------------------------------------------------------------------------

    def _host(self, name: str) -> MachineHost:
        host = self._hosts.get(name)
        if host is None:
            conduct = self._conduct
            agent = conduct.session.agents[name]
            node = conduct.fabric.nodes[name]
            for other in self._names:  # be ready for the first message
                conduct.fabric.nodes[other].receivers.setdefault(
                    _CHANNEL, partial(self._first_message, other)
                )
            host = self._hosts[name] = MachineHost(
                node,
                _CHANNEL,
                lambda: Settlement(agent.state, self._names),
                rank=self._names.index(name),
                ranks=len(self._names),
                failed=conduct.machine_failed,
                changed=conduct.views_changed,
            )
            functions = Settlement(agent.state, self._names).functions()
            calls = self._calls[name] = AgentCalls(conduct, agent, functions)
            host.calls = calls
            node.on_crash += (calls.forget,)
            host.start()
        return host

    def _first_message(self, name: str, message: InFlight) -> None:
        self._host(name).on_message(message)

    # -- what the conduct asks -----------------------------------------------------------------------------------------

    def is_waiting(self) -> bool:
        """Whether an answer is still to be expected: from somebody alive who can be reached, and not asked in vain."""
        return any(
            self._is_reachable(name, judge)
            for name, machine in self._machines()
            for judge in machine.waits_on()
        )

    def is_busy(self) -> bool:
        """Whether somebody who could answer a question is alive and can be reached."""
        return any(
            self._is_reachable(name, judge)
            or any(other.knows(key) and self._is_reachable(name, whose) for whose, other in self._machines())
            for name, machine in self._machines()
            for key, judge in machine.unanswered()
        )

    def _machines(self) -> list[tuple[str, Settlement]]:
        found: list[tuple[str, Any]] = [(name, host.machine) for name, host in self._hosts.items()]
        return [(name, machine) for name, machine in found if machine is not None]

    def _is_reachable(self, name: str, other: str) -> bool:
        fabric = self._conduct.fabric
        life = fabric.nodes[other].life
        return life.alive and not life.holds and (name == other or fabric.connected(name, other))


async def _wait(answer: Any) -> None:
    await answer

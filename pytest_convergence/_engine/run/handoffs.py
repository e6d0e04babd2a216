"""Hand-offs in a session: brings the machines of :mod:`..patterns.handoff` and the agents' code together.

Nothing of this exists in a run until some agent hands something off, or says that it takes work: then every agent gets its
machine, and the run is judged by the hand-off properties from there on.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.handoff import HANDOFF_PROPERTIES
from pytest_convergence._engine.check.registry import find_property
from pytest_convergence._engine.patterns.handoff import HandoffTiming
from pytest_convergence._engine.run.agent_handoffs import AgentHandoffs
from pytest_convergence._engine.run.fencing import FencedResource
from pytest_convergence._engine.run.handing import HandoffStats
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence.errors import AgentCrashedError, ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.conduct import Conduct
    from pytest_convergence._engine.run.session import Session

__all__ = ["Handoffs"]

_PATIENCE_LEASES: Final = 100
"""For how many leases without any progress a run that is idle otherwise waits for a recovery."""

_ENDS: Final = {
    "handoff_completed": "transferred",
    "handoff_refused": "refused",
    "handoff_expired": "expired",
}


@final
class Handoffs:
    """The hand-offs of a session: ``session.handoffs``.

    Attributes:
        version: a number that grows with everything that happens to a work.
    """

    __slots__ = (
        "_agents",
        "_begun",
        "_ended",
        "_progress",
        "_resources",
        "_session",
        "_since_ns",
        "_wanted",
        "conduct",
        "next_ticket",
        "next_work",
        "timing",
        "version",
    )

    conduct: Conduct

    def __init__(self, session: Session) -> None:
        self._session = session
        self._agents: dict[str, AgentHandoffs] = {}
        self._wanted = False
        self._begun: dict[str, tuple[int, str]] = {}
        self._ended: list[tuple[str, str, float]] = []
        self._resources: dict[str, FencedResource] = {}
        self._progress = -1
        self._since_ns = 0
        self.next_ticket = count(1).__next__
        self.next_work = count(1).__next__
        self.timing: HandoffTiming | None = None
        self.version = 0

    def of(self, agent: SimulatedAgent) -> AgentHandoffs:
        """Return the part of one agent."""
        found = self._agents.get(agent.name)
        if found is None:
            found = self._agents[agent.name] = AgentHandoffs(self, agent)
        return found

    # -- the run -------------------------------------------------------------------------------------------------------

    def begin(self, conduct: Conduct) -> None:
        """The run begins: so do the machines, if somebody has already said that it takes work."""
        self.conduct = conduct
        if self._wanted:
            self._start()

    def begun(self, what: str) -> Conduct:
        """Return the run.

        Raises:
            ConvergenceUsageError: there is none yet.
        """
        if not hasattr(self, "conduct"):
            raise ConvergenceUsageError(
                f"no agent can {what} before the session runs; do it in a behaviour or in the scenario that you pass to "
                "session.run(…)."
            )
        return self.conduct

    def wake(self) -> None:
        """Hand-offs happen in this session."""
        self._wanted = True
        if self.timing is None and hasattr(self, "conduct"):
            self._start()

    def _start(self) -> None:
        conduct = self.conduct
        longest_ns = conduct.greatest_delay_ns()
        base = HandoffTiming()
        self.timing = HandoffTiming(
            retry_ns=max(base.retry_ns, 3 * longest_ns),
            lease_ns=max(base.lease_ns, 10 * longest_ns),
            step_ns=max(base.step_ns, 2 * longest_ns),
        )
        conduct.judge.watch(tuple(map(find_property, HANDOFF_PROPERTIES)))
        conduct.fabric.watch(("observe",), self._note)
        for agent in self._session.agents.values():
            self.of(agent)
        for name in self._session.agents:
            self._agents[name].begin(conduct)

    def _note(self, event: TraceEvent) -> None:
        detail = event.detail
        if "task" not in detail:
            return
        self.version += 1
        fact = detail["fact"]
        if fact == "handoff_requested":
            self._begun.setdefault(detail["id"], (event.at_ns, str(detail["reason"])))
        elif fact in _ENDS:
            begun = self._begun.pop(detail["id"], None)
            if begun is not None:
                seconds = detail.get("seconds", (event.at_ns - begun[0]) / NS_PER_SECOND)
                self._ended.append((begun[1], _ENDS[fact], seconds))

    def is_idle(self, name: str) -> bool:
        """Whether the agent waits in ``async for … in agent.handoffs`` for work to come."""
        agent = self._agents.get(name)
        return agent is not None and agent.queue.is_idle

    def is_busy(self) -> bool:
        """Whether upkeep alone may still bring something about that somebody waits for, and has not been idle for long."""
        if self.timing is None or not self._is_unsettled():
            self._progress = -1
            return False
        now_ns = self.conduct.world.now_ns
        if self._progress != self.version:
            self._progress, self._since_ns = self.version, now_ns
        return now_ns - self._since_ns < _PATIENCE_LEASES * self.timing.lease_ns

    def _is_unsettled(self) -> bool:
        nodes = self.conduct.fabric.nodes
        dead = {name for name in self._agents if not nodes[name].life.alive}
        for agent in self._agents.values():
            machine = agent.machine()
            if agent.is_waiting or (machine is not None and (machine.is_busy or machine.guards_any_of(dead))):
                return True
        return False

    # -- resources -----------------------------------------------------------------------------------------------------

    def resource(self, name: str) -> FencedResource:
        """Return the guarded resource of that name."""
        if not isinstance(name, str) or not name:
            raise ConvergenceUsageError(f"a resource needs a name, not {name!r}.")
        found = self._resources.get(name)
        if found is None:
            found = self._resources[name] = FencedResource(name, self._accessed)
        return found

    def _accessed(self, resource: str, task: str, token: Any, stale: bool) -> str | None:
        conduct = self.begun("use a resource")
        life = OWNER.get()
        node = conduct.scenario_node if life is None else life.node
        if life is not None and not life.alive:
            raise AgentCrashedError(f"code of agent {node.name!r} uses a resource, but its life has crashed.")
        self.wake()
        fact = "access_refused" if stale else "access"
        conduct.fabric.note(
            "observe", node, {"fact": fact, "resource": resource, "task": task, "token": token}
        )
        return None if node is conduct.scenario_node else node.name

    # -- what tests ask ------------------------------------------------------------------------------------------------

    def stats(self) -> HandoffStats:
        """Return the numbers of the hand-offs so far."""
        return HandoffStats.of(self._ended, pending=len(self._begun))

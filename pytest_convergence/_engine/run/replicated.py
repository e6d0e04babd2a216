"""The replicated log of a session, for whoever drives the world or acts as an agent: ``session.log``.

A proposal or a read is a command to the protocol of one agent, which brings it before the leader. Nothing here goes past
the protocol: what comes back is what the agent that was asked has applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.patterns.raft_log import LogEntry
from pytest_convergence._engine.patterns.raft_replication import PROPOSE, READ, Proposal, RaftReplica
from pytest_convergence._engine.run.patience import PATIENCE_SECONDS, within
from pytest_convergence.errors import AgentCrashedError, ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.session import Session

__all__ = ["ReplicatedLog", "led_term"]

_LOST: Final = object()


def led_term(session: Session, name: str) -> int | None:
    """Return the term in which an agent holds itself to lead; ``None`` while it does not, or where there are no terms."""
    conduct = session._conduct
    if conduct is None or session.pattern is None or not session.agents[name].is_alive:
        return None
    view = conduct.cast.protocol_view(name)
    if view is None or session.pattern.leader(view[0]) != name:
        return None
    return getattr(view[0], "term", 0) or None


@final
class ReplicatedLog:
    """The log that a session's agents replicate, with ``pattern=LeaderFollower(replicate=True)``."""

    __slots__ = ("_count", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._count = 0

    async def propose(
        self,
        command: Any,
        *,
        via: SimulatedAgent | str | None = None,
        timeout: float | None = PATIENCE_SECONDS,
    ) -> LogEntry:
        """Have a command appended to the log, once, and wait until the agent that was asked has applied it.

        Args:
            command: plain data, not ``None``.
            via: the agent that is asked. By default whoever leads, and after it is lost, whoever leads then.
            timeout: virtual seconds; ``None`` for as long as the session may take.

        Returns:
            Where the command stands in the log.

        Raises:
            TimeoutError: it was not committed in time; says who was asked and whom that one can reach. It may be later:
                nobody can tell.
            AgentCrashedError: ``via`` has crashed. Its command may be committed nevertheless.
            ConvergenceUsageError: the session has no replicated log, there is no such agent, or the command is ``None``.
        """
        if command is None:
            raise ConvergenceUsageError(
                "None cannot be proposed: it stands for 'no command'. Propose another value."
            )
        id = self._next_id("proposal")
        entry: LogEntry = await self._ask(PROPOSE, id, Proposal(id, snapshot(command)), via, timeout)
        return entry

    async def read(
        self, *, via: SimulatedAgent | str | None = None, timeout: float | None = PATIENCE_SECONDS
    ) -> Any:
        """Read what the log has come to; every command that was committed before is in it (a linearizable read).

        The agent that is asked learns from the leader how far the log is committed, and the leader confirms that it
        leads, by a quorum or by its lease.

        Args:
            via: the agent that is asked; by default whoever leads.
            timeout: virtual seconds; ``None`` for as long as the session may take.

        Returns:
            The state: the tuple of the commands, or what the pattern's ``apply`` made of them.

        Raises:
            TimeoutError: nobody could confirm it in time; says who was asked and whom that one can reach.
            AgentCrashedError: ``via`` has crashed.
            ConvergenceUsageError: the session has no replicated log, or there is no such agent.
        """
        id = self._next_id("read")
        return await self._ask(READ, id, id, via, timeout)

    def committed(self, agent: SimulatedAgent | str) -> tuple[LogEntry, ...]:
        """Return the commands that an agent has applied, oldest first; none while it is crashed.

        Raises:
            ConvergenceUsageError: the session has no replicated log, or there is no such agent.
        """
        replica = self._replica(self._agent(agent))
        return () if replica is None else tuple(replica.commands)

    def holds_lease(self, agent: SimulatedAgent | str) -> bool:
        """Whether an agent leads and knows, by a lease, that nobody else can (with ``lease=True``).

        Raises:
            ConvergenceUsageError: the session has no replicated log, or there is no such agent.
        """
        replica = self._replica(self._agent(agent))
        return replica is not None and replica.holds_lease

    # -- asking --------------------------------------------------------------------------------------------------------

    def _next_id(self, what: str) -> str:
        self._count += 1
        return f"{what} {self._count}"

    def _agent(self, agent: SimulatedAgent | str) -> SimulatedAgent:
        name = agent if isinstance(agent, str) else agent.name
        if name not in self._session.agents:
            raise unknown_name("agent", name, self._session.agents)
        return self._session.agents[name]

    def _replica(self, agent: SimulatedAgent) -> RaftReplica | None:
        """The machine of an agent's present life, ``None`` while it is crashed."""
        host = self._session._running().cast.hosts.get(agent.name)
        if host is None or not (host.machine is None or isinstance(host.machine, RaftReplica)):
            raise ConvergenceUsageError(
                f"session {self._session.name!r} has no replicated log at {agent.name!r}; mark the test with "
                "pattern=LeaderFollower(replicate=True), and let the agent run the pattern's own protocol."
            )
        return host.machine

    async def _ask(
        self, command: str, id: str, argument: Any, via: SimulatedAgent | str | None, timeout: float | None
    ) -> Any:
        chosen = None if via is None else self._agent(via)
        for agent in self._session.agents.values() if chosen is None else (chosen,):
            self._replica(agent)  # says at once what is wrong with the session
        try:
            async with within(self._session._running().world, timeout):
                while True:
                    answer = await self._ask_once(command, id, argument, chosen)
                    if answer is not _LOST:
                        return answer
        except TimeoutError:
            raise TimeoutError(
                f"the {id!r} was not answered within {timeout:g} virtual seconds: {self._awaited(chosen)}."
            ) from None

    def _awaited(self, chosen: SimulatedAgent | None) -> str:
        """Say who was asked, and what that one waits for."""
        session = self._session
        asked = chosen or session.leader
        if asked is None:
            return "no agent leads"
        connected = session._running().fabric.connected
        others = [name for name in session.agents if name != asked.name]
        reached = [name for name in others if session.agents[name].is_alive and connected(asked.name, name)]
        needed = 0 if session.pattern is None else session.pattern.quorum_of(tuple(session.agents))
        whom = f"{', '.join(reached)} of the others" if reached else "nobody else"
        return (
            f"{asked.name!r} was asked, which reaches {whom}, and needs a leader that a quorum "
            f"({needed} of {len(session.agents)}) confirms"
        )

    async def _ask_once(self, command: str, id: str, argument: Any, chosen: SimulatedAgent | None) -> Any:
        session = self._session
        conduct = session._running()
        agent = chosen or await session.wait_for_leader()
        node = conduct.fabric.nodes[agent.name]
        await conduct.until(lambda: not node.is_paused)
        replica = self._replica(agent)
        if replica is None:
            if chosen is None:
                return _LOST
            raise AgentCrashedError(
                f"agent {agent.name!r} has crashed and cannot {command}; call restart() first."
            )
        conduct.cast.hosts[agent.name].command(command, argument)

        def answered() -> tuple[Any] | None:
            if conduct.cast.hosts[agent.name].machine is not replica:
                return (_LOST,)
            found = replica.answer(id)
            if found is None and chosen is None and session.leader not in (agent, None):
                return (_LOST,)
            return found

        answer = await conduct.until(answered)
        if answer[0] is _LOST and chosen is not None:
            raise AgentCrashedError(f"agent {agent.name!r} crashed before it could answer the {id!r}.")
        return answer[0]

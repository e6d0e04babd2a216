"""Where a session stands: what criteria, properties and handlers may ask it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.reports import describe_agents
from pytest_convergence._engine.run.settling import largest_group
from pytest_convergence._engine.state.conflicts import Conflict, distinct_conflicts

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Standing"]


class Standing:
    """The questions that a session answers at any time, before, during and after its run."""

    agents: Mapping[str, SimulatedAgent]
    has_replicas = False
    """Whether any agent has a replica of the shared state: most sessions share none, and are not to pay for it."""
    _conduct: Conduct | None

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Every conflict so far, once, however many replicas saw it."""
        if not self.has_replicas:
            return ()
        return distinct_conflicts(
            [
                conflict
                for agent in self.agents.values()
                if agent._replica is not None
                for conflict in agent._replica.conflicts
            ]
        )

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What ``run`` was given for the pattern, such as ``proposals``; empty before the run."""
        return {} if self._conduct is None else dict(self._conduct.inputs)

    def agreement(self) -> float:
        """The share of live agents in the largest group with equal views, 0 to 1."""
        if self._conduct is None:
            return 0.0
        views = self._conduct.views()
        return largest_group(views) / len(views) if views else 1.0

    @property
    def result(self) -> Any:
        """What the live agents hold to be agreed, by the session's pattern; ``None`` if nothing, or without a pattern."""
        conduct = self._conduct
        return None if conduct is None else conduct.judge.agreed_output()

    @property
    def all_returned(self) -> bool:
        """Whether the behaviour of every live agent has returned."""
        conduct = self._conduct
        return conduct is not None and all(
            name in conduct.results or not self.agents[name].is_alive for name in conduct.cast.tasks
        )

    @property
    def messages_lost(self) -> int:
        """How many messages were lost so far."""
        return self._conduct.fabric.lost if self._conduct is not None else 0

    def count_of(self, number: str) -> float:
        """Return one of the numbers that are counted during the run, by its name in ``outcome.metrics``."""
        return 0 if self._conduct is None else self._conduct.judge.counting.present(number)

    def describe_agents(self) -> str:
        """Say what each agent holds at present, for the message of a property that does not hold."""
        return describe_agents(self.agents)

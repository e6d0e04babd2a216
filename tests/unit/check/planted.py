"""Patterns with a planted bug: the reference pattern, with another machine in the place of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_convergence._engine.base.effects import Machine
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence.errors import PropertyViolation, RunFailure

MachineOf = Callable[[str, Sequence[str], Mapping[str, Any]], Machine]


@dataclass(frozen=True)
class Planted(Pattern):
    """``inner`` with machines made by ``make``."""

    inner: Pattern
    make: MachineOf

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def properties(self) -> tuple[object, ...]:
        return self.inner.properties

    def validate(self, agents: Sequence[str]) -> None:
        self.inner.validate(agents)

    def quorum_of(self, agents: Sequence[str]) -> int:
        return self.inner.quorum_of(agents)

    def check_inputs(self, agents: Sequence[str], inputs: Mapping[str, Any]) -> None:
        self.inner.check_inputs(agents, inputs)

    def machine(self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]) -> Machine:
        return self.make(agent, agents, inputs)

    def functions(
        self, agent: str, agents: Sequence[str], inputs: Mapping[str, Any]
    ) -> Mapping[str, Callable[..., Any]]:
        return self.inner.functions(agent, agents, inputs)

    def output(self, views: Mapping[str, Any]) -> Any:
        return self.inner.output(views)

    def valid(self, value: Any, agents: Sequence[str], inputs: Mapping[str, Any]) -> bool:
        return self.inner.valid(value, agents, inputs)

    def leader(self, view: Any) -> str | None:
        return None


def broken(
    pattern: Pattern,
    agents: Sequence[str],
    inputs: Mapping[str, Any],
    seeds: int,
    *,
    network: str = "flaky",
    faults: Sequence[str] = ("crash", "partition"),
) -> Counter[str]:
    """Run under ``seeds`` seeds; return how many runs broke each property, or ended in another failure."""
    found: Counter[str] = Counter()
    for seed in range(seeds):
        session = ConvergenceEngine().create_session(
            f"seed {seed}",
            pattern=pattern,
            agents=list(agents),
            network=network,
            faults=list(faults),
            seed=seed,
            trace=False,
        )
        try:
            session.run(**inputs)
        except PropertyViolation as violation:
            found.update({each.property for each in violation.violations})
        except RunFailure as failure:
            found[type(failure).__name__] += 1
    return found

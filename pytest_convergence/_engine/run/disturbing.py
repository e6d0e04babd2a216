"""What the schedule of a run does by itself: plans for the steps of agents, partitions, skewed clocks, noise that aims.

Also where a seeded schedule *branches*: from an instant on it draws from another seed. A search goes on from where an
earlier run has met something new by taking that run's seed up to there, and another one from there on.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.base.choices import Choices, RecordingChoices
from pytest_convergence._engine.base.noise import STEADY, noise_of
from pytest_convergence._engine.base.survey import Survey
from pytest_convergence._engine.run.hosting import stream
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence._engine.sim.faults import SKEW, Partitions, StepPlan, end_outages, skew_offset_seconds
from pytest_convergence._engine.sim.freezing import Freeze
from pytest_convergence._engine.sim.isolating import Isolations
from pytest_convergence._engine.sim.targeting import Targeting

if TYPE_CHECKING:
    from pytest_convergence._engine.run.session import Session

__all__ = ["Disturbing"]


@final
class Disturbing:
    """The schedule at work on one run of one session.

    Attributes:
        kinds: the kinds of faults that it may inject.
        noise: how it departs from calm.
        scheduled: what decides, as the schedule has it.
        choices: the same, recorded if the session is.
    """

    __slots__ = (
        "_aim",
        "_fabric",
        "_isolations",
        "_partitions",
        "_session",
        "_stream",
        "choices",
        "kinds",
        "noise",
        "scheduled",
    )

    def __init__(self, session: Session) -> None:
        schedule = session.schedule
        self._session = session
        self.kinds = frozenset(session.options.get("faults")) | frozenset(schedule.faults)
        self.noise = STEADY
        if schedule.kind == "seeded" and schedule.noise != "uniform":
            # Drawn from a stream of its own: the same seed chooses the same under every profile.
            self.noise = noise_of(schedule.noise, random.Random(f"noise/{schedule.seed}"))
        self._stream: random.Random | None = None
        self._aim: random.Random | None = None  # of noise that aims
        self.scheduled: Choices = schedule.choices(self._make_stream)
        self.choices = self.scheduled
        if session.is_recorded:
            survey = Survey() if session.is_surveyed else None
            self.choices = session.recorded = RecordingChoices(self.scheduled, survey)
        self._isolations = Isolations(list(session.agents))
        self._partitions: Partitions | None = None
        self._fabric: Fabric | None = None

    def _make_stream(self, seed: int) -> random.Random:
        self._stream = stream(seed)
        return self._stream

    def step_plan(self, name: str) -> StepPlan | None:
        """Return what is in store for an agent's steps; nothing under a calm schedule."""
        if self._session.schedule.kind == "calm":
            return None
        recorded = self._session.recorded
        survey = None if recorded is None else recorded.survey
        return StepPlan(self.choices, name, self.kinds, self.noise, self._isolations, survey)

    def skew_clocks(self) -> None:
        """Set the agents' clocks off, if that is among the faults."""
        if "skew" in self.kinds:
            for name, agent in self._session.participants.items():
                option = self.choices.every(f"skew {name}", SKEW)()
                if option:
                    agent.skew_clock(offset=skew_offset_seconds(option))

    def begin(self, fabric: Fabric) -> None:
        """Set going what is not bound to the steps of an agent."""
        self._fabric = fabric
        names = list(self._session.participants)
        schedule = self._session.schedule
        if "partition" in self.kinds:
            self._partitions = Partitions(fabric, names, self.noise, listed=schedule.kind == "listed")
        if self.noise.targets:
            self._aim = random.Random(f"target/{schedule.seed}")
            Targeting(fabric, names, self.kinds, self._partitions, self._aim)
        for at_ns, seed in schedule.branches:
            fabric.world.inert += 1
            fabric.world.at_background(at_ns, self._branch, seed)

    def _branch(self, seed: Any) -> None:
        fabric = self._fabric
        assert fabric is not None
        fabric.world.inert -= 1
        if self._stream is None or fabric.closed:
            return
        self._stream.setstate(stream(seed).getstate())
        if self._aim is not None:
            self._aim.seed(f"target/{seed}")
        fabric.fates.draw_afresh()
        for node in fabric.nodes.values():
            if node.plan is not None:
                node.plan.plan_anew(node.life)

    def stop(self, fabric: Fabric) -> None:
        """The faults stop: partitions heal, crashed agents come back, paused ones go on, links deliver on time."""
        if self._partitions is not None:
            self._partitions.stop()
        self._isolations.stop()
        fabric.calm_down()
        frozen = self._frozen()
        end_outages(fabric)
        for name in frozen:
            fabric.nodes[name].crash()

    def _frozen(self) -> tuple[str, ...]:
        """Choose who stays down for good: of agents that may crash, as many as the pattern can do without."""
        session = self._session
        schedule, pattern = session.schedule, session.pattern
        if schedule.kind == "calm" or "crash" not in self.kinds or pattern is None:
            return ()
        if schedule.kind == "seeded" and not self.noise.freeze:
            return ()
        names = tuple(session.agents)
        most = pattern.dispensable(names)
        if not most:
            return ()
        domain = Freeze(names, most, self.noise.freeze or 0.2)
        return domain.group(self.choices.every("freeze", domain)())

"""A session: some agents working to a goal by a pattern, once."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, final

from pytest_convergence._engine.base.choices import RecordingChoices
from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.base.time import to_ns
from pytest_convergence._engine.base.trace import Trace
from pytest_convergence._engine.check.property import Property
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.conduct import Conduct
from pytest_convergence._engine.run.courier import Courier
from pytest_convergence._engine.run.fencing import FencedResource
from pytest_convergence._engine.run.goal import Goal, bounded
from pytest_convergence._engine.run.handlers import Handlers, Notice, Notifier, SessionEvent
from pytest_convergence._engine.run.handoffs import Handoffs
from pytest_convergence._engine.run.hosting import current_loop, run_in_world
from pytest_convergence._engine.run.hosts import Hosts, SimulatedHost
from pytest_convergence._engine.run.judging import raise_or_return
from pytest_convergence._engine.run.lifecycle import SessionState, advance
from pytest_convergence._engine.run.options import UNSET, SessionOptions, is_machine_class
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.patience import PATIENCE_SECONDS, within
from pytest_convergence._engine.run.progress import Iterations, Phase, PhaseScope, Progress
from pytest_convergence._engine.run.replicated import ReplicatedLog
from pytest_convergence._engine.run.snapshots import Snapshots
from pytest_convergence._engine.run.standing import Standing
from pytest_convergence._engine.run.stating import Stating
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence._engine.sim.plans import FaultPlan
from pytest_convergence._engine.sim.rules import NetworkControl
from pytest_convergence._engine.state.conflicts import Conflict
from pytest_convergence._engine.state.plan import as_plan
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence.errors import ConvergenceUsageError, RunFailure, unknown_name

__all__ = ["Session"]

Scenario = Callable[["Session"], Coroutine[Any, Any, Any]]

_LAST_WRITE: Final = as_plan("last-write")


@final
class Session(Standing, Stating, Hosts):
    """Agents, a network between them, and one run.

    Make one with the fixtures ``convergence_session`` or ``convergence_session_factory``, or with
    :meth:`ConvergenceEngine.create_session`.

    Attributes:
        name: what the session is called in reports.
        agents: name -> :class:`SimulatedAgent`, read-only, in the order in which they were named.
        goal: what the agents are to achieve, or ``None``.
        schedule: the schedule that the run follows.
        state: where the session stands.
        is_recorded, is_surveyed: whether the run is to record what its schedule chooses, and when; ``recorded`` holds that.
        watchers: are given the watchers of its fabric when it begins, and may add their own to them, by kind of event.
        takes_snapshots: whether what agents hold is to be kept after each step, for a report; ``snapshots`` holds that.
        horizon_ns: the virtual nanoseconds after which nobody wants to know what becomes of the run; 0 for none.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        name: str | None = None,
        seed_from: str | None = None,
        finished: Callable[[Session, Outcome], None] | None = None,
        handlers: Handlers | None = None,
    ) -> None:
        self.options = options
        self.name: str = name or options.get("name")
        self.state = SessionState.INITIALIZING
        self.pattern = options.pattern_object()
        self.behaviours: dict[str, Any] = options.agent_behaviours()
        self.protocols: dict[str, Any] = self._own_protocols()
        goal = options.get("goal")
        self.goal: Goal | None = Goal(goal) if isinstance(goal, str) else goal
        self._check_pattern()
        self.pattern = bounded(self.pattern, self.goal)
        self.initial_states = self._initial_states()
        self.schedule: Schedule = self._choose_schedule(seed_from or self.name)
        self.is_recorded = self.is_surveyed = False
        self.recorded: RecordingChoices | None = None
        self.watchers: list[Callable[[dict[str, list[Any]]], None]] = []
        self.takes_snapshots = False
        self.snapshots: Snapshots | None = None
        self.horizon_ns = 0
        self.properties: list[Property] = []
        self.conflict_handlers: list[Callable[[Conflict], Any]] = []
        self._finished_hook = finished
        self._notifier = Notifier(self, handlers)
        self._progress = Progress(self)
        self._conduct: Conduct | None = None
        self.outcome: Outcome | None = None
        self._resolve = _LAST_WRITE
        if options.resolve is not UNSET:
            self._resolve = as_plan(options.resolve).bound(tuple(self.behaviours))
        self.agents: Mapping[str, SimulatedAgent] = MappingProxyType(
            {agent: SimulatedAgent(self, agent) for agent in self.behaviours}
        )
        self._handoffs: Handoffs | None = None
        self._hosts: dict[str, SimulatedHost] = {}

    # -- parts that are made when somebody asks for them: most sessions need none ---------------------------------------

    @cached_property
    def network(self) -> NetworkControl:
        """Lays rules over the links: partitions, drops, delays."""
        return NetworkControl(self._fabric, lambda: self.participants)

    @property
    def handoffs(self) -> Handoffs:
        """The hand-offs of work; ``handoffs.stats()`` are their numbers."""
        handoffs = self._handoffs
        if handoffs is None:
            handoffs = self._handoffs = Handoffs(self)
            conduct = self._conduct
            if conduct is not None and conduct.has_begun:
                handoffs.begin(conduct)
        return handoffs

    @cached_property
    def courier(self) -> Courier:
        """Sends what a plain message does not carry."""
        return Courier(self)

    @cached_property
    def log(self) -> ReplicatedLog:
        """The replicated log, with ``pattern=LeaderFollower(replicate=True)``."""
        return ReplicatedLog(self)

    def _make_replica(self, name: str) -> Replica:
        self.has_replicas = True
        replica = Replica(name, now_ns=self._clock_of(name), resolve=self._resolve)
        conduct = self._conduct
        if conduct is not None and conduct.has_begun and not conduct.is_over:
            conduct.replicated().follow(name, replica)
        return replica

    # -- set-up --------------------------------------------------------------------------------------------------------

    def _check_pattern(self) -> None:
        if self.pattern is None:
            return
        if not self.behaviours:
            raise ConvergenceUsageError(
                f"the pattern {self.pattern.name!r} needs agents; say how many (agents=3) or name them "
                "(agents=['planner', 'coder'])."
            )
        self.pattern.validate(tuple(self.behaviours))

    def _own_protocols(self) -> dict[str, Any]:
        own = self.options.get("protocol")
        if own is None:
            return {}
        if self.pattern is None:
            raise ConvergenceUsageError(
                "protocol= takes the place of a pattern's reference protocol; name the pattern too, or give the behaviour "
                "to the agents: agents={'a': behaviour}."
            )
        given = own if isinstance(own, Mapping) else dict.fromkeys(self.behaviours, own)
        for name in given:
            if name not in self.behaviours:
                raise unknown_name("agent in protocol", name, self.behaviours)
            if self.behaviours[name] is not None and not is_machine_class(given[name]):
                raise ConvergenceUsageError(
                    f"agent {name!r} has two behaviours: one in agents= and one in protocol=. Leave one out."
                )
        return dict(given)

    def own_behaviour(self, name: str) -> Any:
        """Return the coroutine function that takes the place of the pattern's protocol for an agent, or ``None``."""
        own = self.protocols.get(name)
        return None if own is None or is_machine_class(own) else own

    def _initial_states(self) -> dict[str, Mapping[str, Any]]:
        states = self.options.get("states")
        if states is None:
            return {}
        given = dict(states.items() if hasattr(states, "items") else states)
        for name in given:
            if name not in self.behaviours:
                raise ConvergenceUsageError(
                    f"states names the agent {name!r}, but the agents are {', '.join(self.behaviours) or 'none'}; pass "
                    "agents=states.agents."
                )
        return given

    def _choose_schedule(self, seed_from: str) -> Schedule:
        options = self.options
        schedule: Schedule | FaultPlan | str | None = options.get("schedule")
        if isinstance(schedule, FaultPlan):
            return schedule.schedule(tuple(self.behaviours), seed=options.get("seed") or 0)
        if schedule is not None:
            return Schedule.parse(schedule) if isinstance(schedule, str) else schedule
        seed: int | None = options.get("seed")
        noise = options.get("noise") or "uniform"
        if seed is not None:
            return Schedule.seeded(seed, noise=noise)
        if Network.of(options.get("network")).is_harmless and not options.get("faults"):
            return Schedule.calm()
        seed = int.from_bytes(hashlib.sha256(seed_from.encode()).digest()[:4], "big")
        return Schedule.seeded(seed, noise=noise)

    def _clock_of(self, name: str) -> Callable[[], int]:
        def now_ns() -> int:
            conduct = self._conduct
            if conduct is None:
                return 0
            # Only writes ask for the time: a crashed agent does not write, and nobody does when the run is over.
            node = self.agents[name]._alive("write to its state")
            return node.clock.wall_ns(conduct.world.now_ns)

        return now_ns

    @property
    def seed(self) -> int | None:
        """The effective seed, ``None`` under a schedule that draws nothing from it."""
        return self.schedule.seed if self.schedule.kind == "seeded" else None

    # -- running -------------------------------------------------------------------------------------------------------

    def run(
        self, scenario: Scenario | None = None, *, timeout: float | None = None, **inputs: Any
    ) -> Outcome:
        """Run the session in a world of its own and return the outcome, converged or diverged.

        Args:
            scenario: ``async def scenario(session)``; drives the world. Its return ends the work.
            timeout: virtual seconds, instead of the session's own.
            inputs: what the pattern asks for, such as ``proposals={…}``.

        Raises:
            ConvergenceUsageError: the arguments are wrong, the session has run before, or a loop is running.
            AgentError: a behaviour raised.
            PropertyViolation: a property did not hold.
            DeadlockError: nothing can happen any more, and somebody still waits.
            BudgetExceeded: the run crossed a bound.
        """
        __tracebackhide__ = True
        if asyncio._get_running_loop() is not None:
            raise ConvergenceUsageError(
                "session.run() was called while an event loop is running; write `await session.execute(…)` instead."
            )
        self._check(scenario, inputs, timeout)
        main: Callable[[], Coroutine[Any, Any, Any]] = lambda: self._perform(scenario, timeout, inputs)  # noqa: E731
        conduct = self._run_alone(main)
        return raise_or_return(conduct)

    def _run_alone(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Conduct:
        try:
            conduct: Conduct = run_in_world(main, self.options, seed=self.schedule.seed)
        except RunFailure as failure:  # found by the world itself: a thread that was blocked
            failure.outcome = failure.outcome or self.outcome
            raise
        return conduct

    async def execute(
        self, scenario: Scenario | None = None, *, timeout: float | None = None, **inputs: Any
    ) -> Outcome:
        """The same as :meth:`run`, inside an ``async def`` test that carries the marker: shares its virtual time."""
        __tracebackhide__ = True
        self._check(scenario, inputs, timeout)
        conduct = await self._perform(scenario, timeout, inputs)
        return raise_or_return(conduct)

    def stepped(
        self, scenario: Scenario, inputs: dict[str, Any]
    ) -> Callable[[], Coroutine[Any, Any, Conduct]]:
        """Return the coroutine function of a run that is driven from outside, step by step."""
        self._check(scenario, inputs, None)
        return lambda: self._perform(scenario, None, inputs)

    def abandon(self) -> None:
        """Nobody is to be told how the run ends: it is cleared away unfinished."""
        self._finished_hook = None

    def _check(self, scenario: Scenario | None, inputs: Mapping[str, Any], timeout: float | None) -> None:
        if self.state is not SessionState.INITIALIZING:
            raise ConvergenceUsageError(
                f"session {self.name!r} has run already; a session runs once. Make another with "
                "convergence_session_factory(…) or engine.create_session(…)."
            )
        if scenario is not None and not inspect.iscoroutinefunction(scenario):
            raise ConvergenceUsageError(
                f"the scenario must be a coroutine function, `async def scenario(session): …`, not {scenario!r}."
            )
        if timeout is not None and to_ns(timeout, "timeout") == 0:
            raise ConvergenceUsageError(f"timeout must be greater than 0 seconds, not {timeout!r}.")
        if self.pattern is not None:
            self.pattern.check_inputs(tuple(self.agents), inputs)
        elif inputs:
            raise ConvergenceUsageError(
                f"run() was given {', '.join(sorted(inputs))}, but the session has no pattern that could take it."
            )

    async def _perform(
        self, scenario: Scenario | None, timeout: float | None, inputs: dict[str, Any]
    ) -> Conduct:
        loop = current_loop()
        if loop is None:
            raise ConvergenceUsageError(
                "session.execute() needs the simulated loop: mark the test with @pytest.mark.convergence, or call "
                "session.run() from a plain function."
            )
        self.state = advance(self.state, SessionState.COORDINATING)
        conduct = self._conduct = Conduct(self, loop, timeout, dict(inputs))
        self._notifier.begin()
        try:
            await conduct.conduct(self._work(scenario, inputs))
        finally:
            self.outcome = conduct.judge.outcome()
            self._notifier.end(conduct)
            if self._finished_hook is not None:
                self._finished_hook(self, self.outcome)
            conduct.cast.let_go()
        return conduct

    def _work(
        self, scenario: Scenario | None, inputs: Mapping[str, Any]
    ) -> Callable[[], Coroutine[Any, Any, Any]] | None:
        """Return the coroutine function whose return ends the work: the scenario, or the pattern's own task."""
        if scenario is not None:
            return lambda: scenario(self)
        if self.pattern is not None and self.pattern.name == "leader-follower":
            return lambda: self._lead(inputs.get("task"))
        return None

    async def _lead(self, task: Callable[..., Any] | None) -> Any:
        """Leader-follower without a scenario: wait for a leader, then let it do the task with its followers."""
        leader = await self.wait_for_leader()
        if task is None:
            return None
        followers = tuple(agent for agent in self.agents.values() if agent is not leader)
        result = task(leader, followers)
        return await result if inspect.isawaitable(result) else result

    def _move(self, to: SessionState) -> None:
        before, self.state = self.state, advance(self.state, to)
        self._notifier.moved(before)

    # -- for scenarios -------------------------------------------------------------------------------------------------

    def _running(self) -> Conduct:
        conduct = self._conduct
        if conduct is None:
            raise ConvergenceUsageError(
                f"session {self.name!r} is not running yet; do this in the scenario that you pass to session.run(…)."
            )
        return conduct

    def _fabric(self) -> Fabric:
        return self._running().fabric

    @property
    def trace(self) -> Trace:
        """What has happened so far."""
        return self._fabric().trace

    @property
    def now(self) -> float:
        """Virtual seconds since the world began."""
        return self._running().world.now_ns / 1e9

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` of virtual time pass."""
        to_ns(seconds, "seconds")
        await asyncio.sleep(seconds)

    async def finished(self) -> dict[str, Any]:
        """Wait until every behaviour has returned, crashed, or waits in its inbox with nothing left to happen.

        Returns what the behaviours returned so far, by agent.
        """
        conduct = self._running()
        await conduct.finished()
        return dict(conduct.results)

    def phase(self, name: str, *, timeout: float | None = None) -> PhaseScope:
        """Begin a phase of the work: ``async with session.phase("draft"): …``. It is traced, and listed in the outcome.

        Args:
            name: what it is called.
            timeout: virtual seconds that it may take; a :class:`TimeoutError` ends it then.
        """
        return PhaseScope(self._progress, name, timeout)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that have begun, in order."""
        return tuple(self._progress.phases)

    def iteration(self) -> int:
        """Begin an iteration of the work, and return its number, from 1.

        Raises:
            BudgetExceeded: the goal's ``max_iterations`` are used up.
        """
        self._running()
        return self._progress.iterate()

    def iterations(self) -> Iterations:
        """Go round until the criteria of the goal are met, or its ``max_iterations`` are used up.

        ``async for number in session.iterations(): …``. The criteria are judged between two iterations.
        """
        self._running()
        return Iterations(self)

    @property
    def goal_is_met(self) -> bool:
        """Whether the criteria of the goal are met at this moment; true without a goal."""
        return self.goal is None or self.goal.is_met(self.goal.judge(self))

    def on(self, event: SessionEvent | str, handler: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``handler(notice)`` whenever ``event`` happens to this session. What it raises fails the run.

        Returns:
            A function that takes the handler away again.

        Raises:
            ConvergenceUsageError: there is no such event, or the handler is not a plain function.
        """
        return self._notifier.add(event, handler)

    @property
    def leader(self) -> SimulatedAgent | None:
        """The agent that holds itself to be the leader, in the newest term; ``None`` if there is none."""
        return self._find_leader(None)

    def _find_leader(self, other_than: str | None) -> SimulatedAgent | None:
        if self._conduct is None or self.pattern is None:
            return None
        best: tuple[int, str] | None = None
        for name, view in self._conduct.protocol_views().items():
            if name != other_than and self.pattern.leader(view) == name:
                term = int(getattr(view, "term", 0))
                if best is None or term > best[0]:
                    best = (term, name)
        return None if best is None else self.agents[best[1]]

    async def wait_for_leader(
        self, *, other_than: SimulatedAgent | str | None = None, timeout: float | None = PATIENCE_SECONDS
    ) -> SimulatedAgent:
        """Wait until an agent holds itself to be the leader, and return it.

        Args:
            other_than: an agent that does not count, such as the one that was cut off.
            timeout: virtual seconds; an hour by default, ``None`` for as long as the session may take.

        Raises:
            TimeoutError: nobody led in time.
            ConvergenceUsageError: the session's pattern has no leaders.
        """
        conduct = self._running()
        if self.pattern is None or self.pattern.name != "leader-follower":
            raise ConvergenceUsageError(
                f"session {self.name!r} has no leaders to wait for; mark the test with pattern='leader-follower'."
            )
        but = other_than.name if isinstance(other_than, SimulatedAgent) else other_than
        if but is not None and but not in self.agents:
            raise unknown_name("agent", but, self.agents)
        try:
            async with within(conduct.world, timeout):
                leader: SimulatedAgent = await conduct.until(lambda: self._find_leader(but))
        except TimeoutError:
            which = f" other than {but!r}{', which leads,' if self._find_leader(None) else ''}" if but else ""
            raise TimeoutError(f"no leader{which} within {timeout:g} virtual seconds.") from None
        return leader

    def on_conflict(self, handler: Callable[[Conflict], Any]) -> None:
        """Call ``handler(conflict)``, plain or async, when a conflict is met, and again when it has grown or was settled.

        Once for each stage, however many replicas see it. What the handler raises fails the test.

        Raises:
            ConvergenceUsageError: the handler is not a function.
        """
        if not callable(handler):
            raise ConvergenceUsageError(f"on_conflict() takes a function of the conflict, not {handler!r}.")
        self.conflict_handlers.append(handler)

    def resource(self, name: str) -> FencedResource:
        """Return the guarded resource of that name, made at its first mention: it refuses tokens of former owners."""
        return self.handoffs.resource(name)

    def __repr__(self) -> str:
        return f"<Session {self.name!r}: {self.state.value}, {len(self.agents)} agents, {self.schedule}>"

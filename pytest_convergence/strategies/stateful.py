"""State machines of Hypothesis whose rules drive a session.

1. A machine makes one session. Its ``@initialize`` rules come first, in an order that Hypothesis chooses; one of them,
   ``begin``, is ours and draws the schedule. When all have run, the session begins.
2. Every rule and invariant is a step of the session's scenario (:mod:`pytest_convergence._engine.run.stepping`), so it may
   be a coroutine function. A step takes no virtual time but what it waits for: messages stay under way until a rule lets
   time pass. So what Hypothesis chooses *between* rules is chosen outside of any loop.
3. The session's properties are judged while it runs, whether it converged when the rules are over. Where Hypothesis
   abandons an example, the world is only cleared away.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)

from pytest_convergence._engine.base.schedule import Schedule
from pytest_convergence._engine.run.agent import SimulatedAgent
from pytest_convergence._engine.run.belonging import OWNING_TEST
from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.session import Session
from pytest_convergence._engine.run.stepping import SteppedRun
from pytest_convergence._engine.sim.plans import FaultPlan
from pytest_convergence._engine.sim.rules import Rule
from pytest_convergence.errors import ConvergenceUsageError, unknown_name
from pytest_convergence.strategies.schedules import schedules

__all__ = ["ConvergenceStateMachine"]

# What the decorators of hypothesis.stateful leave on a function.
_RULE: Final = "hypothesis_stateful_rule"
_INITIALIZE: Final = "hypothesis_stateful_initialize_rule"
_INVARIANT: Final = "hypothesis_stateful_invariant"

_CELLS: Final = 256
_WAITS: Final = st.integers(1, 10) | st.integers(1, 100) | st.integers(1, 2_000)
"""Milliseconds. What is worth hitting lasts some of them or some hundreds; which, nobody knows."""


def _own(function: Any) -> Any:
    """Mark a rule as ours, which the rule of a subclass with the same name replaces."""
    function.is_own = True
    return function


class ConvergenceStateMachine(RuleBasedStateMachine):
    """A :class:`hypothesis.stateful.RuleBasedStateMachine` whose rules drive a session. Subclass it and write rules.

    Rules (``@rule``) and invariants (``@invariant``) may be ``async``. After each, whatever can happen at that instant has
    happened; virtual time passes only where a rule waits, and by the rule ``time_passes``, which every machine has. In the
    end what is still cut off or down is healed and restarted, the session settles, and :meth:`verdict` judges it.

    ``@initialize`` rules run before the session begins, in any order. They may name properties
    (``self.session.always(…)``) and prepare the machine; those that are ``async`` are kept until the session has begun.

    Attributes:
        faults: which faults are rules too: of ``crash`` (with ``restart``), ``pause`` (with ``resume``) and ``partition``
            (with ``heal``).
        schedules: the strategy of the session's schedule; by default it decides the order of steps, and the fate of messages
            as far as the session's network allows.
        agents: the bundle of the session's agents.

    Raises:
        ConvergenceUsageError: ``faults`` names no such fault, or an ``async`` ``@initialize`` rule has targets.
    """

    faults: ClassVar[Iterable[str]] = ()
    schedules: ClassVar[st.SearchStrategy[Any]] = schedules([], cells=_CELLS)
    agents: ClassVar[Bundle[SimulatedAgent]] = Bundle("agents")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for kind in cls.faults:
            if kind not in _FAULT_RULES:
                raise unknown_name("fault in the faults of a state machine", kind, tuple(_FAULT_RULES))
        for name, decorate in _own_rules(cls).items():
            plain = getattr(ConvergenceStateMachine, name)
            if getattr(getattr(cls, name), "is_own", False):  # not overridden
                setattr(cls, name, _own(decorate(plain) if decorate else plain))
        for function in list(vars(cls).values()):
            _put_in_world(function)
        cls.TestCase.convergence_machine = cls  # type: ignore[attr-defined]  # by which the plugin knows it

    def __init__(self) -> None:
        super().__init__()
        self._test = OWNING_TEST.get()
        if self._test is not None:
            self._test.begin_example()
        self._session: Session | None = None
        self._run: SteppedRun | None = None
        self._cut: Rule | None = None
        self._handled = sys.exc_info()[1]
        self._waiting: list[Callable[[], Any]] = []
        members = [member for _, member in inspect.getmembers(type(self))]
        self._to_initialize = sum(hasattr(member, _INITIALIZE) for member in members)

    # -- for subclasses ------------------------------------------------------------------------------------------------

    def session_options(self) -> Mapping[str, Any]:
        """Return what the session is made with: the options of ``convergence_session_factory``, ``agents`` to begin with.

        Override it. Behaviours of agents may be methods of the machine, and share what it keeps.
        """
        return {}

    def inputs(self) -> Mapping[str, Any]:
        """Return what the session's pattern asks for, such as ``{"proposals": {…}}``."""
        return {}

    # -- for rules -----------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session. It begins when all ``@initialize`` rules have run."""
        if self._session is None:
            options, name = dict(self.session_options()), type(self).__name__
            if self._test is not None:
                self._session = self._test.make_session(options, name=name)
            else:
                self._session = ConvergenceEngine().create_session(name, **options)
            self._session.is_recorded = True
        return self._session

    async def settle(self) -> None:
        """Let time pass until every behaviour has returned or waits in its inbox; await it in an ``async`` rule."""
        await self.session.finished()

    def verdict(self, outcome: Outcome) -> None:
        """Judge how the session ended; the rules are over, faults have stopped, and views were given time to settle.

        By default it must have converged. Override it to expect something else.
        """
        if not outcome.converged:
            raise AssertionError(str(outcome))

    # -- rules of every machine ----------------------------------------------------------------------------------------

    @_own
    def begin(self, schedule: Schedule | FaultPlan) -> MultipleResults[SimulatedAgent]:
        """Give the session its schedule."""
        session = self.session
        if isinstance(schedule, FaultPlan):
            schedule = schedule.schedule(tuple(session.agents), seed=0)
        session.schedule = schedule
        return multiple(*session.agents.values())

    @_own
    async def time_passes(self, milliseconds: int) -> None:
        """Let virtual time pass."""
        await self.session.sleep(milliseconds / 1_000)

    @_own
    def crash(self, agent: SimulatedAgent) -> None:
        """Crash an agent, if it is alive."""
        if agent.is_alive:
            agent.crash()

    @_own
    def restart(self, agent: SimulatedAgent) -> None:
        """Restart an agent, if it has crashed."""
        if not agent.is_alive:
            agent.restart()

    @_own
    def pause(self, agent: SimulatedAgent) -> None:
        """Pause an agent."""
        if agent.is_alive:
            agent.pause()

    @_own
    def resume(self, agent: SimulatedAgent) -> None:
        """Let a paused agent go on."""
        if agent.is_alive:
            agent.resume()

    @_own
    def partition(self, group: list[SimulatedAgent]) -> None:
        """Cut ``group`` off from the rest, instead of whom was cut off before."""
        self.heal()
        if len(group) < len(self.session.agents):
            self._cut = self.session.network.partition([agent.name for agent in group])

    @_own
    def heal(self) -> None:
        """Heal the partition."""
        if self._cut is not None:
            self._cut.heal()
            self._cut = None

    def _end_faults(self) -> None:
        self.heal()
        for agent in self.session.agents.values():
            if agent.is_alive:
                agent.resume()
            else:
                agent.restart()

    # -- at work -------------------------------------------------------------------------------------------------------

    def _in_world(self, function: Callable[[], Any]) -> Any:
        """Take a step; where it fails, the test is told."""
        __tracebackhide__ = True
        assert self._run is not None
        try:
            return self._run.step(function)
        except Exception as error:
            self._failed(error)
            raise

    def _failed(self, error: Exception) -> None:
        if self._test is not None:
            self._test.example_failed(error)

    def _initialized(self) -> None:
        """One more ``@initialize`` rule has run; the session begins after the last."""
        __tracebackhide__ = True
        self._to_initialize -= 1
        if self._to_initialize:
            return
        try:
            self._run = SteppedRun(self.session, self.inputs())
        except Exception as error:
            self._failed(error)
            raise
        waiting, self._waiting = self._waiting, []
        for function in waiting:
            self._in_world(function)

    def teardown(self) -> None:
        """End the faults, let the session settle, and judge it; or clear the world away, where the example was abandoned."""
        __tracebackhide__ = True
        run, error = self._run, sys.exc_info()[1]
        if run is None:
            return
        try:
            if not run.is_over and error is self._handled:
                if self.faults:
                    self._in_world(self._end_faults)
                try:
                    self.verdict(run.finish())
                except Exception as failure:
                    self._failed(failure)
                    raise
        finally:
            run.close()


_Decorator = Callable[[Any], Any]


def _own_rules(cls: type[ConvergenceStateMachine]) -> dict[str, _Decorator | None]:
    """The methods that are rules of a machine without its having written them, with their decorators; ``None`` for none."""
    found: dict[str, _Decorator | None] = {
        "begin": initialize(target=cls.agents, schedule=cls.schedules),
        "time_passes": rule(milliseconds=_WAITS),
    }
    for kind, rules in _FAULT_RULES.items():
        found.update((name, decorate if kind in cls.faults else None) for name, decorate in rules(cls.agents))
    return found


def _crashing(agents: Bundle[SimulatedAgent]) -> list[tuple[str, _Decorator]]:
    def any_down(machine: ConvergenceStateMachine) -> bool:
        return any(not agent.is_alive for agent in machine.session.agents.values())

    down = precondition(any_down)
    return [("crash", rule(agent=agents)), ("restart", lambda plain: down(rule(agent=agents)(plain)))]


def _pausing(agents: Bundle[SimulatedAgent]) -> list[tuple[str, _Decorator]]:
    return [("pause", rule(agent=agents)), ("resume", rule(agent=agents))]


def _cutting(agents: Bundle[SimulatedAgent]) -> list[tuple[str, _Decorator]]:
    group = st.lists(agents, min_size=1, max_size=4, unique_by=id)
    is_cut = precondition(lambda machine: machine._cut is not None)
    return [("partition", rule(group=group)), ("heal", lambda plain: is_cut(rule()(plain)))]


_FAULT_RULES: Final[Mapping[str, Callable[[Bundle[SimulatedAgent]], list[tuple[str, _Decorator]]]]] = {
    "crash": _crashing,
    "pause": _pausing,
    "partition": _cutting,
}


def _put_in_world(function: Any) -> None:
    """Let Hypothesis call a rule or an invariant as a step of the session."""
    for marker, stand_in in ((_RULE, _step), (_INITIALIZE, _initializer), (_INVARIANT, _check)):
        known = getattr(function, marker, None)
        if known is not None and not getattr(known.function, "is_in_world", False):
            called = stand_in(known)
            setattr(called, "is_in_world", True)  # noqa: B010 - a function has no such attribute
            object.__setattr__(known, "function", called)  # some versions of Hypothesis freeze them


def _step(known: Any) -> Callable[..., Any]:
    function = known.function

    @functools.wraps(function)
    def step(machine: ConvergenceStateMachine, **drawn: Any) -> Any:
        __tracebackhide__ = True
        return machine._in_world(functools.partial(function, machine, **drawn))

    return step


def _check(known: Any) -> Callable[..., Any]:
    function = known.function

    @functools.wraps(function)
    def check(machine: ConvergenceStateMachine) -> Any:
        __tracebackhide__ = True
        if machine._run is None:  # asked for during initialization
            return function(machine)
        return machine._in_world(functools.partial(function, machine))

    return check


def _initializer(known: Any) -> Callable[..., Any]:
    function = known.function
    waits = inspect.iscoroutinefunction(function)
    if waits and known.targets:
        raise ConvergenceUsageError(
            f"the @initialize rule {function.__qualname__} is async and has targets; it is called when the session has "
            "begun, and its result would come too late. Make it a plain function, or a @rule."
        )

    @functools.wraps(function)
    def prepare(machine: ConvergenceStateMachine, **drawn: Any) -> Any:
        __tracebackhide__ = True
        call = functools.partial(function, machine, **drawn)
        result = None
        if waits:
            machine._waiting.append(call)
        else:
            result = call()
        machine._initialized()
        return result

    return prepare

"""Conducts one run of a session on a simulated loop: sets the agents going, watches, settles, judges.

1. *Begin*: a fabric with a node for each agent, a machine host for each protocol, a task for each behaviour. Whatever an
   agent starts inherits its life through the context.
2. *Work*: the scenario (or the pattern's task) runs. Without one, the behaviours themselves are the work, and it is over
   when nothing is left to happen.
3. *Settle*: the schedule's faults stop, and the world runs on until views are stable (:mod:`.settling`).
4. *End*: behaviours that still run are stopped. Whatever went wrong first is what is reported.

The kernel calls back here: ``idle`` when only upkeep is left, ``fail`` when a bound is crossed, ``after_step`` while a
property wants to see every step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.messages import snapshot
from pytest_convergence._engine.base.time import NS_PER_SECOND, to_ns
from pytest_convergence._engine.base.trace import SCENARIO, Aside
from pytest_convergence._engine.run.cancellations import Cancellations
from pytest_convergence._engine.run.casting import Cast
from pytest_convergence._engine.run.courier import Gate
from pytest_convergence._engine.run.disturbing import Disturbing
from pytest_convergence._engine.run.hosting import real_seconds
from pytest_convergence._engine.run.judging import Judge
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.orphans import left_behind
from pytest_convergence._engine.run.replication import Replication
from pytest_convergence._engine.run.reports import deadlock_message
from pytest_convergence._engine.run.resolving import Resolving
from pytest_convergence._engine.run.settling import Settling
from pytest_convergence._engine.run.sharing import join, leave, watch_steps
from pytest_convergence._engine.run.snapshots import Snapshots
from pytest_convergence._engine.run.standpoints import standpoints
from pytest_convergence._engine.run.stopping import stop
from pytest_convergence._engine.sim.conditions import Network
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence._engine.sim.handles import TimerStep
from pytest_convergence._engine.sim.loop import WorldLoop
from pytest_convergence._engine.sim.machines import MachineHost
from pytest_convergence._engine.sim.mailbox import Mailbox
from pytest_convergence._engine.sim.node import Node
from pytest_convergence._engine.sim.shims.asking import TOOLS
from pytest_convergence._engine.sim.tasks import WorldTask
from pytest_convergence._engine.sim.turns import Turnstile
from pytest_convergence._engine.sim.world import OWNER
from pytest_convergence._engine.state.values import checksum_of
from pytest_convergence.errors import AgentError, BudgetExceeded, DeadlockError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.agent import SimulatedAgent
    from pytest_convergence._engine.run.hosts import SimulatedHost
    from pytest_convergence._engine.run.session import Session

__all__ = ["Conduct", "Ending"]

_LONGEST_SLEEP_NS: Final = 60 * NS_PER_SECOND
_ARRIVALS: Final = frozenset(
    {Node.arrive, Mailbox.arrive, MachineHost.take, Gate.take, Turnstile.take, Turnstile.arrive}
)
"""What the network calls with a message of the user's agents."""

_EMPTY: Final = checksum_of({})


@final
class Ending:
    """How a run came to its end: what the scenario returned, or what went wrong."""

    __slots__ = ("asides", "changed_ns", "error", "output", "settled", "stood")

    def __init__(self) -> None:
        self.output: Any = None
        self.error: BaseException | None = None
        self.settled = False
        self.changed_ns = 0
        self.stood: dict[str, str] = {}  # where the code of each agent stood, of a recorded run
        self.asides: list[Aside] = []  # of a recorded run: what cancelled which task, who reads slowly


@final
class Conduct:
    """One run of one session."""

    def __init__(
        self, session: Session, loop: WorldLoop, timeout: float | None, inputs: dict[str, Any]
    ) -> None:
        self.session = session
        self.inputs = inputs
        self.loop = loop
        self.world = loop.world
        self.ending = Ending()
        self.has_begun = False
        self.is_over = False
        self._abandoned = False
        self.results: dict[str, Any] = {}
        self.cast = Cast(self)
        self.started_ns = self.world.now_ns
        self.started_real = real_seconds()
        self._end: asyncio.Future[None] = loop.create_future()
        self._work: asyncio.Task[Any] | None = None
        self._settling: Settling | None = None
        self._finished_waiters: list[asyncio.Future[None]] = []
        self._view_waiters: list[tuple[Callable[[], object], asyncio.Future[Any]]] = []
        options = session.options
        limit_ns = options.timeout_ns() if timeout is None else to_ns(timeout, "timeout")
        if session.goal is not None and session.goal.timeout is not None:
            limit_ns = min(limit_ns, to_ns(session.goal.timeout))
        if session.horizon_ns:
            limit_ns = min(limit_ns, session.horizon_ns)
        self.timeout_ns = self.started_ns + limit_ns
        self.max_events = self.world.happened + options.get("max_events")
        self.after_step: Callable[[], None] | None = None
        self._disturbing = disturbing = Disturbing(session)
        self.chosen = disturbing.scheduled
        self.may_cancel = "cancel" in disturbing.kinds
        conditions = Network.of(options.get("network")).with_faults(disturbing.kinds)
        window = options.trace_window()
        self.fabric = Fabric(
            self.world,
            disturbing.choices,
            conditions,
            seed=session.schedule.seed,
            noise=disturbing.noise,
            trace=bool(window),
            window=window or 1,
        )
        self.fabric.loop = loop
        self.fabric.may_try[""] = frozenset(options.get("may_try"))
        if session.is_recorded:
            self.fabric.asides = self.ending.asides
            self.fabric.hear_cancel = Cancellations(self.fabric, self.ending.asides)
        self.replication: Replication | None = None
        self.resolving = Resolving(self)
        self.judge = Judge(self)

    # -- begin ---------------------------------------------------------------------------------------------------------

    def begin(self, scenario: Callable[[], Coroutine[Any, Any, Any]] | None = None) -> None:
        """Set everything going. The scenario takes the first step, so that its rules are there before anybody sends."""
        session, fabric = self.session, self.fabric
        self.scenario_node = fabric.add_node(SCENARIO)
        disturbing = self._disturbing
        for agent in session.participants.values():
            self._add_node(agent)
        join(self.world, self)
        self.judge.begin()
        if session.takes_snapshots:
            session.snapshots = Snapshots(self)
            watch_steps(self.world)
        disturbing.skew_clocks()
        self.cast.host_pattern()
        if scenario is not None:
            self._work = self.spawn(self.scenario_node, scenario(), SCENARIO)
            self._work.add_done_callback(self._work_done)
        for name, behaviour in session.behaviours.items():
            self.cast.start_behaviour(session.agents[name], session.own_behaviour(name) or behaviour)
        for host in session.hosts.values():
            host.begin(self)
        disturbing.begin(fabric)
        for begin in session.watchers:
            begin(fabric.watchers)
        self.has_begun = True
        if session.initial_states or session.has_replicas:
            self.replicated().start()
        self.cast.start()
        if session._handoffs is not None:
            session._handoffs.begin(self)

    def _add_node(self, agent: SimulatedAgent) -> None:
        node = self.fabric.add_node(agent.name, self._disturbing.step_plan(agent.name))
        agent._attach(node)
        node.on_crash += (self._crashed,)

    def join(self, host: SimulatedHost) -> None:
        """A host joins a session that runs already."""
        self._add_node(host.agent)
        self.fabric.rules_changed()
        host.begin(self)

    def replicated(self) -> Replication:
        """Return what synchronises the replicas, made when there is one."""
        if self.replication is None:
            self.replication = Replication(self)
        return self.replication

    def spawn(self, node: Node, coro: Coroutine[Any, Any, Any], name: str) -> WorldTask:
        """Start a task that belongs to the present life of ``node``."""
        context: Context = copy_context()
        context.run(OWNER.set, node.life)
        task: WorldTask = self.loop.create_task(coro, name=name, context=context)
        return task

    # -- work ----------------------------------------------------------------------------------------------------------

    async def conduct(self, scenario: Callable[[], Coroutine[Any, Any, Any]] | None) -> None:
        """Run to the end; what went wrong is in :attr:`ending`."""
        try:
            self.begin(scenario)
            self.session._move(SessionState.EXECUTING)
            await self._end
        except BaseException as error:  # the set-up failed, or the whole run was cancelled
            cause = self.loop.cancelled_by if isinstance(error, asyncio.CancelledError) else None
            self.ending.error = self.ending.error or cause or error
            self._abandoned = isinstance(
                error, GeneratorExit
            )  # closed as it stands: there is no loop to wait on
            raise
        finally:
            self.is_over = True
            if not self._abandoned:
                await stop(self)
                left_behind(self)
            leave(self.world, self)
            self.fabric.close()

    def _work_done(self, work: asyncio.Task[Any]) -> None:
        if self.has_ended:
            return
        if work.cancelled():
            self.fail(asyncio.CancelledError("the scenario was cancelled"))
        elif (error := work.exception()) is not None:
            self.fail(error)
        else:
            self.ending.output = work.result()
            self.settle()

    def idle(self) -> bool:
        """Only upkeep is left: decide whether the work is over, goes on by upkeep, or can never end."""
        if self.is_over or self._settling is not None:
            return True
        if self._finished_waiters and self.cast.rests():
            self._release_finished()
            return True
        upkeep = len(self.world.events) > self.world.inert
        if upkeep and (self._view_waiters or self.hands_over()):
            return True
        if self._work is None and self.cast.rests():
            if upkeep and not self.pattern_rests():
                return True
            self.settle()
            return True
        self.fail(DeadlockError(deadlock_message(self)))
        return True

    @property
    def has_ended(self) -> bool:
        """Whether it is known how the run has come out, though some of it may still have to be stopped."""
        return self.is_over or self._end.done()

    @property
    def is_settling(self) -> bool:
        """Whether the work is done, and the run waits for stable views."""
        return self._settling is not None

    def pattern_rests(self) -> bool:
        """Whether the reference protocol has nothing more to do by itself: it decided, or it went quiet."""
        return all(host.decided for host in self.cast.live_hosts())

    def check_finished(self) -> None:
        """Wake those who wait for all behaviours, once all have returned or crashed.

        Where hosts are among them that still serve, and whose timers would keep the world awake for ever, the work is over.
        """
        if self.session._hosts and self._work is None and not self.is_over and self.cast.all_returned():
            self.settle()
        if self._finished_waiters and self.cast.all_returned():
            self._release_finished()

    def _release_finished(self) -> None:
        waiters, self._finished_waiters = self._finished_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def finished(self) -> None:
        """Wait until every behaviour has returned, crashed, or waits in its inbox with nothing left to happen."""
        waiter = self.loop.create_future()
        self._finished_waiters.append(waiter)
        self.check_finished()
        await waiter

    async def until(self, predicate: Callable[[], Any]) -> Any:
        """Wait until ``predicate()`` is truthy, asked whenever a protocol's view may have changed."""
        found = predicate()
        if found:
            return found
        waiter: asyncio.Future[Any] = self.loop.create_future()
        entry = (predicate, waiter)
        self._view_waiters.append(entry)
        self.fabric.views_watched = True
        try:
            return await waiter
        finally:
            self._view_waiters.remove(entry)
            self.fabric.views_watched = bool(self._view_waiters)

    def views_changed(self) -> None:
        """Some protocol reacted: its view may be another."""
        for predicate, waiter in self._view_waiters:
            if not waiter.done() and (found := predicate()):
                waiter.set_result(found)

    # -- settle and end ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """The work is done: stop the faults and wait for stable views."""
        if self._settling is not None or self.is_over:
            return
        self.session._move(SessionState.SYNCHRONIZING)
        self._disturbing.stop(self.fabric)
        self.ending.changed_ns = self.world.now_ns
        self._settling = Settling(self, self._settled)
        self._settling.begin()

    def _settled(self) -> None:
        settling = self._settling
        if settling is None:
            return
        self.ending.settled = settling.stable
        self.ending.changed_ns = max(self.ending.changed_ns, settling.changed_ns)
        if not self._end.done():
            self.judge.finish()
            if not self._end.done():
                self._come_to_an_end()

    def fail(self, error: BaseException) -> None:
        """End the run with ``error``, unless it has ended already. Crossing the time bound while settling is no error."""
        if self.has_ended:
            return
        if (
            self._settling is not None
            and isinstance(error, BudgetExceeded)
            and self.world.now_ns >= self.timeout_ns
        ):
            self._settling.stable = False
            self._settled()
            return
        self.ending.error = error
        self._come_to_an_end()

    def _come_to_an_end(self) -> None:
        """Let the run end, with a look at where everybody stands if somebody will want to know."""
        if self.session.is_recorded:
            self.ending.stood = standpoints(self)
        self._end.set_result(None)

    def agent_failed(self, name: str, error: BaseException, where: str = "") -> None:
        """A behaviour raised. What test tools raise to steer the test (a skip, say) goes on to them as it is."""
        failure = error
        if isinstance(error, Exception) and type(error).__module__.partition(".")[0] not in TOOLS:
            who = "host" if name in self.session.hosts else "agent"
            said = f": {error}" if str(error) else ""
            failure = AgentError(f"{who} {name!r} raised {type(error).__name__}{where}{said}", agent=name)
            failure.__cause__ = failure.__context__ = error  # as `raise … from` does: tools look at either
        self.end_with(failure)

    def end_with(self, error: BaseException) -> None:
        """Fail with ``error``, also where the run is over already: something was stopped, and raised at that."""
        if self.is_over:
            self.ending.error = self.ending.error or error
        else:
            self.fail(error)

    def machine_failed(self, node: Node, error: BaseException) -> None:
        """A machine raised."""
        if self.is_over:
            return
        self.fabric.note("error", node, f"{type(error).__name__}: {error}")
        self.agent_failed(node.name, error)

    def _crashed(self) -> None:
        self.check_finished()
        self.views_changed()

    # -- what the judges ask -------------------------------------------------------------------------------------------

    def window_ns(self) -> int:
        """The stability window: twice the greatest delay plus the longest period of a protocol or a behaviour."""
        return 2 * self.greatest_delay_ns() + max(self.fabric.longest_timer_ns, self._longest_sleep_ns())

    def _longest_sleep_ns(self) -> int:
        """How long behaviours still sleep, up to a minute: those that work in rounds get another one before the verdict."""
        longest_ns = 0
        own: set[object] = {
            self.fabric.nodes[name].life for name in self.cast.tasks if name in self.session.agents
        }
        for at_ns, _, _, timer in self.world.events:
            if isinstance(timer, TimerStep) and not timer.cancelled() and timer._context.get(OWNER) in own:
                longest_ns = max(longest_ns, at_ns - self.world.now_ns)
        return min(longest_ns, _LONGEST_SLEEP_NS)

    def greatest_delay_ns(self) -> int:
        """The greatest delay that the network's conditions and the rules in force may cause."""
        greatest_ns = Network.of(self.session.options.get("network")).greatest_ns
        return max(greatest_ns, 1_000_000) + sum(rule.delay_ns for rule in self.fabric.rules)

    def hands_over(self) -> bool:
        """Whether a hand-off is under way that somebody waits for."""
        handoffs = self.session._handoffs
        return handoffs is not None and handoffs.is_busy()

    def user_messages_in_flight(self) -> bool:
        """Whether a message of the user's agents is on its way, a conflict to be answered, a work between two owners."""
        sequencer = self.fabric.sequencer
        held = sequencer is not None and sequencer.holds
        waits = held or self.resolving.is_waiting() or self.hands_over()
        called = [event[2] for event in self.world.events if getattr(event[2], "__func__", None) in _ARRIVALS]
        return waits or any(map(self.fabric.owns, called))

    def moving(self) -> tuple[str, ...]:
        """What goes on that is no upkeep, in words."""
        if self._settling is None or not self._settling.restless:
            return ()
        found = []
        if self.world.now_ns - self.ending.changed_ns < self.window_ns():
            found.append("views change")
        if self.cast.works():
            found.append("functions of the pattern run")
        return (*found, "messages are on their way") if self._may_be_sent() else tuple(found)

    def _may_be_sent(self) -> bool:
        """Whether messages of the agents are on their way, or somebody is about to send one."""
        return self.user_messages_in_flight() or self.loop.is_ready

    def is_still(self) -> bool:
        """Whether nothing at all is left to happen that could change a view."""
        if self.loop.is_ready:
            return False
        return not self.world.events or (
            len(self.world.events) == self.world.background
            and not self.cast.hosts
            and not self.cast.user_hosts
            and not (self.replication is not None and self.replication.is_busy())
            and not self.resolving.is_busy()
            and not self.hands_over()
        )

    def view_of(self, name: str) -> Any:
        """What an agent exposes: what its protocol holds, and its replica."""
        view: dict[str, Any] = {}
        if self.cast.has_machines or self.session.agents[name]._view is not None:
            self._view_protocol(name, view)
        replica = self.session.agents[name]._replica
        view["state"] = _EMPTY if replica is None or not replica.version else replica.checksum
        return view

    def _view_protocol(self, name: str, view: dict[str, Any]) -> None:
        protocol = self._ask(name, lambda: self.cast.protocol_view(name))
        if protocol is not None:
            view["pattern"] = protocol[0]
        host = self.cast.user_hosts.get(name)
        shows = None if host is None or host.machine is None else getattr(host.machine, "view", None)
        if shows is not None:
            view["machine"] = self._ask(name, shows)
        exposed = self.session.agents[name]._view
        if exposed is not None:
            view["exposed"] = self._ask(name, exposed)

    def _ask(self, name: str, view: Callable[[], Any]) -> Any:
        try:
            return snapshot(view())
        except Exception as error:  # the user's own function
            self.machine_failed(self.fabric.nodes[name], error)
            return None

    def views(self) -> dict[str, Any]:
        """The views of the agents that are alive."""
        nodes, agents = self.fabric.nodes, self.session.agents
        plain = not (self.cast.has_machines or self.session.has_replicas)  # of small sessions the usual case
        return {
            name: {"state": _EMPTY} if plain and agent._view is None else self.view_of(name)
            for name, agent in agents.items()
            if nodes[name].life.alive
        }

    def fingerprint(self) -> str:
        """A text that changes when any view does."""
        session = self.session
        versions = [agent._version for agent in session.agents.values()]
        handed = 0 if session._handoffs is None else session._handoffs.version
        return canonical([self.views(), versions, handed])

    def protocol_views(self) -> dict[str, Any]:
        """What the live agents' protocols hold to be agreed."""
        alive = [name for name in self.session.agents if self.fabric.nodes[name].life.alive]
        held = {name: self.cast.protocol_view(name) for name in alive}
        return {name: view[0] for name, view in held.items() if view is not None}

    @property
    def duration_seconds(self) -> float:
        """Virtual seconds until the work was done and views had stopped changing."""
        end_ns = self.ending.changed_ns if self.ending.error is None else self.world.now_ns
        return max(0, end_ns - self.started_ns) / NS_PER_SECOND

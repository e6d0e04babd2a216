"""Judges a run: feeds the checkers of its properties while it goes on, and draws up the outcome."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence._engine.check.evidence import evidence
from pytest_convergence._engine.check.monitor import Monitor
from pytest_convergence._engine.check.of_conflicts import properties_of_conflicts
from pytest_convergence._engine.check.of_replicas import AWAKENED_BY, OF_REPLICAS
from pytest_convergence._engine.check.property import FinalState, Property, Scope, Violation
from pytest_convergence._engine.check.registry import BUILT_IN, find_property
from pytest_convergence._engine.run.counting import Counting, Verdict
from pytest_convergence._engine.run.fruitless import FruitlessTerms
from pytest_convergence._engine.run.goal import CriterionResult, Goal, weight_met
from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._engine.run.origins import name_origin
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence._engine.run.settling import largest_group, split_views
from pytest_convergence._engine.run.sharing import watch_steps
from pytest_convergence._engine.sim.showing import MESSAGE_KINDS, show_messages
from pytest_convergence._engine.state.plan import as_plan
from pytest_convergence.errors import InternalError, PropertyViolation, RunFailure

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["GENERIC_PROPERTIES", "Judge", "raise_or_return"]

GENERIC_PROPERTIES: Final = (
    "promises_survive_restart",
    "reply_before_sync",
    "no_unhandled_exception",
)
"""Properties that every session is checked for; they speak of facts that agents observe, and cost nothing without."""

_OF_PROTOCOLS: Final = "quiescence"
"""What patterns promise of their protocols; what agents do beside them is judged where events cause events, or by name."""

_REACTS: Final = "reactive"

_FACT_KINDS: Final = frozenset({"observe", "decide", "persist", "sync", "crash", "restart", "send"})
"""What checkers ask for sooner or later; the fabric shows a sending only while its agent has unsynced writes."""

_ASKS_WHAT_WAS_SENT: Final = frozenset({"observe", "crash"})
"""Before these, whether an agent has sent anything is read from its links: showing every sending would cost too much."""

_GENERIC: Final = tuple(map(find_property, GENERIC_PROPERTIES))
_GENERIC_KINDS: Final = _FACT_KINDS.union(*Monitor(_GENERIC, Scope(())).asked)


@final
class Judge:
    """The checkers of one run, and its verdict."""

    __slots__ = (
        "_asleep",
        "_conduct",
        "_final",
        "_judging",
        "_monitors",
        "_properties",
        "_readers",
        "_scope",
        "_sent",
        "_until_a_fact",
        "_watched",
        "counting",
        "violations",
    )

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._monitors: list[Monitor] = []
        self._readers: list[Monitor] = []  # those of the monitors that read messages
        self._properties: tuple[Property, ...] = ()  # that are judged already
        self._asleep = AWAKENED_BY
        self._final: FinalState | None = None
        self._until_a_fact: tuple[
            Property, ...
        ] = ()  # their checkers are made when there is something to judge
        self._watched: frozenset[str] = frozenset()
        self._judging = False
        self._sent: dict[str, int] = {}  # agents whose sendings are waited for, to how many they had sent
        self.violations: list[Violation] = []
        self.counting = Counting(conduct.world.now_ns)
        session = conduct.session
        pattern = session.pattern
        inputs = conduct.inputs
        agents = tuple(session.agents)
        self._scope = Scope(
            agents,
            quorum=None if pattern is None else pattern.quorum_of(agents),
            allowed=None if pattern is None else (lambda value: bool(pattern.valid(value, agents, inputs))),
            subject=session,
            inputs=inputs,
        )

    @property
    def quorum(self) -> int:
        """How many agents must be alive and connected for the pattern to make progress."""
        return self._scope.needed

    def begin(self) -> None:
        """Start to watch."""
        session = self._conduct.session
        of_pattern = () if session.pattern is None else session.pattern.properties
        of_test = session.options.get("properties")
        found: dict[str, Property] = {prop.name: prop for prop in _GENERIC}
        if of_pattern or of_test:
            given = {prop.name: prop for prop in map(find_property, of_test)}
            # A pattern of the user's own may name properties of theirs: those are given.
            for name in of_pattern:
                if name != _OF_PROTOCOLS or not self._has_behaviours():
                    found[name] = given[name] if name in given else find_property(name)
            found |= given
            self.watch(tuple(found.values()))
        else:
            self._until_a_fact = _GENERIC
            self._watch_kinds(_GENERIC_KINDS)
        self.watch(tuple(session.properties))
        self.counting.watch(self._conduct.fabric)
        most = None if session.pattern is None else session.pattern.most_fruitless_terms
        if most is not None:
            leaders = not {"integrity", "state_machine_safety"} & found.keys()
            FruitlessTerms(self._conduct, most, leaders=leaders).watch()

    def _has_behaviours(self) -> bool:
        """Whether agents have behaviours beside the protocol, which may go on for ever."""
        session = self._conduct.session
        reacts = getattr(session.pattern, "name", "") == _REACTS
        own = any(each is not None for each in session.behaviours.values())
        return not reacts and bool(own or session._hosts)

    def replicas_are_used(self) -> None:
        """Somebody writes to a replica for the first time: judge what holds of conflicts too, from now on."""
        plan = as_plan(self._conduct.session.options.get("resolve"))
        self._watch_more((*OF_REPLICAS, *properties_of_conflicts(step.name for step in plan.steps)))

    def _watch_more(self, names: tuple[str, ...]) -> None:
        """Judge the properties of these names too, unless they are judged already."""
        self._asleep = {fact: more for fact, more in self._asleep.items() if not set(more) <= set(names)}
        known = {prop.name for prop in self._properties}
        known |= {find_property(each).name for each in self._conduct.session.options.get("properties")}
        self.watch(tuple(find_property(name) for name in names if name not in known))

    def watch(self, properties: tuple[Property, ...]) -> None:
        """Judge these properties too, from now on."""
        if not properties:
            return
        monitor = Monitor(properties, self._scope)
        self._monitors.append(monitor)
        self._properties += properties
        asked = monitor.asked
        reads = [
            prop.name for prop, kinds in zip(properties, asked, strict=True) if _reads_messages(prop, kinds)
        ]
        if reads:
            self._show_messages(monitor if len(reads) == len(properties) else monitor.split(reads))
        by_event = frozenset().union(*(kinds for kinds in asked if "step" not in kinds))
        self._watch_kinds(_FACT_KINDS | by_event)
        if any("step" in kinds for kinds in asked):  # asked after every step, and by nothing else
            self._conduct.after_step = self._after_step
            watch_steps(self._conduct.world)

    def _show_messages(self, monitor: Monitor) -> None:
        """Show all messages to this monitor."""
        if monitor not in self._monitors:
            self._monitors.append(monitor)
        if not self._readers:
            show_messages(self._conduct.fabric, self._feed_message)
        self._readers.append(monitor)

    def _feed_message(self, event: TraceEvent) -> None:
        if self._judging or self._conduct.is_over:
            return
        try:
            found = [violation for monitor in self._readers for violation in monitor.feed(event)]
        except Exception as error:
            self._conduct.fail(error)
            return
        self._note(found)

    def _watch_kinds(self, kinds: frozenset[str]) -> None:
        self._conduct.fabric.watch(kinds - self._watched, self.feed)
        self._watched |= kinds

    def feed(self, event: TraceEvent) -> None:
        """Show an event to the checkers."""
        if self._judging or self._conduct.is_over:
            return
        if self._until_a_fact and event.kind in _GENERIC_KINDS:
            self._monitors.insert(0, Monitor(self._until_a_fact, self._scope))
            self._until_a_fact = ()
        self._judging = True  # a predicate that writes would otherwise be judged inside its own judgement
        try:
            if event.kind == "observe" and (names := self._asleep.get(event.detail["fact"])) is not None:
                self._watch_more(names)
            found = self._feed_sendings(event) if event.kind in _ASKS_WHAT_WAS_SENT else []
            sends = False
            for monitor in self._monitors:
                if monitor in self._readers:
                    found += () if event.kind in MESSAGE_KINDS else monitor.feed(event)  # those it was shown
                    continue
                found += monitor.feed(event)
                sends = sends or "send" in monitor.kinds
            if sends and event.kind == "observe":
                self._sent[event.agent] = self._count_sent(event.agent)
        except Exception as error:
            self._conduct.fail(error)
            return
        finally:
            self._judging = False
        self._note(found)

    def _feed_sendings(self, event: TraceEvent) -> list[Violation]:
        """Show that an agent has sent something since it said what waits for that, before what comes now."""
        agent = event.agent
        sent = self._sent.pop(agent, None)
        if sent is None or self._count_sent(agent) == sent:
            return []
        sending = TraceEvent(-1, event.at_ns, "send", agent)
        others = [monitor for monitor in self._monitors if monitor not in self._readers]
        return [violation for monitor in others for violation in monitor.feed(sending)]

    def _count_sent(self, agent: str) -> int:
        node = self._conduct.fabric.nodes.get(agent)
        return 0 if node is None else node.posted()

    def _after_step(self) -> None:
        self.feed(TraceEvent(-1, self._conduct.world.now_ns, "step", ""))

    def _note(self, found: list[Violation]) -> None:
        if found:
            self.violations += found
        # An exception of an agent's fails the run as what it is, an AgentError with its cause.
        if any(violation.property != "no_unhandled_exception" for violation in found):
            self._conduct.fail(self._violation())

    def _violation(self) -> PropertyViolation:
        lines = "\n".join(str(violation) for violation in self.violations)
        violated = PropertyViolation(lines, violations=self.violations)
        name_origin(violated, self.violations[0].property)
        return violated

    def expects(self) -> bool:
        """Whether something that must come about in the end has not, and may still, by what agents do without any change."""
        present = FinalState(self._conduct.world.now_ns, core=self.core())
        return any(monitor.expects(present) for monitor in self._monitors)

    def finish(self) -> None:
        """Tell the checkers that the run has ended and settled."""
        conduct = self._conduct
        views = conduct.views()  # what a view raises is found even where nobody judges it
        if not self._monitors:
            return
        final_state = self._final = FinalState(
            conduct.world.now_ns,
            core=self.core(),
            views=views,
            settled=conduct.ending.settled,
            moving=conduct.moving(),
            lacking=partial(self._lacking, views),
        )
        try:
            found = [violation for monitor in self._monitors for violation in monitor.finish(final_state)]
        except Exception as error:
            conduct.fail(error)
            return
        self._note(found)

    def evidence(self, violation: Violation) -> tuple[TraceEvent, ...]:
        """Return the few facts that prove a violation, as far as the trace has them."""
        known = {prop.name: prop for prop in (*self._until_a_fact, *_GENERIC, *self._properties)}
        prop = known.get(violation.property)
        if prop is None:
            return ()
        return evidence(prop, self._scope, self._conduct.fabric.trace, violation, self._final)

    def reached(self) -> dict[str, bool]:
        """The *sometimes* properties, and whether this run has reached them."""
        return {name: reached for monitor in self._monitors for name, reached in monitor.reached.items()}

    def core(self) -> tuple[str, ...]:
        """The largest set of live agents that all reach one another (the first such set, for equal sizes)."""
        fabric = self._conduct.fabric
        alive = [name for name in self._conduct.session.agents if fabric.nodes[name].life.alive]
        if not any(rule.severs for rule in fabric.rules):
            return tuple(alive)
        best: list[str] = []
        for start in alive:
            group = [start]
            for other in alive:
                if other != start and all(fabric.connected(other, member) for member in group):
                    group.append(other)
            if len(group) > len(best):
                best = group
        return tuple(name for name in alive if name in best)

    def _cut_off(self) -> tuple[str, ...]:
        """The live agents that do not reach the largest group of those that reach one another."""
        if not self._conduct.fabric.rules:
            return ()
        core = self.core()
        nodes = self._conduct.fabric.nodes
        return tuple(
            name for name in self._conduct.session.agents if nodes[name].life.alive and name not in core
        )

    # -- the verdict ---------------------------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        """Draw up the outcome, and move the session to its final state."""
        conduct = self._conduct
        session = conduct.session
        reasons: list[str] = []
        views = conduct.views()
        output: Any = None
        criteria: tuple[CriterionResult, ...] = ()
        if conduct.ending.error is None:
            session._move(SessionState.CONVERGING)
            try:
                output = self._output()
                reasons += self._reasons(views)
                if session.goal is not None:
                    criteria = session.goal.judge(session)
                    reasons += _missed(session.goal, criteria)
            except Exception as error:  # a criterion of the test's own
                conduct.ending.error = error
        if conduct.ending.error is not None:
            reasons = [f"{type(conduct.ending.error).__name__}: {conduct.ending.error}"]
            session._move(SessionState.FAILED)
        else:
            session._move(SessionState.DIVERGED if reasons else SessionState.CONVERGED)
        agreement = largest_group(views) / len(views) if views else 1.0
        score = weight_met(criteria) if criteria else float(session.state is SessionState.CONVERGED)
        verdict = Verdict(
            session.state.value, score, agreement, tuple(violation.property for violation in self.violations)
        )
        outcome = Outcome(
            converged=session.state is SessionState.CONVERGED,
            state=session.state,
            output=output,
            results=dict(conduct.results),
            agreement=agreement,
            criteria=criteria,
            conflicts=session.conflicts,
            violations=tuple(self.violations),
            duration=conduct.duration_seconds,
            metrics=self.counting.metrics(conduct, verdict),
            schedule=session.schedule,
            trace=conduct.fabric.trace,
            reasons=tuple(reasons),
            views=views,
            name=session.name,
            score=score,
            phases=session.phases,
            iterations=session._progress.iterations,
            cut_off=self._cut_off(),
            crashed=tuple([name for name, agent in session.participants.items() if not agent.is_alive]),
        )
        if isinstance(conduct.ending.error, RunFailure):
            conduct.ending.error.outcome = outcome
        return outcome

    def _output(self) -> Any:
        conduct = self._conduct
        if conduct.ending.output is not None:
            return conduct.ending.output
        return self.agreed_output()

    def agreed_output(self) -> Any:
        """Return the result of the pattern, ``None`` while there is none."""
        pattern = self._conduct.session.pattern
        return None if pattern is None else pattern.output(self._conduct.protocol_views())

    def _reasons(self, views: dict[str, Any]) -> list[str]:
        """Say why the run has not converged; nothing to say means that it has."""
        conduct = self._conduct
        reasons = []
        if not conduct.ending.settled:
            reasons.append("views were still changing, or messages under way, when the time was up")
        split = split_views(views, conduct.fabric.connected)
        if split is not None:
            one, other = split
            reasons.append(f"{one} and {other} expose different views: {_difference(conduct, one, other)}")
        pattern = conduct.session.pattern
        if pattern is not None and split is None:
            agreed = self.agreed_output()
            if agreed is None:
                count = int(self.counting.numbers.get("rounds", 0))
                rounds = f" in {count} round{'s' * (count != 1)}" if count else ""
                reasons.append(f"the {pattern.name} pattern came to no result{rounds}{self._why()}")
            elif not pattern.valid(agreed, tuple(conduct.session.agents), conduct.inputs):
                reasons.append(
                    f"what was agreed, {agreed!r}, is not valid: no allowed input could have produced it{self._why()}"
                )
        return reasons

    def _lacking(self, views: dict[str, Any]) -> list[str]:
        """Say why the session has not come to what it is for: the result of its pattern, its goal."""
        session = self._conduct.session
        missed = [] if session.goal is None else _missed(session.goal, session.goal.judge(session))
        return self._reasons(views) + missed

    def _why(self) -> str:
        """What the pattern says about it."""
        pattern = self._conduct.session.pattern
        why = "" if pattern is None else pattern.explain(self._conduct.protocol_views())
        why = why or self._last_votes()
        return f": {why}" if why else ""

    def _last_votes(self) -> str:
        """Say who voted for what in the end; nothing where nobody votes for values."""
        ballots: dict[str, list[str]] = {}
        votes = self.counting.votes
        for name in self._scope.agents:
            if name in votes:
                ballots.setdefault(repr(votes[name]), []).append(name)
        if not ballots:
            return ""
        parts = [f"{', '.join(names)} voted for {value}" for value, names in ballots.items()]
        return f"{'; '.join(parts)}; a quorum is {self._scope.needed} of {len(self._scope.agents)}"


def _reads_messages(prop: Property, kinds: frozenset[str]) -> bool:
    """Whether a checker wants messages shown; built-in ones that ask for sendings alone are content with less."""
    return bool(MESSAGE_KINDS & kinds) and (prop.name not in BUILT_IN or "receive" in kinds)


def _missed(goal: Goal, criteria: tuple[CriterionResult, ...]) -> list[str]:
    """Say which criteria a goal was missed by; nothing if it was met."""
    if goal.is_met(criteria):
        return []
    missed = ", ".join(repr(result.name) for result in criteria if not result.met)
    if any(result.required and not result.met for result in criteria):
        return [f"the goal {goal.description!r} was missed: {missed}"]
    score, threshold = weight_met(criteria), goal.convergence_threshold
    return [
        f"the goal {goal.description!r} was missed: {score:.0%} of the weight met, {threshold:.0%} needed; not {missed}"
    ]


def _difference(conduct: Conduct, one: str, other: str) -> str:
    """Say where two views differ."""
    mine, theirs = conduct.view_of(one), conduct.view_of(other)
    for part in ("pattern", "machine", "exposed"):
        if part in mine and part in theirs and mine[part] != theirs[part]:
            return f"{mine[part]!r} and {theirs[part]!r}"
    states = [conduct.session.agents[name].state.as_dict() for name in (one, other)]
    for key in sorted({*states[0], *states[1]}, key=str):
        if states[0].get(key) != states[1].get(key):
            return f"{key!r} is {states[0].get(key)!r} for one and {states[1].get(key)!r} for the other"
    return "their states differ"


def raise_or_return(conduct: Conduct) -> Outcome:
    """Raise what ended the run, or return its outcome."""
    __tracebackhide__ = True
    outcome = conduct.session.outcome
    if conduct.ending.error is not None:
        raise conduct.ending.error
    if outcome is None:
        raise InternalError("a run ended without an outcome; please report this")
    return outcome

"""Faults that a schedule injects by itself: at the k-th step of an agent, or at a time.

Step-addressed faults (stall, pause, crash) are sparse sites: a life's fuse is set to the next step that deviates, so an
undisturbed step costs nothing. Partitions are addressed by time, in ticks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from pytest_convergence._engine.base.choices import Choices, Domain, Next, Span, smaller
from pytest_convergence._engine.base.noise import STEADY, Noise
from pytest_convergence._engine.base.sparse import forbidden
from pytest_convergence._engine.base.survey import Survey
from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns
from pytest_convergence._engine.sim.isolating import Isolation, Isolations
from pytest_convergence._engine.sim.node import NEVER, OUTAGE, STALL

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.fabric import Fabric
    from pytest_convergence._engine.sim.node import Life, Node
    from pytest_convergence._engine.sim.rules import Rule

__all__ = [
    "FAULT_KINDS",
    "ISOLATE",
    "MOST_CRASHES",
    "TICK_NS",
    "Cut",
    "Partitions",
    "StepPlan",
    "end_outages",
]

FAULT_KINDS: Final = (
    "loss",
    "duplicate",
    "delay",
    "reorder",
    "partition",
    "crash",
    "pause",
    "skew",
    "reset",
    "cancel",
    "late-answer",
    "slow-read",
)
"""The kinds that ``faults=[…]`` may name."""

MOST_CRASHES: Final = 3
"""How often a schedule crashes one agent at most."""
TICK_NS: Final = 100_000_000
"""Partitions begin at multiples of this."""


_LONGEST_TAIL_US: Final = 60_000_000


def _heavy(u: float, least_us: float) -> int:
    """Map ``u`` to a time with a Pareto distribution of shape 1."""
    return 1 + int(min(least_us / (1 - min(u, 1 - 1e-9)), _LONGEST_TAIL_US))


@final
class _Stall:
    """How long an agent hangs before a step: 1 lets everything that is ready now go first, n > 1 is n - 1 microseconds."""

    def __init__(self, tail: float = 0.0) -> None:
        self._usual = 1 - 5 * tail

    def decode(self, u: float) -> int:
        if u >= self._usual:
            return _heavy((u - self._usual) / (1 - self._usual), 5_000)
        u /= self._usual
        return 1 if u < 0.8 else 1 + int((u - 0.8) * 5 * 5_000)

    def describe(self, option: int) -> str:
        return "held behind everything ready" if option == 1 else f"held {format_ns((option - 1) * 1_000)}"

    def weaker(self, option: int) -> tuple[int, ...]:
        return smaller(option)


_GREATEST_OUTAGE_US: Final = 2_000_000


@final
class _Outage:
    """How long an agent is gone, in microseconds."""

    def __init__(self, words: str, greatest_us: int = _GREATEST_OUTAGE_US, tail: float = 0.0) -> None:
        self._words = words
        self._greatest_us = greatest_us
        self._usual = 1 - 5 * tail

    def decode(self, u: float) -> int:
        if u >= self._usual:
            return _heavy((u - self._usual) / (1 - self._usual), self._greatest_us / 2)
        u /= self._usual
        return 1 + int(u * u * self._greatest_us)  # short outages are the more telling ones

    @property
    def longest_ns(self) -> int:
        """Noise makes short ones; what is thought out may last as long as anybody wants."""
        return sys.maxsize

    def lasting(self, duration_ns: int) -> tuple[int, ...]:
        """Name the option of that length."""
        return (max(1, duration_ns // 1_000),)

    def companions(self, option: int) -> tuple[str, ...]:
        """Nobody."""
        return ()

    def describe(self, option: int) -> str:
        return f"{self._words} {format_ns(option * 1_000)}"

    def weaker(self, option: int) -> tuple[int, ...]:
        return smaller(option)


ISOLATE: Final = "isolate"
_STEP_KINDS: Final = ("stall", "pause", "crash")  # the worst last
_RATES: Final = {"stall": 0.02, "pause": 0.01, "crash": 0.01}
_GREATEST_RATE: Final = 0.5
_PATIENCE: Final = 64
"""For so many steps a fault waits until its agent sends something."""


def _domains(noise: Noise) -> dict[str, Domain]:
    greatest_us = max(1, int(_GREATEST_OUTAGE_US * noise.outage))
    return {
        "stall": _Stall(noise.tail),
        "pause": _Outage("paused for", greatest_us, noise.tail),
        "crash": _Outage("crashed, back after", greatest_us, noise.tail),
    }


_USUAL: Final = _domains(STEADY)


class _Waiting(NamedTuple):
    """A fault that is due, and waits until its agent has sent more than ``posted`` messages."""

    kind: str
    option: int
    posted: int
    latest_step: int


@final
class StepPlan:
    """What the schedule has in store for the steps of one node.

    Args:
        survey: is told of each step, if anybody wants to know when each was taken.

    Attributes:
        next_step: the step before which something happens.
    """

    __slots__ = (
        "_choices",
        "_crashes",
        "_domains",
        "_due",
        "_isolations",
        "_name",
        "_near_sends",
        "_next",
        "_survey",
        "_waiting",
        "next_step",
    )

    def __init__(
        self,
        choices: Choices,
        name: str,
        kinds: frozenset[str],
        noise: Noise = STEADY,
        isolations: Isolations | None = None,
        survey: Survey | None = None,
    ) -> None:
        self._choices = choices
        self._survey = survey
        self._isolations = isolations
        self._name = name
        self._near_sends = noise.near_sends
        self._domains = _USUAL if noise is STEADY else _domains(noise)
        self._next: dict[str, Next] = {}
        self._due: dict[str, tuple[int, int]] = {}
        self._waiting: _Waiting | None = None
        self._crashes = 0
        for kind in _STEP_KINDS:
            if kind == "stall" or kind in kinds:
                rate = min(_RATES[kind] * getattr(noise, kind), _GREATEST_RATE)
                self._ask(kind, rate)
        if isolations is not None and "partition" in kinds:
            # Only noise that aims makes use of it, and a schedule that names it.
            self._domains = {**self._domains, ISOLATE: isolations.domain(name)}
            self._ask(ISOLATE, 0.0)
        self.next_step = NEVER
        self._aim(0)

    def _ask(self, kind: str, rate: float) -> None:
        following = self._choices.rare(f"{kind} {self._name}", rate, self._domains[kind])
        if following is not forbidden:
            self._next[kind] = following
            self._plan(kind, 0)

    def _plan(self, kind: str, after: int) -> None:
        due = self._next[kind](after)
        if due is None:
            self._due.pop(kind, None)
        else:
            self._due[kind] = due

    def _aim(self, step: int) -> None:
        """Find the next step at which something happens, after ``step``."""
        self.next_step = min((at for at, _ in self._due.values()), default=NEVER)
        if self._survey is not None:
            self.next_step = min(self.next_step, step + 1)

    def strike(self, life: Life, kind: str, u: float, steps: int) -> None:
        """Plan a fault for the step after the next ``steps`` of a life, instead of the next one that is due of its kind.

        Args:
            u: which option of the fault, in ``[0, 1)``.
        """
        if kind in self._next:
            self._due[kind] = (life.steps + 1 + steps, max(1, self._domains[kind].decode(u)))
            self._aim_at(life)

    def plan_anew(self, life: Life) -> None:
        """Forget what is due: the schedule draws from another seed from now on."""
        self._waiting = None
        for kind in self._next:
            self._plan(kind, life.steps)
        self._aim_at(life)

    def _aim_at(self, life: Life) -> None:
        self._aim(life.steps)
        if life.fuse:
            life.fuse = self.next_step

    def _draw(self, step: int) -> tuple[str, int, int]:
        """Take what is due at a step: a fault that holds it up with its option, and the option of an isolation."""
        kind, option, isolate = "", 0, 0
        for name in self._next:  # in the order of _STEP_KINDS: the worst wins
            at, value = self._due.get(name, (NEVER, 0))
            if at <= step:
                self._plan(name, step)
                if name == ISOLATE:
                    isolate = value  # it holds nothing up: something else may happen at this step too
                else:
                    kind, option = name, value
        return kind, option, isolate

    def _after_a_send(self, node: Node, step: int, kind: str, option: int) -> tuple[str, int]:
        """Put a fault off until its agent has just sent something; return what is to happen now."""
        waiting = self._waiting
        if waiting is None:
            if kind not in ("crash", "pause"):
                return kind, option
            waiting = self._waiting = _Waiting(kind, option, node.posted(), step + _PATIENCE)
        if node.posted() == waiting.posted and step < waiting.latest_step:
            self.next_step = step + 1
            return "", 0
        self._waiting = None
        return waiting.kind, waiting.option

    def _isolate(self, node: Node, step: int, option: int) -> None:
        """Cut the agent off before a step, which is taken all the same."""
        domain = self._domains[ISOLATE]
        assert self._isolations is not None
        assert isinstance(domain, Isolation)
        self._choices.struck(f"{ISOLATE} {self._name}", step, option, domain)
        self._isolations.begin(node.fabric, self._name, domain, option)

    def disturb(self, node: Node, life: Life) -> bool:
        """Do what was planned for this step; return whether the step must wait, or will never run."""
        step = life.steps
        if self._survey is not None:
            self._survey.step(node.fabric.world.now_ns, self._name, step)
        kind, option, isolate = self._draw(step)
        self._aim(step)
        if isolate:
            self._isolate(node, step, isolate)
        if self._near_sends:
            kind, option = self._after_a_send(node, step, kind, option)
        life.fuse = self.next_step
        if not kind:
            return False
        self._choices.struck(f"{kind} {self._name}", step, option, self._domains[kind])
        world = node.fabric.world
        if kind == "crash":
            self._crashes += 1
            if self._crashes >= MOST_CRASHES:
                self._next.pop("crash")
                self._due.pop("crash", None)
                self._aim(step)
            node.crash()
            world.at(world.now_ns + option * 1_000, _restart, life)
        elif kind == "pause":
            node.pause(OUTAGE)
            world.at(world.now_ns + option * 1_000, _resume, life)
        else:
            node.fabric.note("stall", node, {"step": step, "us": option - 1})
            node.hold(STALL)
            world.at(world.now_ns + (option - 1) * 1_000, _release, life)
        return True


# What was begun with one life is ended for that life alone: the test may have restarted, crashed or paused it meanwhile.


def _restart(life: Life) -> None:
    if life.node.life is life:
        life.node.restart()


def _resume(life: Life) -> None:
    if life.node.life is life:
        life.node.resume(OUTAGE)


def _release(life: Life) -> None:
    if life.node.life is life:
        life.node.release(STALL)


def end_outages(fabric: Fabric) -> None:
    """End at once what the schedule has begun: its paused agents go on, its crashed ones come back."""
    ends = sorted(
        event for event in fabric.world.events if event[2] in _ENDS
    )  # a number makes each event unique
    for _, _, function, life in ends:
        if life.node.fabric is fabric:
            function(life)  # once more when its time comes, which does nothing then


_ENDS: Final = (_restart, _resume, _release)


@final
class Cut:
    """Which agents are cut off and for how long: ``group + groups * milliseconds``."""

    def __init__(self, names: list[str], outage: float = 1.0) -> None:
        self._names = names
        self._greatest_ms = max(1, int(3_000 * outage))
        # Groups are subsets by bit mask, neither empty nor everybody; masks beyond 12 agents repeat.
        self.groups = (1 << min(len(names), 12)) - 2

    def decode(self, u: float) -> int:
        scaled = u * self.groups
        group = int(scaled)
        return max(1, group + self.groups * int((scaled - group) * self._greatest_ms))

    def group(self, option: int) -> list[str]:
        mask = option % self.groups + 1
        return [name for bit, name in enumerate(self._names) if mask >> (bit % 12) & 1]

    def option(self, group: Sequence[str], duration_ns: int) -> int:
        """Return the option that cuts off ``group`` for so long, which is counted in milliseconds."""
        mask = 0
        for bit, name in enumerate(self._names):
            mask |= (name in group) << bit % 12
        return mask - 1 + self.groups * (max(1, duration_ns // 1_000_000) - 1)

    def duration_ns(self, option: int) -> int:
        return (option // self.groups + 1) * 1_000_000

    def describe(self, option: int) -> str:
        return f"{', '.join(self.group(option))} cut off for {format_ns(self.duration_ns(option))}"

    def weaker(self, option: int) -> tuple[int, ...]:
        """The same group for a shorter time."""
        group, length = option % self.groups, option // self.groups
        return tuple(
            self.groups * each + group
            for each in (0, *smaller(length))
            if 0 < self.groups * each + group < option
        )


@final
class Partitions:
    """Cuts off a group of agents now and then; a tick is 100 virtual milliseconds.

    Args:
        listed: whether each partition is named by the schedule: then a new one ends the one before. Of those that are drawn,
            one that would begin while another lasts does not come about; only noise that aims ends another one.
    """

    def __init__(
        self, fabric: Fabric, names: list[str], noise: Noise = STEADY, *, listed: bool = False
    ) -> None:
        self._fabric = fabric
        self._names = names
        self._listed = listed
        self._cut = Cut(names, noise.outage)
        self._rule: Rule | None = None
        self._last_tick = 0
        self._begun_ns = fabric.world.now_ns
        self.stopped = len(names) < 2
        if not self.stopped:
            rate = min(0.1 * noise.partition, _GREATEST_RATE)
            self._next = fabric.choices.rare("partition", rate, self._cut)
            self._arm(0)

    def strike(self, group: Sequence[str], ticks: int, duration_ns: int) -> None:
        """Cut off ``group`` at the ``ticks``-th tick from now."""
        if not self.stopped and self._next is not forbidden:
            now = (self._fabric.world.now_ns - self._begun_ns) // TICK_NS
            tick = now + max(1, ticks)
            due = (tick, self._cut.option(group, duration_ns))
            self._at(self._begun_ns + tick * TICK_NS, self._strike, due, first=True)

    def _strike(self, due: tuple[int, int]) -> None:
        if not self.stopped:
            self._cut_off(*due)

    def _arm(self, after: int) -> None:
        due = self._next(after)
        if due is not None:
            tick, option = due
            self._at(self._begun_ns + tick * TICK_NS, self._begin, (tick, option), first=True)

    def _at(self, at_ns: int, function: Callable[[Any], None], argument: Any, *, first: bool = False) -> None:
        """A partition comes and goes while others act; when nothing else is left to happen, it changes nothing.

        It begins before anything else at its instant: whenever it was decided upon, it means the same.
        """
        world = self._fabric.world
        world.inert += 1
        world.at_background(at_ns, self._happen, (function, argument), first=first)

    def _happen(self, event: tuple[Callable[[Any], None], Any]) -> None:
        self._fabric.world.inert -= 1
        function, argument = event
        function(argument)

    def _begin(self, due: tuple[int, int]) -> None:
        if self.stopped:
            return
        if self._rule is None or self._listed:
            self._cut_off(*due)
        self._arm(due[0])

    def _cut_off(self, tick: int, option: int) -> None:
        group = self._cut.group(option)
        if len(group) == len(self._names) or tick == self._last_tick:
            return
        self._last_tick = tick
        self._end(self._rule)
        from pytest_convergence._engine.sim.rules import NetworkControl

        self._fabric.choices.struck("partition", tick, option, self._cut)
        self._rule = NetworkControl(lambda: self._fabric, lambda: self._names).partition(group)
        self._at(self._fabric.world.now_ns + self._cut.duration_ns(option), self._end, self._rule)

    def _end(self, rule: Rule | None) -> None:
        if rule is not None and rule is self._rule:
            rule.heal()
            self._rule = None

    def stop(self) -> None:
        """No more partitions; heal the one that lasts."""
        self.stopped = True
        self._end(self._rule)


SKEW: Final = Span(2 * 500, " ms")
"""Clock offsets that a schedule may choose: option n is n - 500 milliseconds, but 0 is none."""


def skew_offset_seconds(option: int) -> float:
    """Turn an option of :data:`SKEW` into seconds."""
    return 0.0 if option == 0 else (option - 500) * 1_000_000 / NS_PER_SECOND

"""The court of one replica: gives each conflict to the strategies of the plan, and keeps what others have decided.

1. What a court says is a function of the conflict, of the plan, and of the verdicts that it was given. Verdicts are made
   once, durably, by one agent, so two courts that were given the same verdicts say the same.
2. A question that was asked in vain for too long is *given up for now*: the next strategy, if the plan has one, has its
   turn. The verdict counts all the same when it comes.
3. The court also stamps what its replica writes: with what the writer found there, where a strategy asks for the common
   ancestor, and with the writer's priority, which grows with each conflict that it loses.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.clocks import VectorClock
from pytest_convergence._engine.state.conflict_types import classify
from pytest_convergence._engine.state.conflicts import Conflict, Resolution
from pytest_convergence._engine.state.derived import is_undone, rolled_back
from pytest_convergence._engine.state.paths import Path, overlap
from pytest_convergence._engine.state.plan import Asked, Plan, as_plan, question_key
from pytest_convergence._engine.state.resolution import LAST_WRITE, ByPriority, Strategy
from pytest_convergence._engine.state.updates import DELETED, Dot, Past, Update
from pytest_convergence._engine.state.values import freeze

__all__ = ["Court", "Question", "Verdict", "is_dependant", "undoes"]

_LONGEST_PAST: Final = 100
"""How many writes of a path back the common ancestor of rivals can be found."""


class Verdict(NamedTuple):
    """What was decided about a conflict by one agent for all; without a resolution it is: nothing."""

    resolution: Resolution | None


class Question(NamedTuple):
    """A question that a replica has about a conflict, and the strategy by which it is answered."""

    key: str
    conflict: Conflict
    step: Asked
    is_last: bool


@final
class Court:
    """Settles the conflicts that one replica meets.

    Attributes:
        plan: what is tried, in order.
        is_last_write: whether the order of updates settles everything, so that nobody need be asked.
        needs_ancestor: whether writes must say what they found.
        rolls_back: whether some strategy of the plan goes back to what was before.
    """

    __slots__ = (
        "_agent",
        "_given_up",
        "_lost",
        "_priority",
        "_verdicts",
        "is_last_write",
        "needs_ancestor",
        "plan",
        "rolls_back",
    )

    def __init__(self, agent: str, strategy: Strategy | Plan) -> None:
        self._agent = agent
        self.plan = as_plan(strategy)
        self.is_last_write = self.plan.is_last_write
        self.needs_ancestor = any(step.needs_ancestor for step in self.plan.steps)
        self.rolls_back = any(step.name == "rollback" for step in self.plan.steps)
        self._priority = next((step for step in self.plan.steps if isinstance(step, ByPriority)), None)
        self._verdicts: dict[str, Verdict] = {}
        self._given_up: set[str] = set()
        self._lost: dict[Path, dict[int, bool]] = {}

    # -- settling ------------------------------------------------------------------------------------------------------

    def settle(self, conflict: Conflict, last_write: Callable[[], Resolution]) -> Conflict:
        """Return the conflict with its type, and with its resolution if there is one.

        ``last_write`` tells what the order of updates makes of it.
        """
        kind, severity = classify(conflict, self.plan.rules)
        conflict = replace(conflict, type=kind, severity=severity)
        waits_for = ""
        after: list[str] = []
        for place, step in enumerate(self.plan.steps_for(kind)):
            if isinstance(step, Asked):
                key = question_key(conflict.id, place)
                verdict = self._verdicts.get(key)
                if verdict is None:
                    waits_for = waits_for or _whom(step)
                    if key not in self._given_up:
                        break
                answer = None if verdict is None else verdict.resolution
            elif step is LAST_WRITE:
                answer = last_write()
            else:
                answer = None if step.decide is None else step.decide(conflict)
            if answer is not None:
                where = f"the value that {step.name!r} gave for {conflict.path}"
                value = DELETED if answer.value is DELETED else freeze(answer.value, where)
                answer = answer._replace(value=value, after=tuple(after))
                return replace(conflict, resolution=answer, waits_for=waits_for)
            after.append(step.name)
        return replace(conflict, resolution=None, waits_for=waits_for)

    # -- asking others -------------------------------------------------------------------------------------------------

    def questions(self, conflict: Conflict) -> tuple[Question, ...]:
        """What is to be asked about a conflict: of each strategy that has had its turn and has no verdict yet."""
        found: list[Question] = []
        steps = self.plan.steps_for(conflict.type)
        for place, step in enumerate(steps):
            if not isinstance(step, Asked):
                if conflict.resolution is not None and conflict.resolution.strategy == step.name:
                    break
                continue
            key = question_key(conflict.id, place)
            verdict = self._verdicts.get(key)
            if verdict is None:
                found.append(Question(key, conflict, step, place == len(steps) - 1))
                if key not in self._given_up:
                    break
            elif verdict.resolution is not None:
                break
        return tuple(found)

    def give(self, key: str, verdict: Verdict) -> bool:
        """Take in a verdict; return whether it is news. The first one counts: there is but one."""
        if key in self._verdicts:
            return False
        self._verdicts[key] = verdict
        return True

    def give_up(self, key: str) -> bool:
        """Let the next strategy have its turn while a question stays unanswered; return whether that is news."""
        if key in self._given_up or key in self._verdicts:
            return False
        self._given_up.add(key)
        return True

    def forget(self) -> None:
        """The agent has crashed: what its court only had in mind is gone. Verdicts are durable, so they are not."""
        self._given_up.clear()
        self._lost.clear()

    # -- stamping ------------------------------------------------------------------------------------------------------

    def past(
        self,
        path: Path,
        seen: Iterable[Update],
        value: Any,
        context: VectorClock,
        undone: Container[Dot] = (),
    ) -> tuple[Past, ...]:
        """What a write to ``path`` says it found: the live updates ``seen`` there, and what they found in turn.

        ``undone`` are those that ``value`` does not show, because a rollback at another path took them back.
        """
        if not self.needs_ancestor:
            return ()
        found = tuple(seen)
        known = {past.dots: past for update in found if update.segments == path for past in update.past}
        shown = (update for update in found if update.dot not in undone)
        sources = tuple(dict.fromkeys(source for update in shown for source in update.sources))
        newest = Past(
            context.total(), tuple(sorted(update.dot for update in found)), value, sources[:_LONGEST_PAST]
        )
        known[newest.dots] = newest
        ordered = sorted(known.values(), key=lambda past: (-past.rank, past.dots))
        return tuple(islice(ordered, _LONGEST_PAST))

    def priority(self, path: Path, own: float | None) -> float:
        """The priority of a write to ``path``: its own or its author's, and more for each conflict lost there in a row."""
        if self._priority is None:
            return 0 if own is None else own
        base = self._priority.agents.get(self._agent, 0) if own is None else own
        return base + self._priority.aging * self._losses(path)

    def _losses(self, path: Path) -> int:
        """How many of the own writes at ``path``, above and below have lost since the last that won."""
        fared: dict[int, bool] = {}
        for lost_at, lost in self._lost.items():
            if overlap(lost_at, path):
                for number, has_lost in lost.items():
                    fared[number] = fared.get(number, True) and has_lost
        return sum(1 for _ in takewhile(fared.__getitem__, sorted(fared, reverse=True)))

    def note(self, conflict: Conflict) -> None:
        """Keep in mind how the own writes in a conflict fared."""
        winner = conflict.winner
        if self._priority is None or winner is None or self._agent not in conflict.agents:
            return
        last = max(write.dot.counter for write in conflict.writes if write.agent == self._agent)
        self._lost.setdefault(conflict.segments, {})[last] = winner != self._agent


def _whom(step: Asked) -> str:
    return f"{step.name} by {step.judge!r}" if step.judge is not None else step.name


def undoes(conflict: Conflict, update: Update) -> bool:
    """Whether a rollback of the conflict takes back an update that is not one of the rivals."""
    if update.dot in conflict.dots:
        return False
    if overlap(update.segments, conflict.segments) and is_dependant(update, conflict.writes):
        return True
    return is_undone(update, rolled_back(conflict.writes))


def is_dependant(update: Update, members: Iterable[Update]) -> bool:
    """Whether ``update`` was written in knowledge of some, and not of all, of the rivals."""
    seen = [update.has_seen(member) for member in members]
    return any(seen) and not all(seen)

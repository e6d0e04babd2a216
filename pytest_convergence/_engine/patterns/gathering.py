"""Scatter and gather: one agent hands out the parts of a round, collects what comes back in time, and merges it.

Source: the hedged requests are those of J. Dean and L. A. Barroso, *The Tail at Scale* (CACM 56/2, 2013); rounds
that are told apart by a number which every message bears are those of N. Lynch, *Distributed Algorithms* (1996),
chapter 16 (synchronizers).

Theory of operation
1. One agent *coordinates*. Each agent that has a task owns the *part* that bears its name. The coordinator asks the
   owner of each part to do it, and asks again until it has an answer or the deadline has passed.
2. A *round* has a number, and so has every question and answer. An answer that belongs to another round counts for
   nothing. A worker that hears of a later round drops what it still does for the earlier one.
3. Of each part one answer counts: the first that the coordinator makes durable. So a repeated answer, and that of a
   second agent that was asked because the first is slow (a *hedge*), change nothing.
4. The deadline closes the round, and so does the last answer. That is durable too: what comes later is no part of
   the result, whether the coordinator crashes or not. A part that is missing is named in the result.
5. The parts are merged in the order of the tasks, whatever the order in which they came.
6. The result is durable before anybody is told, and told until everybody is known to know it.
7. A coordinator that restarts goes on with the round that it was in: it keeps what it had counted, and asks for the
   rest; the deadline begins anew, because a machine has no clock. A worker that restarts does its part again when it
   is asked again.
8. A worker gives up its part by itself when the deadline has passed since it was asked: whoever waits for it has
   gone on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pytest_convergence._engine.base.effects import (
    RAISED,
    Call,
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.base.time import NS_PER_SECOND
from pytest_convergence._engine.patterns.decision import DECIDED, LONGEST_BACKOFF, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.working import Answer, Worker
from pytest_convergence._engine.state.combining import Combine, combine_named
from pytest_convergence._engine.state.three_way import MergeConflict, Merged
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["GatherRules", "Gathering"]

WORK: Final = "work"
RESULT: Final = "result"

DEADLINE_TIMER: Final = "deadline"
RESEND_TIMER: Final = "resend"
HEDGE_TIMER: Final = "hedge"
GIVE_UP_TIMER: Final = "give up"

_MERGE_CALL: Final = "merge"


class GatherRules(NamedTuple):
    """What all agents of a gathering share. ``rounds`` are the tasks of each round, by part."""

    coordinator: str
    rounds: tuple[Mapping[str, Any], ...]
    merge: Combine
    base: Any
    deadline_ns: int
    resend_ns: int
    hedge_ns: int | None
    hedges: int
    flag_errors: bool
    understand: Callable[[Any, Any], Any] | None = (
        None  # makes a document of the base and of a result that is a patch
    )


class Gathering:
    """One agent's side of a parallel merge (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(self, agent: str, agents: Sequence[str], rules: GatherRules) -> None:
        self.name = agent
        self.agents = tuple(agents)
        self.others = tuple(other for other in self.agents if other != agent)
        self.rules = rules
        self.leads = agent == rules.coordinator
        self.worker = Worker(WORK)
        self.durable = Slots("gathering")
        self.decision = Decision(self.others if self.leads else (), rules.resend_ns)
        # What the coordinator knows; all but the last three is durable.
        self.round = 0
        self.counted: dict[str, tuple[str, Any]] = {}  # part to who did it and what came of it
        self.failed: dict[str, str] = {}
        self.closed = False
        self.outputs: list[Any] = []
        self.asked: dict[str, list[str]] = {}  # part to those who were asked for it
        self.errors: dict[str, dict[str, str]] = {}  # part to who raised and what
        self.repeats = 0

    # -- the machine's doors ---------------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin the first round, or go on where the life before left off."""
        saved = self.durable.load(durable)
        if saved is not None and saved["result"]:
            return self.decision.announce(saved["result"][0])
        if not self.leads:
            return []
        if saved is None:
            return self._begin(1)
        self.round, self.closed, self.outputs = saved["round"], saved["closed"], list(saved["outputs"])
        self.counted = {part: (by, value) for part, (by, value) in saved["counted"].items()}
        self.failed = dict(saved["failed"])
        return [self._round_fact(), self._closed_fact(), *self._merge()] if self.closed else self._collect()

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take one message; those of agents that are not configured are ignored.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        if kind not in (WORK, RESULT, DECIDED):
            raise unknown_name("message of a parallel merge", kind, (WORK, RESULT, DECIDED))
        if sender not in self.others:
            return []
        if kind == DECIDED:
            return self._on_decided(sender, payload)
        if self.decision.is_made:
            return []
        if kind == RESULT:
            return self._on_result(sender, payload)
        return self._on_work(payload) if sender == self.rules.coordinator else []

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Ask again, ask somebody else, or go on without."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        if name == GIVE_UP_TIMER:
            return self.worker.give_up()
        if name == DEADLINE_TIMER:
            return self._close()
        return self._hedge() if name == HEDGE_TIMER else self._repeat()

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """One of the user's functions returned or raised."""
        if name == RAISED and not (self.rules.flag_errors and self.worker.is_call(argument.id)):
            raise argument.error
        if not self.worker.is_call(argument.id):
            return self._merged(argument.value, ())
        answer = self.worker.ended(argument)
        observed: list[Effect] = [self._answer_fact(answer)]
        idle = [] if self.leads or self.worker.is_busy else [CancelTimer(GIVE_UP_TIMER)]
        if self.leads:
            return observed + self._on_result(self.name, answer)
        return [*observed, *idle, Send(self.rules.coordinator, RESULT, answer)]

    def view(self) -> Any:
        """Return the result, or ``None``."""
        return self.decision.value

    # -- the worker's side -----------------------------------------------------------------------------------------

    def _on_work(self, payload: Any) -> list[Effect]:
        was_busy = self.worker.is_busy
        effects, answer = self.worker.asked(payload["round"], payload["part"], (payload["task"],))
        if answer is not None:
            return [*effects, Send(self.rules.coordinator, RESULT, answer)]
        if not was_busy and self.worker.is_busy:
            effects.append(SetTimer(GIVE_UP_TIMER, self.rules.deadline_ns))
        return effects

    def _answer_fact(self, answer: Answer) -> Observe:
        data = {"round": answer["round"], "part": answer["part"]}
        if "value" in answer:
            return Observe("part_answered", {**data, "value": answer["value"][0]})
        return Observe("part_failed", {**data, "error": answer["error"]})

    # -- the coordinator's side ------------------------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks of the present round."""
        return self.rules.rounds[self.round - 1]

    def _open_parts(self) -> list[str]:
        return [part for part in self.tasks if part not in self.counted and part not in self.failed]

    def _begin(self, number: int) -> list[Effect]:
        self.round, self.closed = number, False
        self.counted, self.failed, self.asked, self.errors = {}, {}, {}, {}
        return [*self._save(), *self._collect()]

    def _collect(self) -> list[Effect]:
        """Ask for what is missing of the present round."""
        rules = self.rules
        self.repeats = 0
        effects: list[Effect] = [self._round_fact(), SetTimer(DEADLINE_TIMER, rules.deadline_ns)]
        if rules.hedge_ns is not None and rules.hedges:
            effects.append(SetTimer(HEDGE_TIMER, rules.hedge_ns))
        effects.append(SetTimer(RESEND_TIMER, rules.resend_ns))
        for part in self._open_parts():
            effects += self._ask(part, part)
        return effects if self._open_parts() else [*effects, *self._close()]

    def _round_fact(self) -> Effect:
        """Say what is collected, and what a life before has left of it."""
        kept = [part for part in self.tasks if part in self.counted]
        seconds = self.rules.deadline_ns / NS_PER_SECOND
        data = {"round": self.round, "parts": list(self.tasks), "deadline": seconds, "counted": kept}
        return Observe("round", data)

    def _closed_fact(self) -> Effect:
        return Observe("round_closed", {"round": self.round, "missing": self._open_parts()})

    def _ask(self, part: str, to: str) -> list[Effect]:
        """Ask ``to`` for ``part``, for the first time or again."""
        effects: list[Effect] = []
        if to not in self.asked.setdefault(part, []):
            self.asked[part].append(to)
            effects.append(Observe("part_asked", {"round": self.round, "part": part, "to": to}))
        task = self.tasks[part]
        if to != self.name:
            return [*effects, Send(to, WORK, {"round": self.round, "part": part, "task": task})]
        started, answer = self.worker.asked(self.round, part, (task,))
        effects += started
        return effects if answer is None else effects + self._on_result(self.name, answer)

    def _repeat(self) -> list[Effect]:
        self.repeats += 1
        delay_ns = self.rules.resend_ns * min(1 << self.repeats, LONGEST_BACKOFF)
        effects: list[Effect] = [SetTimer(RESEND_TIMER, delay_ns)]
        for part in self._open_parts():
            for to in self.asked.get(part, [part]):
                if to != self.name and to not in self.errors.get(part, {}):
                    effects.append(Observe("retry", {"round": self.round, "part": part, "to": to}))
                    effects += self._ask(part, to)
        return effects

    def _hedge(self) -> list[Effect]:
        """Ask one more agent for each part that is still missing."""
        effects: list[Effect] = []
        for part in self._open_parts():
            effects += self._ask_another(part)
        again = any(self._helper(part) is not None for part in self._open_parts())
        if again and self.rules.hedge_ns is not None:
            effects.append(SetTimer(HEDGE_TIMER, self.rules.hedge_ns))
        return effects

    def _ask_another(self, part: str) -> list[Effect]:
        helper = self._helper(part)
        return [] if helper is None else self._ask(part, helper)

    def _helper(self, part: str) -> str | None:
        """Who may do ``part`` too: whoever was asked for the least that is missing, the next after the owner first."""
        asked = self.asked.get(part, [])
        if len(asked) > self.rules.hedges:
            return None
        place = self.agents.index(part) + 1
        turn = [agent for agent in (*self.agents[place:], *self.agents[:place]) if agent not in asked]
        load = Counter(agent for each in self._open_parts() for agent in self.asked.get(each, []))
        return min(turn, key=lambda agent: load[agent], default=None)

    def _on_result(self, by: str, answer: Answer) -> list[Effect]:
        part = answer["part"]
        if not self.leads or self.closed or answer["round"] != self.round or part not in self._open_parts():
            return []
        if "error" in answer:
            return self._on_error(by, part, answer["error"])
        self.counted[part] = (by, answer["value"][0])
        data = {"round": self.round, "part": part, "by": by, "value": answer["value"][0]}
        return [*self._save(), Observe("part_counted", data), *self._progress()]

    def _on_error(self, by: str, part: str, error: str) -> list[Effect]:
        """An agent cannot do a part: another one may, and if all who were asked cannot, it has failed."""
        self.errors.setdefault(part, {})[by] = error
        if self.rules.hedge_ns is not None and (helped := self._ask_another(part)):
            return helped
        if len(self.errors[part]) < len(self.asked.get(part, [])):
            return []
        self.failed[part] = error
        return [*self._save(), *self._progress()]

    def _progress(self) -> list[Effect]:
        return [] if self._open_parts() else self._close()

    def _close(self) -> list[Effect]:
        """Nothing more counts in this round."""
        self.closed = True
        timers = [CancelTimer(name) for name in (DEADLINE_TIMER, RESEND_TIMER, HEDGE_TIMER)]
        return [*self._save(), *timers, *self.worker.give_up(), self._closed_fact(), *self._merge()]

    def _merge(self) -> list[Effect]:
        parts = self._documents()
        merge = self.rules.merge
        if not parts:
            return self._merged(None, ())
        if isinstance(merge, str):
            return self._merged(*combine_named(merge, parts, self.rules.base))
        return [Call(f"{_MERGE_CALL} {self.round}", _MERGE_CALL, (parts,))]

    def _documents(self) -> dict[str, Any]:
        """What there is to merge, in the order of the tasks; of a patch, the base as it changes it."""
        documents: dict[str, Any] = {}
        for part in [part for part in self.tasks if part in self.counted]:
            result = self.counted[part][1]
            try:
                understand = self.rules.understand
                documents[part] = result if understand is None else understand(self.rules.base, result)
            except ConvergenceUsageError as error:
                if not self.rules.flag_errors:
                    raise
                del self.counted[part]
                self.failed[part] = str(error)
        return documents

    def _merged(self, value: Any, conflicts: tuple[MergeConflict, ...]) -> list[Effect]:
        """Go on with what was merged: to the next round, or to the end."""
        if value is None and self.counted:
            raise ConvergenceUsageError(
                f"merge returned None in round {self.round}, which means 'no result'. Return what was merged."
            )
        missing = tuple(self._open_parts())
        order = [part for part in self.tasks if part in self.counted]
        data = {"round": self.round, "value": value, "order": order, "missing": [*missing, *self.failed]}
        if conflicts:
            data["conflicts"] = [conflict.path for conflict in conflicts]
        merged = Merged(value, conflicts, missing, dict(self.failed))
        self.outputs.append(value if merged.is_complete else merged)
        fact = Observe("merged", data)
        if self.round < len(self.rules.rounds):
            return [fact, *self._begin(self.round + 1)]
        result = self.outputs[0] if len(self.outputs) == 1 else tuple(self.outputs)
        return [fact, *self._save(result), *self.decision.announce(result)]

    # -- the end ---------------------------------------------------------------------------------------------------

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        effects: list[Effect] = []
        if not self.decision.is_made:
            effects += [*self.worker.stop(), CancelTimer(GIVE_UP_TIMER), *self._save(payload["value"])]
            effects += self.decision.announce(payload["value"])
        return effects + self.decision.heard_from(sender, ask=payload["ask"])

    def _save(self, result: Any = None) -> list[Effect]:
        state = {
            "round": self.round,
            "counted": {part: list(kept) for part, kept in self.counted.items()},
            "failed": dict(self.failed),
            "closed": self.closed,
            "outputs": list(self.outputs),
            "result": [] if result is None else [result],
        }
        return self.durable.save(state)

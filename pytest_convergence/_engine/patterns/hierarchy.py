"""Delegation down a tree, under supervision.

Sources: supervision is that of Erlang/OTP (:mod:`.supervision`); deadlines are handed down as time left, as gRPC does,
because clocks differ.

Theory of operation
1. The root is given the task. An agent with children *splits* its task into parts and delegates each to a child; when
   all results are here it *combines* them. An agent without children, or whose split says ``None``, *works*. The root's
   result is the result of the run, and everybody is told it (:mod:`.decision`).
2. A delegation has an *attempt number*, which its parent raises durably before it starts the next attempt. A child
   begins an attempt once, however often it hears of it, drops the older one when it hears of a newer, and ignores what
   is older. A parent takes the result of the newest attempt and of no other.
3. Until a part is done its parent repeats the delegation; the child answers how it stands. So no message need arrive:
   what counts is what both remember, and they make it durable before they say it.
4. A part *fails* when its function raises, its time is up, its agent crashed while it worked, or the agent has not been
   heard of for too long (which may be wrong: then the old attempt may still run, and its result is refused). The parent
   restarts those in the scope of its strategy. At one restart more than are allowed in a period it gives up: it cancels
   its other parts and fails itself, so that its own parent must act. When the root gives up, that is the result.
5. There is no clock: a machine learns that time passes when its timer fires. A task's time is counted in laps. A part is
   granted a share of what is surely left, so that no child has longer than its parent; and a life that begins anew goes
   on with what was left at the last lap.
6. A cancelled agent stops its function, cancels the parts that it delegated in turn, and says that it stopped; a
   cancellation is repeated until then. Whoever learns the result of the run stops as well.
7. An agent that has parts at work and crashes goes on waiting for them. If it crashed in a split or a combine it calls
   that function again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelCall,
    CancelTimer,
    Effect,
    Observe,
    Send,
    SetTimer,
)
from pytest_convergence._engine.base.time import to_seconds
from pytest_convergence._engine.patterns.decision import DECIDED, SPREAD_TIMER, Decision
from pytest_convergence._engine.patterns.delegation import (
    Job,
    Part,
    Phase,
    begin_fact,
    cancel_fact,
    end_fact,
    naming,
)
from pytest_convergence._engine.patterns.durable import Slots
from pytest_convergence._engine.patterns.supervision import Supervision, scope_of
from pytest_convergence._engine.patterns.tree import Tree
from pytest_convergence.errors import unknown_name

__all__ = ["GAVE_UP", "RESULT", "Hierarchy"]

DELEGATE: Final = "delegate"
ACCEPTED: Final = "accepted"
DELIVERED: Final = "result"
FAILED: Final = "failed"
CANCEL: Final = "cancel"
CANCELLED: Final = "cancelled"

POLL_TIMER: Final = "poll"
LAP: Final = "lap"
FORGET: Final = "forget"
_SLOWEST: Final = 4
"""Repetitions slow down to this many times the interval."""

RESULT: Final = "result"
GAVE_UP: Final = "gave_up"
_FUNCTIONS: Final = {Phase.SPLITTING: "split", Phase.WORKING: "work", Phase.COMBINING: "combine"}


class Hierarchy:
    """One agent's place in the tree (a :class:`~pytest_convergence._engine.base.effects.Machine`)."""

    def __init__(self, agent: str, agents: Sequence[str], tree: Tree, task: Any, rules: Supervision) -> None:
        self.name = agent
        self.task = task
        self.rules = rules
        self.is_root = agent == tree.root
        self.children = tree.children.get(agent, ())
        self.supervisor = tree.supervisors.get(agent)
        self.durable = Slots("hierarchy")
        self.decision = Decision([other for other in agents if other != agent], rules.resend_ns)
        self.jobs: dict[str, Job] = {}
        self.cancelling: dict[
            str, list[Any]
        ] = {}  # task -> [agent, what it is told], until it says that it stopped
        self.unheard_ns = dict.fromkeys(self.children, 0)
        self.polls = 0

    # -- the machine's four doors ----------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> Iterable[Effect]:
        """Begin with the task if this is the root, or where the life before left off."""
        saved = self.durable.load(durable)
        if saved is None:
            return (
                self._begin(Job(self.name, 1, self.name, (), self.task), self.rules.deadline_ns)
                if self.is_root
                else []
            )
        if saved["decision"]:
            return self.decision.announce(saved["decision"][0])
        self.jobs = {job["task"]: Job.from_dict(job) for job in saved["jobs"]}
        self.cancelling = {task: list(asked) for task, asked in saved["cancelling"].items()}
        effects: list[Effect] = [cancel_fact(asked[1]) for asked in self.cancelling.values()]
        for job in list(self.jobs.values()):
            effects += self._recover(job)
        return [*effects, *self._poll()]

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterable[Effect]:
        """Take up, report, or take note of a report."""
        if kind == DECIDED:
            return self._on_decided(sender, payload)
        if self.decision.is_made:
            return []
        if kind == DELEGATE:
            return self._on_delegate(payload)
        if kind == CANCEL:
            return self._on_cancel(sender, payload)
        self.unheard_ns[sender] = 0
        if kind == CANCELLED:
            self._on_cancelled(payload)
            return []
        return self._on_report(kind, payload)

    def on_timer(self, name: str) -> Iterable[Effect]:
        """Repeat what is unanswered, count a lap, or forget a restart."""
        if name == SPREAD_TIMER:
            return self.decision.spread()
        what, _, task = name.partition(" ")
        if what == POLL_TIMER:
            return self._poll()
        number = ""
        if what == FORGET:
            task, _, number = task.rpartition(" ")
        job = self.jobs.get(task)
        if job is None:
            return []
        if what == LAP:
            return self._on_lap(job)
        job.recent = [each for each in job.recent if each != int(number)]
        return []

    def on_command(self, name: str, argument: Any) -> Iterable[Effect]:
        """A function of the user's returned, or raised.

        Raises:
            ConvergenceUsageError: it is another command, or a split names somebody who is not a child.
        """
        if name not in (RETURNED, RAISED):
            raise unknown_name("hierarchical command", name, (RETURNED, RAISED))
        job = next((job for job in self.jobs.values() if _call_id(job) == argument.id), None)
        if job is None:
            return []
        if name == RAISED:
            error = argument.error
            return self._fail(job, f"{_FUNCTIONS[job.phase]} raised {type(error).__name__}: {error}")
        return self._returned(job, argument.value)

    def view(self) -> Any:
        """Return ``{"result": …}`` or ``{"gave_up": why}``, once this agent knows."""
        return self.decision.value

    # -- a task of one's own ---------------------------------------------------------------------------------------

    def _begin(self, job: Job, left_ns: int) -> list[Effect]:
        job.give_time(left_ns)
        job.phase = Phase.SPLITTING if self.children else Phase.WORKING
        self.jobs[job.task] = job
        return [*self._save(), begin_fact(job), _lap_timer(job), *self._call(job)]

    def _call(self, job: Job) -> list[Effect]:
        arguments: dict[Phase, tuple[Any, ...]] = {
            Phase.SPLITTING: (job.given, self.children),
            Phase.WORKING: (job.given,),
            Phase.COMBINING: (job.results(),),
        }
        return [Call(_call_id(job), _FUNCTIONS[job.phase], arguments[job.phase])]

    def _returned(self, job: Job, value: Any) -> list[Effect]:
        if job.phase is not Phase.SPLITTING:
            return self._finish(job, value)
        if value is None:
            job.phase = Phase.WORKING
            return [*self._save(), *self._call(job)]
        job.parts = []
        self._deal(job, value)
        if not job.parts:
            job.phase = Phase.COMBINING
            return [*self._save(), *self._call(job)]
        if job.grant_ns(self.rules.share) == 0:
            return self._fail(job, "its time was up before it could delegate")
        job.phase = Phase.WAITING
        return [*self._save(), *self._delegate(job, job.parts)]

    def _deal(self, job: Job, value: Any) -> None:
        job.deal(self.name, self.children, value)

    def _finish(self, job: Job, value: Any) -> list[Effect]:
        job.phase, job.value = Phase.DONE, value
        ended = [*_disarm(job), end_fact(job)]
        if self.is_root:
            return self._conclude({RESULT: value}, ended)
        return [*self._save(), *ended, *self._report(job)]

    def _fail(self, job: Job, reason: str) -> list[Effect]:
        """Give up on a task, and on all of its parts."""
        halted = self._halt(job)
        job.phase, job.reason = Phase.FAILED, reason
        if self.is_root:
            return self._conclude({GAVE_UP: reason}, [*halted, end_fact(job)])
        return [*self._save(), *halted, end_fact(job), *self._report(job)]

    def _stop(self, job: Job) -> list[Effect]:
        """Stop because somebody says so; to be saved before it is carried out."""
        halted = self._halt(job)
        job.phase = Phase.STOPPED
        return [*halted, end_fact(job)]

    def _halt(self, job: Job) -> list[Effect]:
        """Stop the function and cancel the parts."""
        effects: list[Effect] = [CancelCall(_call_id(job))] if job.phase in _FUNCTIONS else []
        effects += _disarm(job)
        if job.phase is Phase.WAITING:
            effects += self._cancel(job, [part for part in job.parts if not part.done])
        return effects

    def _report(self, job: Job) -> list[Effect]:
        """Tell the supervisor how the task stands."""
        if self.supervisor is None:
            return []
        told: dict[str, Any] = {"task": job.task, "attempt": job.attempt}
        if job.phase is Phase.DONE:
            return [Send(self.supervisor, DELIVERED, {**told, "value": job.value})]
        if job.phase is Phase.FAILED:
            return [Send(self.supervisor, FAILED, {**told, "reason": job.reason})]
        return [Send(self.supervisor, CANCELLED if job.phase is Phase.STOPPED else ACCEPTED, told)]

    def _recover(self, job: Job) -> list[Effect]:
        """Go on with a task of the life before."""
        if not job.phase.is_active:
            return []
        effects: list[Effect] = [begin_fact(job), _lap_timer(job)]
        if job.phase is Phase.WORKING and not self.is_root:
            return [*effects, *self._fail(job, f"{self.name} crashed at work")]
        if job.restarted:
            effects.append(self._restart_fact(job))
        effects += [self._forget_timer(job, number) for number in job.recent]
        if job.phase is not Phase.WAITING:
            return [*effects, *self._call(job)]
        return effects + [self._delegate_fact(job, part) for part in job.parts if not part.done]

    def _on_lap(self, job: Job) -> list[Effect]:
        if not job.phase.is_active:
            return []
        job.left_ns -= min(job.lap_ns, job.left_ns)
        if job.left_ns == 0:
            return self._fail(job, "its deadline passed")
        return [*self._save(), _lap_timer(job)]

    # -- what a supervisor asks ------------------------------------------------------------------------------------

    def _on_delegate(self, payload: Any) -> list[Effect]:
        task, attempt = payload["task"], payload["attempt"]
        job = self.jobs.get(task)
        new = Job(task, attempt, payload["place"], tuple(payload["line"]), payload["given"])
        if self._is_over(new):
            return []
        if job is not None and attempt <= job.attempt:
            return self._report(job) if attempt == job.attempt else []
        stopped = self._clear(new)
        begun = self._begin(new, payload["left_ns"])
        # Saved first: what stops and what begins.
        return [
            *begun[:2],
            *stopped,
            *begun[2:],
            *self._report(new),
        ]

    def _on_cancel(self, sender: str, payload: Any) -> list[Effect]:
        task, attempt = payload["task"], payload["attempt"]
        job = self.jobs.get(task)
        answer = Send(sender, CANCELLED, {"task": task, "attempt": attempt})
        new = Job(task, attempt, payload["place"], tuple(payload["line"]))  # its delegation may come yet
        if self._is_over(new) or (job is not None and (job.attempt > attempt or job.phase is Phase.STOPPED)):
            return [answer]
        stopped = self._clear(new)
        self.jobs[task] = new
        return [*self._save(), *stopped, answer]

    def _is_over(self, new: Job) -> bool:
        """Whether a later attempt of what ``new`` is a part of has been heard of."""
        return any(job.line > new.line for job in self.jobs.values() if job.branch == new.branch)

    def _clear(self, new: Job) -> list[Effect]:
        """Stop and forget what ``new`` takes the place of: the older attempt, and all that is of an older line."""
        stopped: list[Effect] = []
        for job in list(self.jobs.values()):
            if job.task == new.task or (job.branch == new.branch and job.line < new.line):
                stopped += self._stop(job) if job.phase.is_active else []
                del self.jobs[job.task]
        return stopped

    # -- what children do ------------------------------------------------------------------------------------------

    def _delegate(self, job: Job, parts: Sequence[Part]) -> list[Effect]:
        """Tell the children of new attempts."""
        self.polls = 0
        for part in parts:
            self.unheard_ns[part.agent] = 0
        facts: list[Effect] = [self._delegate_fact(job, part) for part in parts]
        return [*facts, *(self._delegation(job, part) for part in parts), self._poll_timer()]

    def _delegation(self, job: Job, part: Part) -> Send:
        left_ns = job.grant_ns(self.rules.share)
        return Send(part.agent, DELEGATE, {**naming(job, part), "given": part.given, "left_ns": left_ns})

    def _on_report(self, kind: str, payload: Any) -> list[Effect]:
        for job in self.jobs.values():
            if job.phase is Phase.WAITING:
                for number, part in enumerate(job.parts):
                    if part.task == payload["task"]:
                        return self._on_part(job, number, kind, payload)
        return []

    def _on_part(self, job: Job, number: int, kind: str, payload: Any) -> list[Effect]:
        part = job.parts[number]
        if not self._counts(part, payload["attempt"]):
            return []
        if kind == FAILED:
            return self._part_failed(job, [number], payload["reason"])
        if kind != DELIVERED:
            return []
        part.done, part.result = True, payload["value"]
        accepted = Observe("accept", {"task": part.task, "attempt": payload["attempt"]})
        if not all(each.done for each in job.parts):
            return [*self._save(), accepted]
        job.phase = Phase.COMBINING
        return [*self._save(), accepted, *self._call(job)]

    def _counts(self, part: Part, attempt: int) -> bool:
        """Whether what is reported of an attempt counts: it is the newest one, and not over."""
        return attempt == part.attempt and not part.done

    def _part_failed(self, job: Job, failed: Sequence[int], reason: str) -> list[Effect]:
        """Restart what the strategy says, or give up."""
        blamed = [job.parts[number].task for number in failed]
        if len(job.recent) >= self.rules.max_restarts:
            within = to_seconds(self.rules.within_ns)
            most = self.rules.max_restarts
            limit = f"more than {most} restart{'s' * (most != 1)} within {within:g} s"
            return self._fail(job, f"{limit}; the last because {', '.join(blamed)} failed: {reason}")
        if job.grant_ns(self.rules.share) == 0:
            return self._fail(job, f"no time is left to restart {', '.join(blamed)}, which failed: {reason}")
        job.restarted += 1
        job.recent.append(job.restarted)
        job.blamed = blamed
        again = [job.parts[number] for number in self._scope(job, failed)]
        for part in again:
            part.attempt, part.done, part.result = part.attempt + 1, False, None
        retries = [Observe("retry", {"task": part.task, "attempt": part.attempt}) for part in again]
        return [
            *self._save(),
            self._restart_fact(job),
            *retries,
            self._forget_timer(job, job.restarted),
            *self._delegate(job, again),
        ]

    def _scope(self, job: Job, failed: Sequence[int]) -> Sequence[int]:
        return scope_of(self.rules.strategy, failed, len(job.parts))

    def _cancel(self, job: Job, parts: Sequence[Part]) -> list[Effect]:
        asked: dict[str, list[Any]] = {part.task: [part.agent, naming(job, part)] for part in parts}
        self.cancelling.update(asked)
        facts: list[Effect] = [cancel_fact(each[1]) for each in asked.values()]
        sends = [_cancellation(each) for each in asked.values()]
        return [*facts, *sends, self._poll_timer()] if asked else []

    def _on_cancelled(self, payload: Any) -> None:
        asked = self.cancelling.get(payload["task"])
        if asked is not None and asked[1]["attempt"] == payload["attempt"]:
            del self.cancelling[payload["task"]]  # saved with the next change; asking once more does no harm

    def _poll(self) -> list[Effect]:
        """Repeat what is unanswered, and count how long nothing was heard of whom."""
        if self.decision.is_made:
            return []
        effects: list[Effect] = []
        waited_ns = self._poll_ns() if self.polls else 0
        busy = [child for child in self.children if any(part.agent == child for _, part in self._open())]
        for child in busy:
            self.unheard_ns[child] += waited_ns
            if self.unheard_ns[child] >= self.rules.silence_ns:
                self.unheard_ns[child] = 0
                effects += self._silent(child)
        effects += [
            self._delegation(job, part) for job, part in self._open() if job.grant_ns(self.rules.share) > 0
        ]
        effects += [_cancellation(asked) for asked in self.cancelling.values()]
        self.polls += 1
        return [*effects, self._poll_timer()] if self.cancelling or self._open() else effects

    def _silent(self, child: str) -> list[Effect]:
        effects: list[Effect] = []
        for job in list(self.jobs.values()):
            if job.phase is Phase.WAITING:
                failed = [n for n, part in enumerate(job.parts) if part.agent == child and not part.done]
                if failed:
                    effects += self._part_failed(job, failed, f"nothing was heard of {child}")
        return effects

    def _open(self) -> list[tuple[Job, Part]]:
        """What children are at, as far as this agent knows."""
        waiting = [job for job in self.jobs.values() if job.phase is Phase.WAITING]
        return [(job, part) for job in waiting for part in job.parts if not part.done]

    # -- the end ---------------------------------------------------------------------------------------------------

    def _conclude(self, value: Any, ended: Iterable[Effect]) -> list[Effect]:
        return [*self._save(value), *ended, CancelTimer(POLL_TIMER), *self.decision.announce(value)]

    def _on_decided(self, sender: str, payload: Any) -> list[Effect]:
        effects: list[Effect] = []
        if not self.decision.is_made:
            for job in self.jobs.values():
                if job.phase.is_active:
                    effects += self._stop(job)
            # Everybody is told, so nobody needs to be told to stop.
            effects = [effect for effect in effects if not isinstance(effect, Send | SetTimer)]
            effects = self._conclude(payload["value"], effects)
        return effects + self.decision.heard_from(sender, ask=payload["ask"])

    # -- storage, timers, facts ------------------------------------------------------------------------------------

    def _save(self, decision: Any = None) -> list[Effect]:
        return self.durable.save(
            {
                "jobs": [job.as_dict() for job in self.jobs.values()] if decision is None else [],
                "cancelling": dict(self.cancelling),
                "decision": [] if decision is None else [decision],
            }
        )

    def _poll_ns(self) -> int:
        return self.rules.resend_ns * min(1 << max(0, self.polls - 1), _SLOWEST)

    def _poll_timer(self) -> SetTimer:
        self.polls = max(1, self.polls)
        return SetTimer(POLL_TIMER, self._poll_ns(), background=True)

    def _forget_timer(self, job: Job, number: int) -> SetTimer:
        return SetTimer(f"{FORGET} {job.task} {number}", self.rules.within_ns, background=True)

    def _delegate_fact(self, job: Job, part: Part) -> Observe:
        seconds = to_seconds(job.grant_ns(self.rules.share))
        data = {"task": part.task, "attempt": part.attempt, "parent": job.task, "to": part.agent}
        return Observe("delegate", {**data, "seconds": seconds})

    def _restart_fact(self, job: Job) -> Observe:
        data = {
            "task": job.task,
            "number": job.restarted,
            "failed": list(job.blamed),
            "parts": [part.task for part in job.parts],
            "strategy": self.rules.strategy,
            "at_most": self.rules.max_restarts,
            "within": to_seconds(self.rules.within_ns),
        }
        return Observe("restart", data)


def _call_id(job: Job) -> str:
    """Return under which id the function of a job's phase runs; ``""`` if none does."""
    function = _FUNCTIONS.get(job.phase)
    return "" if function is None else f"{function} {job.task} {job.attempt}"


def _lap_timer(job: Job) -> SetTimer:
    return SetTimer(f"{LAP} {job.task}", min(job.lap_ns, job.left_ns))


def _disarm(job: Job) -> list[Effect]:
    return [CancelTimer(f"{LAP} {job.task}"), *(CancelTimer(f"{FORGET} {job.task} {n}") for n in job.recent)]


def _cancellation(asked: Sequence[Any]) -> Send:
    return Send(asked[0], CANCEL, asked[1])

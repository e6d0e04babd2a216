"""Settling conflicts by asking: arbitration and voting, as one machine for each replica.

Theory of operation

1. A replica that meets a conflict which its plan gives to arbitration or voting *asks the judge*: the arbiter, or the
   teller of the vote (``conflict_detected``). It asks again until it is answered, at intervals that double.
2. The judge decides once. It makes the verdict durable before it tells anybody, and gives the same answer to whoever asks
   about the same conflict, in this life or the next (``conflict_resolved``). Conflicts are named by their writes, so equal
   questions have equal names on every replica.
3. The arbiter's verdict is what its function returns. The teller asks every voter (``vote_request``); a voter makes its
   vote durable before it tells it (``vote_response``), so that being asked again, by a teller that has crashed since,
   changes nothing. The teller counts when all have voted, when the rest can change nothing, or at the deadline; without a
   quorum it begins another round, a bounded number of times, and then the verdict is: unresolved.
4. While the judge does not answer, the conflict is pending. Nobody guesses: there is one who decides, and two verdicts
   about one question cannot exist. What somebody has learned, though, it passes on: who asks in vain asks everybody else
   as well, and those who know answer.
5. After a bounded number of questions in vain the next strategy of the plan, if there is one, has its turn. The question
   stays asked, as upkeep that keeps no finished world awake, and the verdict counts when it comes. So replicas that can
   talk end with the same verdicts, and with equal values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, final

from pytest_convergence._engine.base.effects import (
    RAISED,
    RETURNED,
    Call,
    CancelTimer,
    Effect,
    Observe,
    Persist,
    Raised,
    Returned,
    Send,
    SetTimer,
    Sync,
)
from pytest_convergence._engine.base.time import to_ns
from pytest_convergence._engine.patterns.ballots import Count, checked_vote, count, default_vote
from pytest_convergence._engine.state.conflicts import Conflict, Resolution
from pytest_convergence._engine.state.court import Question, Verdict
from pytest_convergence._engine.state.plan import Asked
from pytest_convergence._engine.state.replica import Replica
from pytest_convergence._engine.state.resolution import ByArbitration, ByVote, winner_of
from pytest_convergence.errors import unknown_name

__all__ = ["ANSWER", "ASK", "BALLOT", "CALL_VOTE", "KINDS", "Settlement"]

ASK: Final = "conflict_detected"
ANSWER: Final = "conflict_resolved"
CALL_VOTE: Final = "vote_request"
BALLOT: Final = "vote_response"
KINDS: Final = (ASK, ANSWER, CALL_VOTE, BALLOT)
"""The kinds of messages that settle conflicts."""

_LONGEST_BACKOFF: Final = 8
_RELAY_AFTER: Final = 2
"""After so many questions in vain everybody else is asked too."""

_END: Final = "end"
_RECORD: Final = 2

# Names of timers and calls, and keys of storage: a word, a space, and the key of the question.
_ASKING: Final = "ask"
_POLL: Final = "poll"
_REMIND: Final = "remind"
_DECIDE: Final = "decide"
_VOTE: Final = "vote"
_VERDICT: Final = "verdict"


@final
class _Asking:
    """A question of this agent's that has no answer yet."""

    __slots__ = ("attempts", "question")

    def __init__(self, question: Question) -> None:
        self.question = question
        self.attempts = 0

    @property
    def is_patient(self) -> bool:
        """Whether it is still worth waiting for."""
        return self.attempts < self.question.step.attempts


@final
class _Case:
    """A question that this agent is to decide."""

    __slots__ = ("askers", "conflict", "round", "step", "votes")

    def __init__(self, conflict: Conflict, step: Asked) -> None:
        self.conflict = conflict
        self.step = step
        self.askers: dict[str, None] = {}
        self.votes: dict[str, str | None] = {}
        self.round = 1


@final
class Settlement:
    """The settling machine of one replica.

    Give it ``on_command("conflict", conflict)`` for each conflict that the replica meets (its ``on_conflict``), and the
    messages, timers and answers of functions that its effects ask for.
    """

    __slots__ = (
        "_agents",
        "_asking",
        "_cases",
        "_doors",
        "_name",
        "_to_vote",
        "_verdicts",
        "_votes",
        "replica",
    )

    def __init__(self, replica: Replica, agents: Sequence[str]) -> None:
        self.replica = replica
        self._name = replica.agent
        self._agents = tuple(agents)
        self._asking: dict[str, _Asking] = {}
        self._cases: dict[str, _Case] = {}
        self._to_vote: dict[str, tuple[Conflict, dict[str, None]]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._votes: dict[str, str | None] = {}
        self._doors: Mapping[str, Callable[[str, str, Any], list[Effect]]] = {
            ASK: self._on_ask,
            ANSWER: self._on_answer,
            CALL_VOTE: self._on_call_vote,
            BALLOT: self._on_ballot,
        }

    # -- the machine's doors -------------------------------------------------------------------------------------------

    def on_start(self, durable: Mapping[str, Any]) -> list[Effect]:
        """Begin with the verdicts and votes that survived, and ask again what is not answered."""
        for name, record in sorted(durable.items()):
            word, _, key = name.partition(" ")
            if not isinstance(record, list | tuple) or len(record) != _RECORD or record[1] != _END:
                continue  # a write that a crash has torn: nobody was told
            if word == _VERDICT:
                self._verdicts[key] = record[0]
                self.replica.give(key, record[0])
            elif word == _VOTE:
                self._votes[key] = record[0]
        effects: list[Effect] = []
        for conflict in self.replica.conflicts:
            effects += self._ask_about(conflict)
        return effects

    def on_command(self, name: str, argument: Any) -> list[Effect]:
        """``conflict``: the replica met one; and the answers of the user's functions.

        Raises:
            ConvergenceUsageError: there is no such command.
        """
        if name == "conflict":
            return self._ask_about(argument)
        if name == RETURNED:
            return self._on_returned(argument)
        if name == RAISED:
            raised: Raised = argument
            raise raised.error
        raise unknown_name("command of settling", name, ("conflict", RETURNED, RAISED))

    def on_message(self, sender: str, kind: str, payload: Any) -> list[Effect]:
        """Take one message.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        door = self._doors.get(kind)
        if door is None:
            raise unknown_name("kind of settling message", kind, KINDS)
        return door(sender, payload["key"], payload)

    def on_timer(self, name: str) -> list[Effect]:
        """Ask again, remind voters, or close a round of voting."""
        word, _, key = name.partition(" ")
        if word == _ASKING:
            return self._ask_again(key)
        case = self._cases.get(key)
        if case is None:
            return []
        return self._remind(key, case) if word == _REMIND else self._close_round(key, case)

    def view(self) -> None:
        """Nothing: what is settled shows in the replica."""

    # -- asking --------------------------------------------------------------------------------------------------------

    def waits_on(self) -> tuple[str, ...]:
        """The judges that this agent still waits for, in the order of names; itself if it is to decide something."""
        judges = {str(each.question.step.judge) for each in self._asking.values() if each.is_patient}
        return tuple(sorted(judges | ({self._name} if self._cases or self._to_vote else set())))

    def unanswered(self) -> tuple[tuple[str, str], ...]:
        """The questions of this agent without an answer, and who is to answer: ``(key, judge)``."""
        return tuple((key, str(each.question.step.judge)) for key, each in self._asking.items())

    def knows(self, key: str) -> bool:
        """Whether this agent knows the answer to a question."""
        return key in self._verdicts

    def _ask_about(self, conflict: Conflict) -> list[Effect]:
        effects: list[Effect] = []
        for question in self.replica.court.questions(conflict):
            if question.key not in self._asking:
                self._asking[question.key] = asking = _Asking(question)
                effects += self._ask(asking)
        return effects

    def _ask(self, asking: _Asking) -> list[Effect]:
        question = asking.question
        step = question.step
        if step.judge == self._name:
            return self._take_case(question.key, question.conflict, step)
        delay_ns = step.retry_ns * min(1 << asking.attempts, _LONGEST_BACKOFF)
        to = [str(step.judge)]
        if asking.attempts >= _RELAY_AFTER:
            to += [other for other in self._agents if other not in (self._name, step.judge)]
        payload = {"key": question.key, "conflict": question.conflict}
        timer = SetTimer(f"{_ASKING} {question.key}", delay_ns, background=not asking.is_patient)
        return [*(Send(other, ASK, payload) for other in to), timer]

    def _ask_again(self, key: str) -> list[Effect]:
        asking = self._asking.get(key)
        if asking is None:
            return []
        asking.attempts += 1
        effects = self._ask(asking)
        if not asking.is_patient and not asking.question.is_last:
            self.replica.give(key, None)
            for conflict in self.replica.conflicts:
                effects += self._ask_about(conflict)
        return effects

    def _on_answer(self, sender: str, key: str, payload: Any) -> list[Effect]:
        if key in self._verdicts:
            return []
        return self._learn(key, payload["verdict"])

    def _learn(self, key: str, verdict: Verdict) -> list[Effect]:
        """Make a verdict durable, and let the replica have it."""
        self._verdicts[key] = verdict
        effects: list[Effect] = [Persist(f"{_VERDICT} {key}", [verdict, _END]), Sync()]
        if self._asking.pop(key, None) is not None:
            effects.append(CancelTimer(f"{_ASKING} {key}"))
        self.replica.give(key, verdict)
        for conflict in self.replica.conflicts:
            effects += self._ask_about(conflict)
        return effects

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _on_ask(self, sender: str, key: str, payload: Any) -> list[Effect]:
        verdict = self._verdicts.get(key)
        if verdict is not None:
            return [self._answer_to(sender, key, verdict)]
        conflict: Conflict = payload["conflict"]
        step = self._step(key, conflict)
        if step is None or step.judge != self._name:
            return []
        effects = self._take_case(key, conflict, step)
        case = self._cases.get(key)
        if case is None:  # it could be decided at once
            return [*effects, self._answer_to(sender, key, self._verdicts[key])]
        case.askers[sender] = None
        return effects

    def _step(self, key: str, conflict: Conflict) -> Asked | None:
        """The strategy that a question belongs to: its place in the plan for that type is part of its name."""
        steps = self.replica.court.plan.steps_for(conflict.type)
        place = int(key.rpartition("/")[2])
        step = steps[place] if place < len(steps) else None
        return step if isinstance(step, Asked) else None

    def _take_case(self, key: str, conflict: Conflict, step: Asked) -> list[Effect]:
        if key in self._cases or key in self._verdicts:
            return []
        case = self._cases[key] = _Case(conflict, step)
        if isinstance(step, ByVote):
            return self._open_round(key, case, step)
        if step.decide is None:
            winner = conflict.writes[-1].agent
            return self._decide(key, case, Resolution(step.name, conflict.values[winner], winner))
        return [Call(f"{_DECIDE} {key}", self._function_of(step), (conflict,))]

    def _on_returned(self, returned: Returned) -> list[Effect]:
        word, _, key = returned.id.partition(" ")
        if word == _VOTE:
            return self._cast(key, returned.value)
        case = self._cases.get(key)
        if case is None:
            return []
        value = returned.value
        if value is not None and not isinstance(value, Resolution):
            value = Resolution(case.step.name, value, winner_of(case.conflict, value))
        return self._decide(key, case, value)

    def _decide(
        self, key: str, case: _Case, resolution: Resolution | None, counted: Count | None = None
    ) -> list[Effect]:
        del self._cases[key]
        verdict = Verdict(resolution)
        effects = self._learn(key, verdict)
        fact: dict[str, Any] = {
            "question": key,
            "conflict": case.conflict.id,
            "strategy": case.step.name,
            "winner": None if resolution is None else resolution.winner,
            "value": None if resolution is None else resolution.value,
            "settled": resolution is not None,
        }
        if counted is not None:
            fact.update(votes=dict(case.votes), weights=_weights(case.step), quorum=counted.enough)
        effects.append(Observe(_VERDICT, fact))
        effects += [self._answer_to(asker, key, verdict) for asker in case.askers]
        return effects

    def _answer_to(self, asker: str, key: str, verdict: Verdict) -> Send:
        return Send(asker, ANSWER, {"key": key, "verdict": verdict})

    # -- voting --------------------------------------------------------------------------------------------------------

    def _open_round(self, key: str, case: _Case, step: ByVote) -> list[Effect]:
        voters = step.voters or ()
        effects: list[Effect] = [SetTimer(f"{_POLL} {key}", to_ns(step.deadline))]
        if self._name in voters and self._name not in case.votes:
            effects += self._vote(key, case.conflict, step, self._name)
        if key in self._cases:
            effects += self._remind(key, case)
        return effects

    def _remind(self, key: str, case: _Case) -> list[Effect]:
        """Ask those whose vote is missing."""
        step = case.step
        if not isinstance(step, ByVote):
            return []
        missing = [voter for voter in step.voters or () if voter not in case.votes and voter != self._name]
        payload = {"key": key, "conflict": case.conflict}
        asked: list[Effect] = [Send(voter, CALL_VOTE, payload) for voter in missing]
        return [*asked, SetTimer(f"{_REMIND} {key}", step.retry_ns)] if missing else []

    def _on_call_vote(self, sender: str, key: str, payload: Any) -> list[Effect]:
        conflict: Conflict = payload["conflict"]
        step = self._step(key, conflict)
        if not isinstance(step, ByVote) or sender != step.judge or self._name not in (step.voters or ()):
            return []
        return self._vote(key, conflict, step, sender)

    def _vote(self, key: str, conflict: Conflict, step: ByVote, teller: str) -> list[Effect]:
        """Tell the teller this agent's vote, after casting it if that is still to be done."""
        if key in self._votes:
            return self._tell_vote(key, teller)
        if key in self._to_vote:
            self._to_vote[key][1][teller] = None
            return []
        self._to_vote[key] = (conflict, {teller: None})
        if step.vote is None:
            return self._cast(key, default_vote(conflict, self._name))
        return [Call(f"{_VOTE} {key}", self._function_of(step), (conflict,))]

    def _cast(self, key: str, vote: Any) -> list[Effect]:
        conflict, tellers = self._to_vote.pop(key)
        self._votes[key] = checked_vote(conflict, self._name, vote)
        fact = {"question": key, "conflict": conflict.id, "vote": self._votes[key]}
        effects: list[Effect] = [Persist(f"{_VOTE} {key}", [self._votes[key], _END]), Sync()]
        effects.append(Observe("ballot", fact))
        for teller in tellers:
            effects += self._tell_vote(key, teller)
        return effects

    def _tell_vote(self, key: str, teller: str) -> list[Effect]:
        vote = self._votes[key]
        if teller == self._name:
            return self._on_ballot(teller, key, {"vote": vote})
        return [Send(teller, BALLOT, {"key": key, "vote": vote})]

    def _on_ballot(self, sender: str, key: str, payload: Any) -> list[Effect]:
        case = self._cases.get(key)
        if case is None or not isinstance(case.step, ByVote) or sender not in (case.step.voters or ()):
            return []
        case.votes.setdefault(sender, payload["vote"])
        counted = count(case.conflict, case.step, case.votes)
        return self._close(key, case, counted) if counted.is_sure else []

    def _close_round(self, key: str, case: _Case) -> list[Effect]:
        """The deadline has passed: decide if there is a quorum, begin another round, or leave it unresolved."""
        step = case.step
        if not isinstance(step, ByVote):
            return []
        counted = count(case.conflict, step, case.votes)
        if counted.enough or case.round >= step.rounds:
            return self._close(key, case, counted)
        case.round += 1
        return [Observe("retry", {"question": key}), *self._open_round(key, case, step)]

    def _close(self, key: str, case: _Case, counted: Count) -> list[Effect]:
        conflict, winner = case.conflict, counted.winner
        resolution = None if winner is None else Resolution(case.step.name, conflict.values[winner], winner)
        timers: list[Effect] = [CancelTimer(f"{_POLL} {key}"), CancelTimer(f"{_REMIND} {key}")]
        return [*timers, *self._decide(key, case, resolution, counted)]

    # -- the user's functions ------------------------------------------------------------------------------------------

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The user's functions that the machine calls, by the name that it calls them by."""
        steps: Iterable[Any] = self.replica.court.plan.steps
        found = {
            self._function_of(step): step.decide if isinstance(step, ByArbitration) else step.vote
            for step in steps
            if isinstance(step, Asked)
        }
        return {name: function for name, function in found.items() if function is not None}

    def _function_of(self, step: Asked) -> str:
        steps = self.replica.court.plan.steps
        return f"{step.name} {next(place for place, other in enumerate(steps) if other is step)}"


def _weights(step: Asked) -> dict[str, float]:
    return {voter: step.weight(voter) for voter in step.voters or ()} if isinstance(step, ByVote) else {}

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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
        self._doors: Mapping[str, Callable[[str, str, Any], Iterator[Effect]]] = {
            ASK: self._on_ask,
            ANSWER: self._on_answer,
            CALL_VOTE: self._on_call_vote,
            BALLOT: self._on_ballot,
        }

    # -- the machine's doors -------------------------------------------------------------------------------------------
    #
    # Effects are yielded one by one, because what a replica learns is reported at once: the verdict is told first.

    def on_start(self, durable: Mapping[str, Any]) -> Iterator[Effect]:
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
        yield from self._ask_about_all()

    def on_command(self, name: str, argument: Any) -> Iterator[Effect]:
        """``conflict``: the replica met one; and the answers of the user's functions.

        Raises:
            ConvergenceUsageError: there is no such command.
        """
        if name == "conflict":
            yield from self._ask_about(argument)
        elif name == RETURNED:
            yield from self._on_returned(argument)
        elif name == RAISED:
            raised: Raised = argument
            raise raised.error
        else:
            raise unknown_name("command of settling", name, ("conflict", RETURNED, RAISED))

    def on_message(self, sender: str, kind: str, payload: Any) -> Iterator[Effect]:
        """Take one message.

        Raises:
            ConvergenceUsageError: no such kind of message exists.
        """
        door = self._doors.get(kind)
        if door is None:
            raise unknown_name("kind of settling message", kind, KINDS)
        yield from door(sender, payload["key"], payload)

    def on_timer(self, name: str) -> Iterator[Effect]:
        """Ask again, remind voters, or close a round of voting."""
        word, _, key = name.partition(" ")
        case = self._cases.get(key)
        if word == _ASKING:
            yield from self._ask_again(key)
        elif case is not None:
            yield from self._remind(key, case) if word == _REMIND else self._close_round(key, case)

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

    def _ask_about_all(self) -> Iterator[Effect]:
        for conflict in self.replica.conflicts:
            yield from self._ask_about(conflict)

    def _ask_about(self, conflict: Conflict) -> Iterator[Effect]:
        for question in self.replica.court.questions(conflict):
            if question.key not in self._asking:
                self._asking[question.key] = asking = _Asking(question)
                yield from self._ask(asking)

    def _ask(self, asking: _Asking) -> Iterator[Effect]:
        question = asking.question
        step = question.step
        if step.judge == self._name:
            yield from self._take_case(question.key, question.conflict, step)
            return
        payload = {"key": question.key, "conflict": question.conflict}
        yield Send(str(step.judge), ASK, payload)
        if asking.attempts >= _RELAY_AFTER:
            for other in self._agents:
                if other not in (self._name, step.judge):
                    yield Send(other, ASK, payload)
        delay_ns = step.retry_ns * min(1 << asking.attempts, _LONGEST_BACKOFF)
        yield SetTimer(f"{_ASKING} {question.key}", delay_ns, background=not asking.is_patient)

    def _ask_again(self, key: str) -> Iterator[Effect]:
        asking = self._asking.get(key)
        if asking is None:
            return
        asking.attempts += 1
        yield from self._ask(asking)
        if not asking.is_patient and not asking.question.is_last:
            self.replica.give(key, None)
            yield from self._ask_about_all()

    def _on_answer(self, sender: str, key: str, payload: Any) -> Iterator[Effect]:
        if key not in self._verdicts:
            yield from self._learn(key, payload["verdict"])

    def _learn(self, key: str, verdict: Verdict) -> Iterator[Effect]:
        """Make a verdict durable, and let the replica have it."""
        self._verdicts[key] = verdict
        yield Persist(f"{_VERDICT} {key}", [verdict, _END])
        yield Sync()
        if self._asking.pop(key, None) is not None:
            yield CancelTimer(f"{_ASKING} {key}")
        self.replica.give(key, verdict)
        yield from self._ask_about_all()

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _on_ask(self, sender: str, key: str, payload: Any) -> Iterator[Effect]:
        conflict: Conflict = payload["conflict"]
        step = self._step(key, conflict)
        if key not in self._verdicts and step is not None and step.judge == self._name:
            yield from self._take_case(key, conflict, step)
        if key in self._verdicts:
            yield self._answer_to(sender, key)
        elif key in self._cases:
            self._cases[key].askers[sender] = None

    def _step(self, key: str, conflict: Conflict) -> Asked | None:
        """The strategy that a question belongs to: its place in the plan for that type is part of its name."""
        steps = self.replica.court.plan.steps_for(conflict.type)
        place = int(key.rpartition("/")[2])
        step = steps[place] if place < len(steps) else None
        return step if isinstance(step, Asked) else None

    def _take_case(self, key: str, conflict: Conflict, step: Asked) -> Iterator[Effect]:
        if key in self._cases or key in self._verdicts:
            return
        case = self._cases[key] = _Case(conflict, step)
        if isinstance(step, ByVote):
            yield from self._open_round(key, case, step)
        elif step.decide is None:
            winner = conflict.writes[-1].agent
            yield from self._decide(key, case, Resolution(step.name, conflict.values[winner], winner))
        else:
            yield Call(f"{_DECIDE} {key}", self._function_of(step), (conflict,))

    def _on_returned(self, returned: Returned) -> Iterator[Effect]:
        word, _, key = returned.id.partition(" ")
        case = self._cases.get(key)
        if word == _VOTE:
            yield from self._cast(key, returned.value)
        elif case is not None:
            value = returned.value
            if value is not None and not isinstance(value, Resolution):
                value = Resolution(case.step.name, value, winner_of(case.conflict, value))
            yield from self._decide(key, case, value)

    def _decide(
        self, key: str, case: _Case, resolution: Resolution | None, counted: Count | None = None
    ) -> Iterator[Effect]:
        del self._cases[key]
        if resolution is not None:
            resolution = resolution._replace(strategy=case.step.name)
        fact: dict[str, Any] = {
            "question": key,
            "conflict": case.conflict.id,
            "strategy": case.step.name,
            "winner": None if resolution is None else resolution.winner,
            "value": None if resolution is None else resolution.value,
        }
        if counted is not None:
            fact.update(votes=counted.votes, weights=_weights(case.step), quorum=counted.enough)
        yield Observe(_VERDICT, fact)
        yield from self._learn(key, Verdict(resolution))
        for asker in case.askers:
            yield self._answer_to(asker, key)

    def _answer_to(self, asker: str, key: str) -> Send:
        return Send(asker, ANSWER, {"key": key, "verdict": self._verdicts[key]})

    # -- voting --------------------------------------------------------------------------------------------------------

    def _open_round(self, key: str, case: _Case, step: ByVote) -> Iterator[Effect]:
        yield SetTimer(f"{_POLL} {key}", to_ns(step.deadline))
        if self._name in (step.voters or ()) and self._name not in case.votes:
            yield from self._vote(key, case.conflict, step, self._name)
        if key in self._cases:
            yield from self._remind(key, case)

    def _remind(self, key: str, case: _Case) -> Iterator[Effect]:
        """Ask those whose vote is missing."""
        step = case.step
        if not isinstance(step, ByVote):
            return
        missing = [voter for voter in step.voters or () if voter not in case.votes and voter != self._name]
        for voter in missing:
            yield Send(voter, CALL_VOTE, {"key": key, "conflict": case.conflict})
        if missing:
            yield SetTimer(f"{_REMIND} {key}", step.retry_ns)

    def _on_call_vote(self, sender: str, key: str, payload: Any) -> Iterator[Effect]:
        conflict: Conflict = payload["conflict"]
        step = self._step(key, conflict)
        if isinstance(step, ByVote) and sender == step.judge and self._name in (step.voters or ()):
            yield from self._vote(key, conflict, step, sender)

    def _vote(self, key: str, conflict: Conflict, step: ByVote, teller: str) -> Iterator[Effect]:
        """Tell the teller this agent's vote, after casting it if that is still to be done."""
        if key in self._votes:
            yield from self._tell_vote(key, teller)
        elif key in self._to_vote:
            self._to_vote[key][1][teller] = None
        else:
            self._to_vote[key] = (conflict, {teller: None})
            if step.vote is None:
                yield from self._cast(key, default_vote(conflict, self._name))
            else:
                yield Call(f"{_VOTE} {key}", self._function_of(step), (conflict,))

    def _cast(self, key: str, vote: Any) -> Iterator[Effect]:
        conflict, tellers = self._to_vote.pop(key)
        self._votes[key] = checked_vote(conflict, self._name, vote)
        yield Persist(f"{_VOTE} {key}", [self._votes[key], _END])
        yield Sync()
        yield Observe("ballot", {"question": key, "conflict": conflict.id, "vote": self._votes[key]})
        for teller in tellers:
            yield from self._tell_vote(key, teller)

    def _tell_vote(self, key: str, teller: str) -> Iterator[Effect]:
        vote = self._votes[key]
        if teller == self._name:
            yield from self._on_ballot(teller, key, {"vote": vote})
        else:
            yield Send(teller, BALLOT, {"key": key, "vote": vote})

    def _on_ballot(self, sender: str, key: str, payload: Any) -> Iterator[Effect]:
        case = self._cases.get(key)
        if case is None or not isinstance(case.step, ByVote) or sender not in (case.step.voters or ()):
            return
        case.votes.setdefault(sender, payload["vote"])
        counted = count(case.conflict, case.step, case.votes)
        if counted.is_sure:
            yield from self._close(key, case, counted)

    def _close_round(self, key: str, case: _Case) -> Iterator[Effect]:
        """The deadline has passed: decide if there is a quorum, begin another round, or leave it unresolved."""
        step = case.step
        if not isinstance(step, ByVote):
            return
        counted = count(case.conflict, step, case.votes)
        if counted.enough or case.round >= step.rounds:
            yield from self._close(key, case, counted)
        else:
            case.round += 1
            yield Observe("poll_again", {"question": key, "round": case.round})
            yield from self._open_round(key, case, step)

    def _close(self, key: str, case: _Case, counted: Count) -> Iterator[Effect]:
        conflict, winner = case.conflict, counted.winner
        resolution = None if winner is None else Resolution(case.step.name, conflict.values[winner], winner)
        yield CancelTimer(f"{_POLL} {key}")
        yield CancelTimer(f"{_REMIND} {key}")
        yield from self._decide(key, case, resolution, counted)

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

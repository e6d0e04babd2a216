"""How concurrent writes that do not agree become one value: the strategies, and which of them a conflict is given to.

1. A *strategy* settles a conflict or leaves it. Most are pure functions of the conflict: every replica settles for itself,
   and replicas agree because they ask the same question. *last-write* needs no function: it is the order in which updates
   are applied anyway (time, then author), and a write that has seen another always comes after it, whatever the clocks say.
2. *Arbitration* and *voting* ask others, by messages. Somebody decides once, durably, for everybody; until its verdict is
   there the conflict is pending, and the last write is read meanwhile. Nobody guesses.
3. A *plan* says which strategies a conflict is given to, by its type: the first, and where that has no answer the second
   (escalation), and so on. A conflict that none of them settles stays unresolved, and is listed as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

from pytest_convergence._engine.base.time import to_ns
from pytest_convergence._engine.state.conflict_types import Rule
from pytest_convergence._engine.state.conflicts import UNKNOWN, Conflict, Resolution
from pytest_convergence._engine.state.merging import NUMBERS, merge_rivals
from pytest_convergence._engine.state.three_way import same
from pytest_convergence._engine.state.updates import DELETED
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = [
    "KNOWN_STRATEGIES",
    "LAST_WRITE",
    "ByArbitration",
    "ByMerge",
    "ByPriority",
    "ByVote",
    "Resolve",
    "Resolver",
    "Step",
    "Strategy",
    "as_resolver",
    "available_strategies",
    "break_tie",
    "check_names",
    "winner_of",
]

Decide: TypeAlias = Callable[[Conflict], Resolution | None]
"""Settles a conflict, or returns ``None`` to leave it unresolved (the last write is then read meanwhile)."""

KNOWN_STRATEGIES: Final = (
    "priority",
    "first-come",
    "last-write",
    "merge",
    "arbitration",
    "rollback",
    "voting",
)
"""Every strategy that has a name."""

TIES: Final = ("last-write", "first-come")


# -- checks --------------------------------------------------------------------------------------------------------------


def _check_number(what: str, number: Any, *, least: float | None = None) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
        raise ConvergenceUsageError(f"{what} must be a number, not {number!r}.")
    if least is not None and number < least:
        raise ConvergenceUsageError(f"{what} must be at least {least}, not {number!r}.")


def _check_mapping(what: str, numbers: Any, *, least: float | None = None) -> None:
    if not isinstance(numbers, Mapping):
        raise ConvergenceUsageError(f"{what} of each agent is a mapping, {{'a': 2}}, not {numbers!r}.")
    for agent, number in numbers.items():
        _check_number(f"{what} of {agent!r}", number, least=least)


def _check_count(what: str, number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConvergenceUsageError(f"{what} must be a whole number >= 1, not {number!r}.")


def _check_timing(what: str, retry: float, attempts: Any, function: Any) -> None:
    if to_ns(retry, "retry") == 0:
        raise ConvergenceUsageError(f"retry must be greater than 0 seconds, not {retry!r}.")
    _check_count("attempts", attempts)
    if function is not None and not callable(function):
        raise ConvergenceUsageError(f"what decides in {what} must be a function, not {function!r}.")


def _check_tie(tie: Any) -> None:
    if tie is not None and not callable(tie) and tie not in TIES:
        raise unknown_name("tie rule", tie, TIES, fix="Or give a function of (conflict, names), or None.")


def check_names(where: str, names: Any, agents: Sequence[str]) -> None:
    """Refuse names that are not agents of the session.

    Raises:
        ConvergenceUsageError: one is not.
    """
    for name in names:
        if name not in agents:
            raise unknown_name(f"agent in {where}", name, agents)


# -- the strategies ------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, slots=True)
class Resolver:
    """A named way to settle conflicts. ``decide`` is ``None`` for last-write alone.

    Attributes:
        name: what the resolution of a conflict says.
        decide: a pure function of the conflict; ``None`` as its answer leaves the conflict to the next strategy.
        needs_ancestor: whether ``decide`` reads :attr:`Conflict.ancestor`. Writes then say what they found.
    """

    name: str
    decide: Decide | None = None
    needs_ancestor: bool = False


@final
@dataclass(frozen=True, slots=True)
class ByPriority:
    """The write of the highest priority stands: that of the write itself, or else that of its author.

    Args:
        agents: the priority of each agent's writes; 0 for agents that are not named. ``state.set(path, value, priority=5)``
            says otherwise for one write.
        tie: who of several with the highest priority: ``"last-write"`` (time, then name), ``"first-come"``, a function
            ``(conflict, names) -> name``, or ``None`` to leave the conflict unresolved.
        aging: what is added to the priority of an agent's next write for each conflict at that path that it has lost in a
            row. So nobody loses for ever: with a lead of ``d`` over the others, after ``d / aging`` losses it is ahead
            (aging, as schedulers do it: A. Silberschatz et al., Operating System Concepts, section 5.3.4). A restarted agent
            counts anew. 0 turns it off.

    Raises:
        ConvergenceUsageError: a priority is not a number, or the tie rule does not exist.
    """

    agents: Mapping[str, float] = field(default_factory=dict)
    tie: str | Callable[[Conflict, tuple[str, ...]], str | None] | None = "last-write"
    aging: float = 1

    name = "priority"
    needs_ancestor = False

    def __post_init__(self) -> None:
        _check_mapping("the priority", self.agents)
        _check_number("aging", self.aging, least=0)
        _check_tie(self.tie)

    def decide(self, conflict: Conflict) -> Resolution | None:
        """Settle a conflict by what its writes say of their priority."""
        best: dict[str, float] = {}
        for write in conflict.writes:
            best[write.agent] = max(write.priority, best.get(write.agent, write.priority))
        highest = max(best.values())
        first = tuple(agent for agent in sorted(best) if best[agent] == highest)
        winner = first[0] if len(first) == 1 else break_tie(self.tie, conflict, first)
        return None if winner is None else Resolution(self.name, conflict.values[winner], winner)


@final
@dataclass(frozen=True, slots=True)
class ByMerge:
    """What the writers meant is put together: three ways against the common ancestor, then by joins where types allow.

    Who left a part as it was has no say about it. Parts of dicts that only one of them changed are taken over, members of
    sets are added and removed, what was put at the end of a list is put at its end, in the order of the writes. Where that
    leaves a part on which they disagree, ``otherwise`` decides about that part alone.

    Args:
        numbers: what becomes of a number that several changed: ``"conflict"`` leaves it to ``otherwise``; ``"add"`` takes
            changes for increments, ``"max"`` and ``"min"`` take the greatest or least.
        otherwise: ``"last-write"``, ``"first-come"``, or ``None``: then the whole conflict stays unresolved.

    Raises:
        ConvergenceUsageError: an argument is none of these.
    """

    numbers: str = "conflict"
    otherwise: str | None = "last-write"

    name = "merge"
    needs_ancestor = True

    def __post_init__(self) -> None:
        if self.numbers not in NUMBERS:
            raise unknown_name("way to merge numbers", self.numbers, NUMBERS)
        if self.otherwise is not None and self.otherwise not in TIES:
            raise unknown_name("way to settle what cannot be merged", self.otherwise, TIES)

    def decide(self, conflict: Conflict) -> Resolution | None:
        """Settle a conflict by the values and their ancestor."""
        order = _authors_by_time(conflict, latest=self.otherwise != "first-come")
        values = {agent: conflict.values[agent] for agent in order}
        ancestor = DELETED if conflict.ancestor is UNKNOWN else conflict.ancestor
        merged = merge_rivals(ancestor, values, self.numbers, None if self.otherwise is None else self._pick)
        if merged is None:
            return None
        return Resolution(self.name, merged[0], winner_of(conflict, merged[0]))

    def _pick(self, values: Mapping[str, Any]) -> Any:
        in_order = list(values.values())
        return in_order[-1 if self.otherwise == "last-write" else 0]


@final
@dataclass(frozen=True, slots=True)
class ByArbitration:
    """One agent decides, asked by messages; its verdict is durable and the same for everybody.

    While the arbiter is down or cut off the conflict is pending: it is asked again, and nobody guesses.

    Args:
        arbiter: the name of the agent that decides; the session's first agent unless told otherwise.
        decide: ``decide(conflict)`` or ``decide(agent, conflict)``, plain or async, run by the arbiter: returns the value,
            :data:`~pytest_convergence._engine.state.updates.DELETED`, a :class:`Resolution`, or ``None`` for no verdict.
            Without it the arbiter keeps the last write.
        retry: virtual seconds before an unanswered question is asked again.
        attempts: how often it is asked in vain before the next strategy, if there is one, has its turn meanwhile. The
            question stays asked, as upkeep.

    Raises:
        ConvergenceUsageError: an argument is out of range.
    """

    arbiter: str | None = None
    decide: Callable[..., Any] | None = None
    retry: float = 1.0
    attempts: int = 5

    name = "arbitration"
    needs_ancestor = True

    def __post_init__(self) -> None:
        _check_timing("arbitration", self.retry, self.attempts, self.decide)

    @property
    def judge(self) -> str | None:
        """The agent that is asked."""
        return self.arbiter

    @property
    def retry_ns(self) -> int:
        """After how many virtual nanoseconds a question is asked again."""
        return to_ns(self.retry)


@final
@dataclass(frozen=True, slots=True)
class ByVote:
    """The agents vote, by messages, for one of the rival values. One of them, the teller, asks and counts.

    Everybody who is eligible has one vote in a conflict, durable before it is told, so that asking again changes
    nothing. The teller decides when all have voted, or at the deadline if the votes make a quorum; the result is durable
    and the same for everybody. Without a quorum it asks again, ``rounds`` times in all. No votes, no quorum, or a tie that
    no rule breaks: unresolved.

    Args:
        voters: who is eligible; all agents of the session unless told otherwise.
        weights: what the vote of an agent weighs; 1 for agents that are not named.
        vote: ``vote(conflict)`` or ``vote(agent, conflict)``, plain or async, run by each voter: returns the name of one of
            ``conflict.agents``, or ``None`` to abstain. Without it authors vote for themselves, others for the last write.
        quorum: which part of the eligible weight must have voted, from 0 to 1; more than half unless told otherwise.
        deadline: virtual seconds that a round takes at most.
        rounds: how many rounds there are at most.
        tie: ``"last-write"``, ``"first-come"``, a function ``(conflict, names) -> name``, or ``None``: unresolved.
        teller: who asks and counts; the first of the voters unless told otherwise.
        retry: virtual seconds before an unanswered question is asked again.
        attempts: how often the teller is asked in vain before the next strategy, if there is one, has its turn meanwhile.

    Raises:
        ConvergenceUsageError: an argument is out of range.
    """

    voters: Sequence[str] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    vote: Callable[..., Any] | None = None
    quorum: float | None = None
    deadline: float = 5.0
    rounds: int = 3
    tie: str | Callable[[Conflict, tuple[str, ...]], str | None] | None = None
    teller: str | None = None
    retry: float = 1.0
    attempts: int = 10

    name = "voting"
    needs_ancestor = True

    def __post_init__(self) -> None:
        _check_timing("voting", self.retry, self.attempts, self.vote)
        _check_mapping("the weight", self.weights, least=0)
        _check_tie(self.tie)
        if to_ns(self.deadline, "deadline") == 0:
            raise ConvergenceUsageError(f"deadline must be greater than 0 seconds, not {self.deadline!r}.")
        _check_count("rounds", self.rounds)
        if self.quorum is not None:
            _check_number("quorum", self.quorum, least=0)
            if self.quorum > 1:
                raise ConvergenceUsageError(
                    f"quorum is a part of the eligible weight, 0 to 1, not {self.quorum!r}."
                )
        if isinstance(self.voters, str) or (self.voters is not None and not self.voters):
            raise ConvergenceUsageError(f"voters must be a list of at least one agent, not {self.voters!r}.")

    @property
    def judge(self) -> str | None:
        """The agent that is asked."""
        return self.teller

    @property
    def retry_ns(self) -> int:
        """After how many virtual nanoseconds a question is asked again."""
        return to_ns(self.retry)

    def weight(self, voter: str) -> float:
        """What the vote of an agent weighs."""
        return self.weights.get(voter, 1)


Step: TypeAlias = Resolver | ByPriority | ByMerge | ByArbitration | ByVote
"""One strategy of a plan."""

Strategy: TypeAlias = "str | Step | Callable[[Conflict], Any] | Mapping[str, Any] | Resolve"
"""What ``resolve=`` takes: a name, a strategy object, a function from the conflict to the value, a mapping from types of
conflicts to these, or :class:`Resolve`."""


@final
@dataclass(frozen=True, slots=True)
class Resolve:
    """A strategy with more: what comes next where it has no answer, and rules that tell types of conflicts.

    Args:
        strategy: a name, a strategy object, a function, or a mapping from types to these.
        escalate_to: the strategy that has its turn where the first leaves a conflict unresolved; may be another
            :class:`Resolve`.
        rules: functions of the conflict that return its type (a :class:`ConflictType` or a name of your own), or a (type,
            severity) pair, or ``None`` to leave it to the next rule.

    Raises:
        ConvergenceUsageError: a strategy does not exist, or a rule is not a function.
    """

    strategy: Strategy
    escalate_to: Strategy | None = None
    rules: Sequence[Rule] = ()

    def __post_init__(self) -> None:
        for rule in self.rules:
            if not callable(rule):
                raise ConvergenceUsageError(
                    f"a rule is a function of the conflict that returns its type or None, not {rule!r}."
                )


# -- the pure ones -------------------------------------------------------------------------------------------------------


def _authors_by_time(conflict: Conflict, *, latest: bool) -> list[str]:
    """The authors in the order of their latest (or first) writes; equal times in the order of names."""
    at = {}
    for write in conflict.writes:  # they come in order
        if latest or write.agent not in at:
            at[write.agent] = write.order
    return sorted(at, key=lambda agent: at[agent])


def break_tie(
    tie: str | Callable[[Conflict, tuple[str, ...]], str | None] | None,
    conflict: Conflict,
    tied: Sequence[str],
) -> str | None:
    """Return which of the ``tied`` authors prevails by a tie rule, or ``None`` where it stays a tie."""
    if tie is None:
        return None
    if callable(tie):
        chosen = tie(conflict, tuple(tied))
        if chosen is not None and chosen not in tied:
            raise unknown_name("author in a tie", chosen, tied)
        return chosen
    order = [agent for agent in _authors_by_time(conflict, latest=tie == "last-write") if agent in tied]
    return order[-1 if tie == "last-write" else 0]


def winner_of(conflict: Conflict, value: Any) -> str | None:
    """The first author, by name, whose value this is; ``None`` if it is nobody's alone."""
    return next((agent for agent in conflict.agents if same(conflict.values[agent], value)), None)


def _first_come(conflict: Conflict) -> Resolution:
    """The earliest write stands; equal times are decided by the author's name."""
    winner = conflict.writes[0].dot.agent
    return Resolution("first-come", conflict.values[winner], winner)


def _rollback(conflict: Conflict) -> Resolution | None:
    """Nobody's write stands: the value is what it was before. Where nobody knows that, the conflict stays unresolved."""
    return None if conflict.ancestor is UNKNOWN else Resolution("rollback", conflict.ancestor)


LAST_WRITE: Final = Resolver("last-write")

_BY_NAME: Final[Mapping[str, Step]] = {
    "priority": ByPriority(),
    "first-come": Resolver("first-come", _first_come),
    "last-write": LAST_WRITE,
    "merge": ByMerge(),
    "arbitration": ByArbitration(),
    "rollback": Resolver("rollback", _rollback, needs_ancestor=True),
    "voting": ByVote(),
}


def available_strategies() -> tuple[str, ...]:
    """The names of the strategies."""
    return tuple(_BY_NAME)


def as_resolver(strategy: Any) -> Step:
    """Return the one strategy that a name, a strategy object or a function means.

    Raises:
        ConvergenceUsageError: no strategy has that name, or the argument is nothing of the kind.
    """
    if isinstance(strategy, Resolver | ByPriority | ByMerge | ByArbitration | ByVote):
        return strategy
    if isinstance(strategy, str):
        found = _BY_NAME.get(strategy)
        if found is None:
            raise unknown_name("resolve strategy", strategy, _BY_NAME, fix="A function is accepted too.")
        return found
    if isinstance(strategy, type) and strategy in (ByPriority, ByMerge, ByArbitration, ByVote, Resolve):
        raise ConvergenceUsageError(f"resolve={strategy.__name__}: call it, resolve={strategy.__name__}(…).")
    if callable(strategy):
        return _by_function(strategy)
    raise ConvergenceUsageError(
        f"resolve={strategy!r} is neither the name of a strategy nor a function. Write resolve='last-write', or "
        "resolve=lambda conflict: value."
    )


def _by_function(function: Callable[[Conflict], Any]) -> Resolver:
    name = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        name = "function"

    def decide(conflict: Conflict) -> Resolution | None:
        answer = function(conflict)
        return answer if isinstance(answer, Resolution) else Resolution(name, answer)

    return Resolver(name, decide, needs_ancestor=True)

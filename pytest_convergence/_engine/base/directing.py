"""A run whose order of deliveries is laid down from outside, and the log of the order that came about.

1. A *delivery* is a message that reaches its recipient. It is named by the label of its choice, ``deliver a→b #3``, so
   it can be written as a deviation: "delayed by so much".
2. A :class:`Director` holds, for each recipient, the deliveries that come first, in order; what comes after them is free,
   and arrives as under the calm schedule. It says nothing about the order between recipients, which nobody can notice.
3. When a message is posted, the director notes how many deliveries there were before: those to the sender are what the
   message may be a consequence of.
4. Faults may be laid down as well: messages that are lost, steps before which an agent crashes. The director notes which of
   them came about, and where others could have been: what was posted, and how many steps each agent took.
5. Whoever carries it out (:mod:`pytest_convergence._engine.sim.turns`) holds back what is too early. A wanted delivery
   that never comes is no hang: after a while the rest is let go, and the run has *strayed*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, final

from pytest_convergence._engine.base.choices import Domain, Next, split_label

__all__ = ["Delivery", "Director", "Passing"]

_STEM: Final = "deliver "
_CRASH: Final = "crash "


class Passing(NamedTuple):
    """A timer of the recipient that a message might have been held back past.

    Attributes:
        label: names it: ``timer agent at instant``.
        at_ns: when it is due.
    """

    label: str
    at_ns: int


class Delivery(NamedTuple):
    """One message that reached its recipient, or a timer that fired and might have been passed by one.

    Attributes:
        label: names it: ``deliver sender→recipient #number``; a further copy adds its number. Or ``timer agent at instant``.
        sender, recipient: who sent it, and whom it reached; of a timer, its owner.
        known: how many deliveries of the run came before it was posted, or before the timer was seen.
        came_ns: when the network would have delivered it, in virtual nanoseconds.
        at_ns: when it was delivered, or fired.
        passing: the first timer that was armed then, and due before the message would have been too late for the network.
    """

    label: str
    sender: str
    recipient: str
    known: int
    came_ns: int
    at_ns: int
    passing: Passing | None = None

    @property
    def is_timer(self) -> bool:
        """Whether it is a timer that fired."""
        return self.label.startswith("timer ")


@final
class Director:
    """The :class:`~pytest_convergence._engine.base.choices.Choices` of a run whose order of deliveries is laid down.

    Everything else is calm.

    Attributes:
        faults: label -> option of the faults that are laid down.
        struck_down: the labels of those that came about.
        steps: agents that may crash -> how many steps they took while choices were made.
        orders: recipient -> the labels of its first deliveries, in order.
        until_ns: when the last of them came in the run that they were taken from.
        log: the deliveries that came about, in the order of virtual time.
        overtaking: whether messages of one link may overtake each other.
        strayed: what was wanted and did not come about, in words; empty if all did.
        delays: label -> the option that delays a message as it was delayed here.
        listener: told of each of those, with the domain of its option.
    """

    __slots__ = (
        "_posted",
        "delays",
        "faults",
        "listener",
        "log",
        "orders",
        "overtaking",
        "steps",
        "strayed",
        "struck_down",
        "until_ns",
    )

    def __init__(
        self,
        orders: Mapping[str, Sequence[str]] | None = None,
        *,
        until_ns: int = 0,
        faults: Mapping[str, int] | None = None,
    ) -> None:
        self.faults = dict(faults or {})
        self.struck_down: set[str] = set()
        self.steps: dict[str, int] = {}
        self.orders: dict[str, tuple[str, ...]] = {
            name: tuple(labels) for name, labels in (orders or {}).items()
        }
        self.until_ns = until_ns
        self.log: list[Delivery] = []
        self.overtaking = False
        self.strayed = ""
        self.delays: dict[str, int] = {}
        self.listener: Callable[[str, int, int, Domain], None] | None = None
        self._posted: dict[str, int] = {}

    @property
    def director(self) -> Director:
        """Itself: what asks a schedule for its director need not know what else records the choices."""
        return self

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Answer 0 but for what is laid down; of messages, note when they were posted."""
        if not stem.startswith(_STEM):
            return _calm
        posted, log, faults = self._posted, self.log, self.faults
        number = 0

        def answer() -> int:
            nonlocal number
            number += 1
            label = f"{stem} #{number}"
            posted[label] = len(log)
            if label not in faults:
                return 0
            self.struck_down.add(label)
            return faults[label]

        return answer

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Name what is laid down, in order; note who may crash."""
        if stem.startswith(_CRASH):
            self.steps[stem.removeprefix(_CRASH)] = 0
        planned = sorted(
            (number, option)
            for (name, number), option in ((split_label(label), self.faults[label]) for label in self.faults)
            if name == stem
        )
        if not planned:
            return _never
        return lambda after: next((due for due in planned if due[0] > after), None)

    def struck(self, stem: str, number: int, option: int, domain: Domain) -> None:
        """Note what has come about."""
        self.struck_down.add(f"{stem} #{number}")

    def outage_ns(self, agent: str) -> int:
        """How long an agent is gone that has crashed because it was laid down; 0 if none of these crashes came about."""
        crashes = [label for label in self.struck_down if label.startswith(f"{_CRASH}{agent} #")]
        return max((self.faults[label] * 1_000 for label in crashes), default=0)

    @property
    def posted(self) -> Iterable[str]:
        """The labels of the messages that were posted while choices were made."""
        return self._posted

    def took(self, agent: str, steps: int) -> None:
        """Note how many steps an agent has taken, if it may crash."""
        if agent in self.steps:
            self.steps[agent] = steps

    def begin(self) -> Director:
        """A run begins, or begins again: forget what came about in the one before; return itself."""
        self.log, self.delays, self._posted = [], {}, {}
        self.struck_down, self.steps = set(), {}
        self.strayed = ""
        self.listener = None
        return self

    def account(self) -> tuple[Any, ...]:
        """Return what came about, for a director in another process."""
        return (
            self.log,
            self.overtaking,
            self.strayed,
            self.delays,
            self._posted,
            self.struck_down,
            self.steps,
        )

    def take_over(self, account: tuple[Any, ...]) -> None:
        """Take what came about from a director in another process, as :meth:`account` returns it."""
        self.log, self.overtaking, self.strayed, self.delays, self._posted, self.struck_down, self.steps = (
            account
        )

    def known_to(self, label: str) -> int | None:
        """How many deliveries came before a message was posted; ``None`` if it was posted when choices were over."""
        return self._posted.get(label)

    def deliver(self, delivery: Delivery) -> None:
        """Note a delivery."""
        self.log.append(delivery)

    def delay(self, stem: str, number: int, option: int, domain: Domain) -> None:
        """Note that a message was held back, as an option of its link's domain."""
        self.delays[f"{stem} #{number}"] = option
        if self.listener is not None:
            self.listener(stem, number, option, domain)

    def stray(self, words: str) -> None:
        """Note what did not come about as laid down; the first is kept."""
        self.strayed = self.strayed or words

    def check(self) -> str:
        """Return what did not come about as laid down, in words, once the run is over; empty if all did."""
        came: dict[str, list[str]] = {}
        for delivery in self.log:
            came.setdefault(delivery.recipient, []).append(delivery.label)
        for recipient, labels in self.orders.items():
            found = tuple(came.get(recipient, ())[: len(labels)])
            if found != labels:
                place = next(
                    (i for i, (a, b) in enumerate(zip(found, labels, strict=False)) if a != b), len(found)
                )
                self.stray(f"{labels[place]} did not come as delivery {place + 1} of {recipient}")
        return self.strayed


def _calm() -> int:
    return 0


def _never(after: int) -> Any:
    return None

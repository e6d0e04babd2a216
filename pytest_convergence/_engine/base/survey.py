"""What a run was like, for those who think out another one: who took which step when, and which faults might have struck.

A recorder knows what a schedule has chosen. To put one long fault in the place of several short ones, one must know as well
at which steps that fault might begin, and when the short ones struck.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, final, runtime_checkable

if TYPE_CHECKING:
    from pytest_convergence._engine.base.trace import Trace, TraceEvent

__all__ = ["Lasting", "Sent", "Step", "Survey"]


@runtime_checkable
class Lasting(Protocol):
    """The domain of what may be chosen to last so and so long: an outage, an isolation, the delay of a message."""

    @property
    def longest_ns(self) -> int:
        """How long it lasts at most."""
        ...

    def lasting(self, duration_ns: int) -> Sequence[int]:
        """Name the options that last so long, which may differ in who is struck too."""
        ...

    def companions(self, option: int) -> Sequence[str]:
        """Name those who are struck together with the agent."""
        ...

    def weaker(self, option: int) -> Sequence[int]:
        """Name options that depart less from calm, as every domain does."""
        ...


class Step(NamedTuple):
    """A step of an agent: when it was taken, in virtual nanoseconds, by whom, and the how-manieth of its own it was."""

    at_ns: int
    agent: str
    number: int


class Sent(NamedTuple):
    """A message of an agent's: the label of its fate, its type, and when it was sent and received (0 if it was not)."""

    label: str
    type: str
    sent_ns: int
    received_ns: int


@final
@dataclass(slots=True)
class Survey:
    """What is known of one session that has run.

    Attributes:
        steps: those before which a fault may strike, in the order in which they were taken.
        moments: label -> the virtual nanoseconds at which that deviation was chosen.
        faults: stem -> what may happen, of each agent or link, if it is something that lasts.
        sent: the messages, as far as they were traced.
        decisive: the types of the messages after which the agents said what proves the violation.
    """

    steps: list[Step] = field(default_factory=list)
    moments: dict[str, int] = field(default_factory=dict)
    faults: dict[str, Lasting] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    decisive: frozenset[str] = frozenset()

    @property
    def ends_ns(self) -> int:
        """When the last step was taken."""
        return self.steps[-1].at_ns if self.steps else 0

    def step(self, at_ns: int, agent: str, number: int) -> None:
        """Take note of a step that is about to be taken; one that had to wait is noted when it was due."""
        if not self.steps or self.steps[-1][1:] != (agent, number):
            self.steps.append(Step(at_ns, agent, number))

    def may_strike(self, stem: str, domain: object) -> None:
        """Take note of a site of choice."""
        if isinstance(domain, Lasting):
            self.faults[stem] = domain

    def read(self, trace: Trace, proofs: Iterable[Sequence[TraceEvent]]) -> None:
        """Take down the messages of a run that has ended, and which types of them decided it.

        Args:
            proofs: of each violation the facts that prove it.
        """
        facts = {event.index for proof in proofs for event in proof}
        received: dict[int, int] = {}
        latest: dict[str, str] = {}
        decisive = set()
        for event in trace:
            if event.kind == "receive" and event.message is not None:
                received.setdefault(event.message.uid, event.at_ns)
                latest[event.agent] = event.message.type
            elif event.index in facts and event.agent in latest:
                decisive.add(latest[event.agent])
        self.decisive = frozenset(decisive)
        self.sent = [
            Sent(
                f"deliver {one.sender}→{one.recipient} #{one.number}",
                one.type,
                one.sent_at_ns,
                received.get(one.uid, 0),
            )
            for one in trace.messages
        ]

    def chosen(self, label: str) -> None:
        """Take note of a deviation: it was chosen within the last step."""
        self.moments[label] = self.steps[-1].at_ns if self.steps else 0

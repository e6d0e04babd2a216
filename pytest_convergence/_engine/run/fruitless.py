"""Terms that follow one another without a result: found after a number of terms, not after a minute of real time.

1. Agents that elect (or propose) observe the ``term`` or ``round`` that they have come to. What counts is the highest.
2. A term bears fruit when somebody decides or applies an entry of a log in it; a new leader begins with such an entry.
   Where there is neither decision nor log, it does when a quorum follows its leader for as long as views must be stable
   for the run to have converged (:meth:`Conduct.window_ns`). Terms do not count while no quorum of agents is alive and
   connected, for then there is nothing to wait for.
3. What protocols that only claim to lead (``leader``, and never ``follow``) observe is a result as it is.
4. More than :attr:`Pattern.most_fruitless_terms` in a row are a :class:`LivelockError` that names them. Fischer, Lynch and
   Paterson (1985) allow for such runs; ones that are this long come of timeouts that are too short for the network, or
   of agents that stand at the same time for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.time import format_ns
from pytest_convergence._engine.base.trace import TraceEvent
from pytest_convergence.errors import LivelockError

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["FruitlessTerms"]

_SHOWN: Final = 3
_KINDS: Final = ("observe", "decide", "crash")


@final
class FruitlessTerms:
    """Watches the terms of one run; fails it when too many in a row bring nothing."""

    __slots__ = (
        "_base",
        "_base_ns",
        "_conduct",
        "_established",
        "_followed",
        "_followers",
        "_highest",
        "_leaders",
        "_leads",
        "_most",
        "_since_ns",
    )

    def __init__(self, conduct: Conduct, most: int, *, leaders: bool) -> None:
        self._conduct = conduct
        self._most = most
        self._leaders = leaders  # whether a leader that lasts is a result
        self._highest = 0
        self._base = 0  # the highest term at the last result
        self._base_ns = conduct.world.now_ns
        self._leads: list[tuple[str, Any]] = []  # the last agents that led, and in which terms
        self._followers: set[str] = set()  # of the last of them
        self._established: str | None = None  # the leader that a quorum follows …
        self._since_ns = 0  # … and since when
        self._followed = False  # whether anybody ever said that it follows

    def watch(self) -> None:
        """Follow the events of the run from now on."""
        for kind in _KINDS:
            self._conduct.fabric.watchers.setdefault(kind, []).append(self.feed)

    def feed(self, event: TraceEvent) -> None:
        """Take one event."""
        agent, detail = event.agent, event.detail
        fact = detail.get("fact") if event.kind == "observe" else event.kind
        if fact in ("term", "round"):
            self._count(agent, detail.get(fact), event.at_ns)
        elif fact == "leader":
            self._leads = [*self._leads, (agent, detail.get("term"))][-_SHOWN:]
            self._followers = {agent}
            self._lost(self._established, event.at_ns)
            self._followed_by_enough(event.at_ns)
        elif fact == "follow":
            self._followed = True
            self._lost(agent, event.at_ns)
            if self._leads and self._leads[-1] == (detail.get("leader"), detail.get("term")):
                self._followers.add(agent)
                self._followed_by_enough(event.at_ns)
        elif fact in ("step_down", "crash"):
            self._lost(agent, event.at_ns)
        elif fact in ("decide", "apply"):
            self._bear(event.at_ns)

    def _bear(self, at_ns: int) -> None:
        self._base, self._base_ns = self._highest, at_ns

    def _followed_by_enough(self, at_ns: int) -> None:
        if self._leaders and not self._followed:
            self._bear(at_ns)
        elif self._established is None and len(self._followers) >= self._conduct.judge.quorum:
            self._established, self._since_ns = self._leads[-1][0], at_ns

    def _lasts(self, at_ns: int) -> bool:
        """Whether a quorum has followed one leader for long enough by now."""
        if not self._leaders or self._established is None:
            return False
        return at_ns - self._since_ns >= self._conduct.window_ns()

    def _lost(self, agent: str | None, at_ns: int) -> None:
        if agent == self._established:
            if self._lasts(at_ns):
                self._bear(at_ns)
            self._established = None

    def _count(self, agent: str, number: object, at_ns: int) -> None:
        if not isinstance(number, int) or number <= self._highest:
            return
        self._lost(agent, at_ns)
        self._highest = number
        conduct = self._conduct
        if conduct.is_settling or self._lasts(at_ns):
            self._bear(at_ns)
        elif number - self._base > self._most:
            if len(conduct.judge.core()) >= conduct.judge.quorum:
                conduct.fail(LivelockError(self._message(at_ns)))
            self._bear(at_ns)

    def _missed(self) -> str:
        if self._leaders:
            quorum = self._conduct.judge.quorum
            return (
                f"no leader that a quorum of {quorum} followed for long"
                if quorum > 1
                else "no leader that lasted"
            )
        return "nothing was decided or applied"

    def _message(self, at_ns: int) -> str:
        conduct = self._conduct
        leads = ", ".join(agent if term is None else f"{agent} (term {term})" for agent, term in self._leads)
        return (
            f"livelock at virtual time {format_ns(at_ns)}: terms {self._base + 1:,} to {self._highest:,} came and went in "
            f"{format_ns(at_ns - self._base_ns)}, and none brought a result: {self._missed()}. Last to lead: "
            f"{leads or 'nobody'}. "
            f"Messages take up to {format_ns(conduct.greatest_delay_ns())} here; the timeouts of an election should be "
            "several times that, differ between agents, and grow with each term that fails."
        )

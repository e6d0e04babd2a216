"""Rules that a scenario lays over the network: partitions, drops, delays, duplicates, holds.

A rule is a context manager; leaving the ``with`` block, or :meth:`Rule.heal`, takes it away. A partition also stops what
is in flight when it begins: a message that arrives at a cut is lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.base.messages import Message
from pytest_convergence._engine.base.time import to_ns
from pytest_convergence._engine.sim.fabric import Fabric
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.links import Held, Link

__all__ = ["NetworkControl", "Rule"]


@final
class Rule:
    """One rule. Use it as ``with session.network.partition(…):`` or keep it and call :meth:`heal`."""

    __slots__ = (
        "_covers",
        "_fabric",
        "_held",
        "_verdict",
        "_where",
        "copies",
        "cuts",
        "delay_ns",
        "severs",
        "words",
    )

    def __init__(
        self,
        fabric: Fabric,
        words: str,
        covers: Callable[[str, str], bool],
        *,
        verdict: str,
        where: Callable[[Message], bool] | None = None,
        delay_ns: int = 0,
        copies: int = 0,
    ) -> None:
        self._fabric = fabric
        self.words = words
        self._covers = covers
        self._verdict = verdict
        self._where = where
        self._held: list[tuple[Link, Held]] = []
        self.cuts = verdict == "cut"
        self.severs = self.cuts or (verdict in {"drop", "hold"} and where is None)
        self.delay_ns = delay_ns
        self.copies = copies
        fabric.rules.append(self)
        fabric.rules_changed()
        self._note("began")

    def covers(self, source: str, target: str) -> bool:
        """Whether the rule applies to the link from ``source`` to ``target``."""
        return self._covers(source, target)

    def judge(self, message: Message) -> str | None:
        """Say what to do with a message: ``drop``, ``hold``, ``change`` or ``None`` for nothing."""
        if self._where is not None and not self._where(message):
            return None
        return self._verdict

    def keep(self, link: Link, held: Held) -> None:
        """Hold a message until the rule is healed."""
        self._held.append((link, held))

    @property
    def holding(self) -> int:
        """How many messages it holds back."""
        return len(self._held)

    def heal(self) -> None:
        """Take the rule away; what was held goes on its way, in order. Healing twice does nothing."""
        rules = self._fabric.rules
        if self not in rules:
            return
        younger = frozenset(rules[rules.index(self) + 1 :])
        rules.remove(self)
        self._fabric.rules_changed()
        self._note("healed")
        held, self._held = self._held, []
        for link, (message, fate, delay_ns, copies) in held:
            link.judge(message, fate, [rule for rule in link.rules if rule in younger], delay_ns, copies)

    def _note(self, what: str) -> None:
        nodes = self._fabric.nodes
        self._fabric.note("rule", next(iter(nodes.values())), {"rule": self.words, "what": what})

    def __enter__(self) -> Rule:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.heal()

    def __repr__(self) -> str:
        return f"<Rule {self.words}>"


@final
class NetworkControl:
    """``session.network``: lays rules over the links of one session. Agents are given as objects or by name."""

    def __init__(self, fabric: Callable[[], Fabric], names: Callable[[], Iterable[str]]) -> None:
        self._fabric = fabric
        self._all = names

    def partition(self, *groups: Any) -> Rule:
        """Cut every link between different groups; agents that are not named are one more group together."""
        sides = self._sides(groups)
        if len(sides) < 2:
            raise ConvergenceUsageError(
                "a partition needs agents on both sides; name at least one and not all of them."
            )
        side_of = {name: number for number, side in enumerate(sides) for name in side}
        words = "partition " + " | ".join(", ".join(side) for side in sides)
        return Rule(
            self._fabric(),
            words,
            lambda source, target: side_of.get(source) != side_of.get(target),
            verdict="cut",
        )

    def one_way_partition(self, sources: Any, targets: Any = None) -> Rule:
        """Cut the links from ``sources`` to ``targets`` (default: everybody else); the way back stays open."""
        from_, to = set(self._names(sources)), set(self._names(targets))
        if targets is None:
            to = set(self._all()) - from_
        words = f"one-way partition {', '.join(sorted(from_))} ↛ {', '.join(sorted(to))}"
        return Rule(
            self._fabric(), words, lambda source, target: source in from_ and target in to, verdict="cut"
        )

    def drop(
        self,
        source: Any = None,
        target: Any = None,
        *,
        where: Callable[[Message], bool] | None = None,
        odds: float = 1.0,
    ) -> Rule:
        """Lose messages on the named links (``None``: any), all or those for which ``where(message)`` holds.

        ``odds`` below 1 loses that share of them, drawn from the session's seed.
        """
        chosen = self._with_odds(where, odds)
        return self._links_rule("drop", source, target, "drop", chosen)

    def delay(
        self,
        seconds: float,
        source: Any = None,
        target: Any = None,
        *,
        where: Callable[[Message], bool] | None = None,
    ) -> Rule:
        """Add ``seconds`` to the latency of messages on the named links; later messages may overtake them."""
        delay_ns = to_ns(seconds, "delay")
        return self._links_rule(f"delay by {seconds:g} s", source, target, "change", where, delay_ns=delay_ns)

    def duplicate(
        self,
        source: Any = None,
        target: Any = None,
        *,
        copies: int = 1,
        where: Callable[[Message], bool] | None = None,
    ) -> Rule:
        """Deliver messages on the named links ``copies`` more times."""
        if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
            raise ConvergenceUsageError(f"copies must be a whole number >= 1, not {copies!r}.")
        return self._links_rule("duplicate", source, target, "change", where, copies=copies)

    def hold(
        self, source: Any = None, target: Any = None, *, where: Callable[[Message], bool] | None = None
    ) -> Rule:
        """Hold back messages on the named links until the rule is healed; then they go on in order."""
        return self._links_rule("hold", source, target, "hold", where)

    def heal(self) -> None:
        """Take every rule away."""
        for rule in list(self._fabric().rules):
            rule.heal()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force, oldest first."""
        return tuple(self._fabric().rules)

    # -- helpers -------------------------------------------------------------------------------------------------

    def _links_rule(
        self,
        words: str,
        source: Any,
        target: Any,
        verdict: str,
        where: Callable[[Message], bool] | None,
        *,
        delay_ns: int = 0,
        copies: int = 0,
    ) -> Rule:
        from_, to = frozenset(self._names(source)), frozenset(self._names(target))
        names = f"{', '.join(sorted(from_)) or 'anyone'} → {', '.join(sorted(to)) or 'anyone'}"
        return Rule(
            self._fabric(),
            f"{words} {names}",
            lambda one, other: (not from_ or one in from_) and (not to or other in to),
            verdict=verdict,
            where=where,
            delay_ns=delay_ns,
            copies=copies,
        )

    def _with_odds(
        self, where: Callable[[Message], bool] | None, odds: float
    ) -> Callable[[Message], bool] | None:
        if isinstance(odds, bool) or not isinstance(odds, int | float) or not 0 < odds <= 1:
            raise ConvergenceUsageError(f"odds must be greater than 0 and at most 1, not {odds!r}.")
        if odds == 1:
            return where
        stream: random.Random = self._fabric().entropy("network rules")
        return lambda message: (where is None or where(message)) and stream.random() < odds

    def _names(self, agents: Any) -> list[str]:
        if agents is None:
            return []
        listed = [agents] if isinstance(agents, str) or hasattr(agents, "name") else list(agents)
        known = list(self._all())
        names = [agent if isinstance(agent, str) else str(getattr(agent, "name", agent)) for agent in listed]
        for name in names:
            if name not in known:
                raise unknown_name("agent", name, known)
        return names

    def _sides(self, groups: Iterable[Any]) -> list[list[str]]:
        sides = [self._names(group) for group in groups]
        named = [name for side in sides for name in side]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ConvergenceUsageError(f"{twice[0]!r} stands on two sides of the partition.")
        rest = [name for name in self._all() if name not in named]
        return [side for side in [*sides, rest] if side]

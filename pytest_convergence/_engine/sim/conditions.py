"""Network conditions: latency, loss, duplication and reordering of a link, and the profiles that have names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, final

from pytest_convergence._engine.base.choices import smaller
from pytest_convergence._engine.base.noise import STEADY, Noise
from pytest_convergence._engine.base.time import NS_PER_SECOND, format_ns, to_ns
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["DUPLICATED", "FATES", "LOST", "ON_TIME", "OVERTAKEN", "FateDomain", "Network", "PROFILES"]

ON_TIME: Final = 0
LOST: Final = 1
DUPLICATED: Final = 2
OVERTAKEN: Final = 3
_BATCH: Final = 64
_CALM_BATCH: Final = [ON_TIME] * _BATCH
_MOST_ODDS: Final = 0.8
"""At most so many of a noisy network's messages are lost, duplicated or held up."""
_LONGEST_TAIL_NS: Final = 60 * NS_PER_SECOND
FATES: Final = ("delayed", "lost", "duplicated", "overtaken")


_ODDS: Final = ("loss", "duplicate", "reorder", "reset", "late_answer", "slow_read")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The conditions of every link of a session.

    Attributes:
        latency: seconds, or the least and the greatest of them. A link keeps the order of its messages unless
            ``reorder`` says otherwise. Under the calm schedule every message takes the least.
        loss: odds that a message is lost, 0 to 1.
        duplicate: odds that it arrives twice.
        reorder: odds that it is held up so that later messages may overtake it.
        reset: odds that a packet of a connection between hosts resets it. (What is lost of a connection comes late: it is
            sent again.)
        late_answer: odds that what a host sends on a connection that it was asked for comes late, by up to 100 s.
        slow_read: odds that a packet of a connection is read bit by bit, over up to 10 s.
        least_ns: the latency of a calm message, in nanoseconds.
        greatest_ns: the greatest latency of a message that is not held up, in nanoseconds.
    """

    latency: float | tuple[float, float] = 0.001
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reset: float = 0.0
    late_answer: float = 0.0
    slow_read: float = 0.0
    least_ns: int = field(init=False, repr=False, compare=False)
    greatest_ns: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = self.latency if isinstance(self.latency, tuple | list) else (self.latency, self.latency)
        # Asked for several times in each run, so worked out once.
        object.__setattr__(self, "least_ns", to_ns(low, "latency"))
        object.__setattr__(self, "greatest_ns", to_ns(high, "latency"))
        if self.least_ns > self.greatest_ns:
            raise ConvergenceUsageError(f"latency must be (least, greatest), not {self.latency!r}.")
        for name in _ODDS:
            odds = getattr(self, name)
            if isinstance(odds, bool) or not isinstance(odds, int | float) or not 0 <= odds <= 1:
                raise ConvergenceUsageError(f"{name} must be a probability from 0 to 1, not {odds!r}.")
        if self.loss + self.duplicate + self.reorder > 1:
            raise ConvergenceUsageError(
                f"loss + duplicate + reorder must not exceed 1, but {self.loss!r} + {self.duplicate!r} + "
                f"{self.reorder!r} does."
            )

    @property
    def is_harmless(self) -> bool:
        """Whether a schedule has nothing to choose: one latency, no faults."""
        return self.least_ns == self.greatest_ns and not any(getattr(self, name) for name in _ODDS)

    def with_faults(self, kinds: frozenset[str]) -> Network:
        """Return the same conditions with at least the usual odds of the fault kinds that are named."""
        if not kinds:
            return self
        changes: dict[str, Any] = {}
        for kind, name, odds in (
            ("loss", "loss", 0.1),
            ("duplicate", "duplicate", 0.05),
            ("reorder", "reorder", 0.1),
            ("reset", "reset", 0.05),
            ("late-answer", "late_answer", 0.1),
            ("slow-read", "slow_read", 0.05),
        ):
            if kind in kinds:
                changes[name] = max(odds, getattr(self, name))
        changed = replace(self, **changes) if changes else self
        if "delay" in kinds and changed.least_ns == changed.greatest_ns:
            least = changed.least_ns / NS_PER_SECOND
            changed = replace(changed, latency=(least, least + 0.1))
        return changed

    def under(self, noise: Noise) -> Network:
        """Return the same conditions with the odds of faults as a profile of noise has them."""
        if noise.network == 1 or not (self.loss or self.duplicate or self.reorder):
            return self
        odds = {name: getattr(self, name) * noise.network for name in ("loss", "duplicate", "reorder")}
        excess = max(1.0, sum(odds.values()) / _MOST_ODDS)
        return replace(self, **{name: each / excess for name, each in odds.items()})

    @classmethod
    def of(cls, value: Network | str) -> Network:
        """Return the conditions that ``value`` names, or ``value`` itself.

        Raises:
            ConvergenceUsageError: there is no such profile.
        """
        if isinstance(value, Network):
            return value
        if not isinstance(value, str) or value not in PROFILES:
            raise unknown_name("network profile", value, PROFILES, fix="Or pass Network(latency=…, loss=…).")
        return PROFILES[value]


PROFILES: Final[Mapping[str, Network]] = {
    "perfect": Network(latency=0.001),
    "lan": Network(latency=(0.0002, 0.002)),
    "wan": Network(latency=(0.03, 0.12), loss=0.001, reorder=0.01),
    "lossy": Network(latency=(0.001, 0.05), loss=0.1, duplicate=0.02, reorder=0.05),
    "flaky": Network(latency=(0.001, 0.5), loss=0.2, duplicate=0.05, reorder=0.1, reset=0.02),
    "chaos": Network(latency=(0.001, 2.0), loss=0.3, duplicate=0.15, reorder=0.3, reset=0.05),
}
"""The profiles by name; the numbers are seconds and odds per message."""


@final
class FateDomain:
    """What can happen to one message: an option is ``kind | (delay_ns << 2)``.

    From calm upwards: on time, later and later within the latency, held up so that others overtake, duplicated, lost. Where
    messages may be held up at all, noise may give some of them a heavy-tailed delay.
    """

    __slots__ = (
        "_batch",
        "_draw",
        "_duplicated_from",
        "_is_calm",
        "_lost_from",
        "_on_time",
        "_spread_ns",
        "_stretch_ns",
        "_tail_from",
    )

    def __init__(self, network: Network, noise: Noise = STEADY) -> None:
        network = network.under(noise)
        self._lost_from = 1 - network.loss
        self._duplicated_from = self._lost_from - network.duplicate
        self._tail_from = self._duplicated_from - (noise.tail if network.reorder else 0.0)
        self._on_time = self._tail_from - network.reorder
        self._spread_ns = int((network.greatest_ns - network.least_ns) * noise.delay)
        self._batch: list[int] = []
        self._is_calm = False
        self._draw: Callable[[], list[int]] | None = None
        # A message that is overtaken, or the copy of one, comes up to four latencies later.
        self._stretch_ns = 4 * max(network.greatest_ns, 1_000_000)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """What is sent to another process: all but what was drawn ahead, which belongs to a run."""
        mine = [name for name in self.__slots__ if name not in ("_batch", "_draw")]
        return None, {"_batch": [], "_draw": None, **{name: getattr(self, name) for name in mine}}

    def decode(self, u: float) -> int:
        """Map ``u`` to a fate."""
        if not u:
            return ON_TIME  # calm, even where the odds leave no room for it
        if u < self._on_time:
            return int(u / self._on_time * self._spread_ns) << 2
        if u < self._tail_from:
            part = (u - self._on_time) / (self._tail_from - self._on_time)
            return OVERTAKEN | ((int(part * self._stretch_ns) + 1) << 2)
        # Pareto, with a shape of 1: half of them take twice as long as anything else.
        if u < self._duplicated_from:
            part = (u - self._tail_from) / (self._duplicated_from - self._tail_from)
            return OVERTAKEN | (int(min(self._stretch_ns / (1 - part), _LONGEST_TAIL_NS)) << 2)
        if u < self._lost_from:
            part = (u - self._duplicated_from) / (self._lost_from - self._duplicated_from)
            return DUPLICATED | ((int(part * self._stretch_ns) + 1) << 2)
        return LOST

    def fuse(self, random: Callable[[], float]) -> Callable[[], int]:
        """Draw and decode in one call: this runs once for every message, so it hands out what was drawn in batches."""
        on_time, decode = self._on_time, self.decode
        scale = self._spread_ns / on_time if on_time else 0.0

        batch = self._batch

        def draw() -> list[int]:
            if self._is_calm:
                batch[:] = _CALM_BATCH
                return batch
            batch[:] = [
                int(u * scale) << 2 if (u := random()) < on_time else decode(u) for _ in range(_BATCH)
            ]
            return batch

        self._draw = draw
        return chain.from_iterable(iter(draw, None)).__next__

    def draw_afresh(self) -> None:
        """Forget what was drawn ahead: the stream has become another one."""
        if self._draw is not None and self._batch:
            self._draw()

    def calm_down(self) -> None:
        """From now on every message whose fate is drawn here is on time."""
        self._is_calm = True
        self._batch.clear()

    def weaker(self, option: int) -> tuple[int, ...]:
        """A shorter delay of the same kind; merely late instead of overtaken."""
        kind, delay_ns = option & 3, option >> 2
        if kind == LOST:
            return ()
        late = [each << 2 for each in (*smaller(delay_ns), delay_ns) if each <= self._spread_ns]
        if kind == ON_TIME:
            return tuple(each for each in late if each < option)
        same = [each << 2 | kind for each in smaller(delay_ns)]
        return (*late, *same) if kind == OVERTAKEN else tuple(same)

    @property
    def longest_ns(self) -> int:
        """How late a message may come, or its copy; longer than usual only if messages may be held up, or doubled."""
        stretches = self._on_time < self._tail_from or self._duplicated_from < self._lost_from
        return self._stretch_ns if stretches else self._spread_ns

    def lasting(self, duration_ns: int) -> tuple[int, ...]:
        """Late by so much, or as late as the network may deliver; its copy so late; lost: as far as the network does it."""
        options = []
        if self._on_time < self._tail_from:
            options.append(OVERTAKEN | min(duration_ns, self._stretch_ns) << 2)
        elif self._spread_ns:
            options.append(min(duration_ns, self._spread_ns) << 2)
        if self._duplicated_from < self._lost_from:
            options.append(DUPLICATED | min(duration_ns, self._stretch_ns) << 2)
        if self._lost_from < 1:
            options.append(LOST)
        return tuple(options)

    def companions(self, option: int) -> tuple[str, ...]:
        """Nobody: it concerns one message."""
        return ()

    def describe(self, option: int) -> str:
        """Say the fate in words."""
        kind, delay_ns = option & 3, option >> 2
        if kind == LOST:
            return "lost"
        if kind == DUPLICATED:
            return f"duplicated, the copy {format_ns(delay_ns)} later"
        return f"{FATES[kind]} {format_ns(delay_ns)}"

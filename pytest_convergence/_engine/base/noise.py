"""Profiles of noise: how a seeded schedule departs from calm, and how often.

Uniform noise is blind to bugs that need several rare things in one place: a leader that is cut off just when it has
replicated to one follower, a crash between a send and the next write. So a search takes turns among profiles:

* *uniform*: the odds that each kind of fault has by itself.
* *fast-restart*: crashes and pauses are frequent, strike right after something was sent, and are short.
* *heavy-tail*: now and then a message, or an agent, takes very much longer than usual (a Pareto distribution).
* *leader-target*: whoever says that it leads or owns something is crashed, paused or cut off soon after.
* *swarm*: each run switches a random subset of the kinds of faults on, at random odds (Groce et al., "Swarm testing",
  ISSTA 2012): what one fault hides, a run without that fault shows.
* *pct*: agents have random priorities, and at a few random steps an agent falls behind all others (Burckhardt et al.,
  "A randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010).

A profile changes how deviations are *drawn*. What was drawn is recorded by label and option, so a replay needs no profile.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, final

from pytest_convergence._engine.base.choices import Stream
from pytest_convergence.errors import unknown_name

__all__ = ["NOISE_PROFILES", "ROTATION", "STEADY", "Noise", "check_noise", "noise_of"]

NOISE_PROFILES: Final = ("uniform", "fast-restart", "heavy-tail", "leader-target", "swarm", "pct")
"""The names of all profiles."""

ROTATION: Final = ("uniform", "swarm", "leader-target", "fast-restart", "leader-target", "heavy-tail")
"""Which profiles the schedules of a search take, in turn; noise that aims is worth two turns, for what it alone finds."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What a profile does to the odds of a seeded schedule. The numbers are factors, 1 for "as usual".

    Attributes:
        stall, pause, crash, partition: on the odds of these faults, per step or per tick.
        network: on the odds of loss, duplication and reordering.
        delay: on the delays within the latency of a link; 0 for none.
        outage: on how long a crash, a pause or a partition lasts.
        near_sends: whether crashes and pauses wait until their agent has just sent something.
        tail: odds that a message which may be late, or an agent that is held, is so by a heavy-tailed time.
        targets: whether those who lead or own something are struck.
        priorities: whether agents run by random priorities.
        freeze: odds that some agents stay down when the faults stop, as far as a pattern can do without them.
    """

    stall: float = 1.0
    pause: float = 1.0
    crash: float = 1.0
    partition: float = 1.0
    network: float = 1.0
    delay: float = 1.0
    outage: float = 1.0
    near_sends: bool = False
    tail: float = 0.0
    targets: bool = False
    priorities: bool = False
    freeze: float = 0.0


STEADY: Final = Noise()
"""Uniform noise."""

_FIXED: Final = {
    "uniform": STEADY,
    "fast-restart": Noise(stall=2, crash=4, pause=3, outage=0.05, near_sends=True, freeze=0.2),
    "heavy-tail": Noise(tail=0.04, outage=2),
    "leader-target": Noise(crash=0.3, pause=0.3, partition=0.3, targets=True, freeze=0.2),
    "pct": Noise(stall=0, priorities=True),
}
_SWITCHED: Final = ("stall", "pause", "crash", "partition", "network", "delay")


def check_noise(name: object) -> str:
    """Return ``name`` if there is such a profile.

    Raises:
        ConvergenceUsageError: there is none.
    """
    if not isinstance(name, str) or name not in NOISE_PROFILES:
        raise unknown_name("noise profile", name, NOISE_PROFILES)
    return name


def noise_of(name: str, stream: Stream) -> Noise:
    """Return the noise of a profile; what it leaves to chance is drawn from ``stream``.

    Raises:
        ConvergenceUsageError: there is no such profile.
    """
    check_noise(name)
    return _swarm(stream) if name == "swarm" else _FIXED[name]


def _swarm(stream: Stream) -> Noise:
    """Switch each kind of fault off with odds of one half; the others become up to ten times more, or less, frequent."""
    random = stream.random
    on: Collection[str] = [kind for kind in _SWITCHED if random() < 0.5]
    factors = {kind: _log_uniform(random(), 0.3, 10.0) if kind in on else 0.0 for kind in _SWITCHED}
    return Noise(
        stall=factors["stall"],
        pause=factors["pause"],
        crash=factors["crash"],
        partition=factors["partition"],
        network=factors["network"],
        delay=min(factors["delay"], 1.0),
        outage=_log_uniform(random(), 0.02, 2.0),
        near_sends=random() < 0.3,
        tail=0.05 * (random() < 0.2),
        targets=random() < 0.3,
        freeze=0.2,
    )


def _log_uniform(u: float, least: float, greatest: float) -> float:
    return float(least * (greatest / least) ** u)

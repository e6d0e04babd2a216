"""Has the run converged? Quiescence, equal views for a window, and what they are worth.

1. A *view* is what an agent exposes: its replica, what its protocol holds to be agreed, and what its behaviour said that it
   exposes.
2. When the work is done the faults stop, and the world runs on until no user message is in flight, no protocol that has
   not come to rest waits for a function of the user's, and no view has changed for a *window*: twice the greatest delay
   plus the longest period of any protocol timer, or the longest sleep that a behaviour is in. Within a window everything
   that upkeep can still change has been tried. Agents that chat for ever always have a message under way; they are stable
   if all that chat has changed no view when the time is up.
   What a property still waits for (a leader, say) may take longer than that where agents poll: it is given another while.
3. Then the views are judged: agents that are alive and connected must expose equal ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.base.canonical import canonical
from pytest_convergence._engine.base.time import NS_PER_SECOND

if TYPE_CHECKING:
    from pytest_convergence._engine.run.conduct import Conduct

__all__ = ["Settling", "largest_group", "split_views"]

_TICKS_PER_WINDOW: Final = 8
_LEAST_LIMIT_NS: Final = 60 * NS_PER_SECOND
_WINDOWS: Final = 100
_GRACE_NS: Final = 10 * NS_PER_SECOND
_GRACE_WINDOWS: Final = 10
"""How long, at most, a property may wait for more once views are stable: so many seconds, or windows if those are longer."""


@final
class Settling:
    """Waits until the views of a run are stable, then calls ``done``.

    Attributes:
        changed_ns: when a view changed last.
        stable: whether no view changed any more.
        restless: whether messages, work or changes went on until the time was up.
    """

    __slots__ = (
        "_conduct",
        "_done",
        "_last",
        "_limit_ns",
        "_since_ns",
        "_window_ns",
        "changed_ns",
        "restless",
        "stable",
    )

    def __init__(self, conduct: Conduct, done: Callable[[], None]) -> None:
        self._conduct = conduct
        self._done = done
        world = conduct.world
        self._window_ns = 0
        self._limit_ns = 0
        self._last = ""
        self._since_ns = world.now_ns
        self.changed_ns = world.now_ns
        self.stable = True
        self.restless = False

    def begin(self) -> None:
        """Start to wait; may call ``done`` at once."""
        conduct = self._conduct
        if conduct.is_still():
            self._done()  # nothing is left that could change anything
            return
        window_ns = self._window_ns = conduct.window_ns()
        now_ns = conduct.world.now_ns
        self._limit_ns = min(now_ns + max(_LEAST_LIMIT_NS, _WINDOWS * window_ns), conduct.timeout_ns)
        self._last = conduct.fingerprint()
        self._arm()

    def _arm(self) -> None:
        world = self._conduct.world
        world.at(world.now_ns + max(1, self._window_ns // _TICKS_PER_WINDOW), self._tick, None)

    def _tick(self, _: object) -> None:
        conduct = self._conduct
        if conduct.is_over:
            return
        now_ns = conduct.world.now_ns
        seen = conduct.fingerprint()
        # Who sleeps now may have been at work before.
        self._window_ns = max(self._window_ns, conduct.window_ns())
        if seen != self._last:
            self._last = seen
            self._since_ns = self.changed_ns = now_ns
        elif conduct.user_messages_in_flight() or conduct.cast.works():
            self._since_ns = now_ns
        is_stable = now_ns - self._since_ns >= self._window_ns
        if (is_stable and not self._waits(now_ns)) or (seen == self._last and conduct.is_still()):
            self._done()
        elif now_ns >= self._limit_ns:
            self.restless = True
            self.stable = now_ns - self.changed_ns >= self._window_ns and not conduct.cast.works()
            self._done()
        else:
            self._arm()

    def _waits(self, now_ns: int) -> bool:
        """Whether what is missing may still come about."""
        grace_ns = self._window_ns + max(_GRACE_NS, _GRACE_WINDOWS * self._window_ns)
        return now_ns - self._since_ns < grace_ns and self._conduct.judge.expects()


def _parts(view: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return something hashable that is equal for equal views: each part of what an agent exposes, as text."""
    return tuple((part, canonical(value)) for part, value in view.items())


def _agree(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> bool:
    """Whether two views are equal, as far as both have the same parts: who exposes nothing contradicts nobody."""
    theirs = dict(other)
    return all(theirs.get(part, text) == text for part, text in one)


def _all_equal(views: dict[str, Any]) -> bool:
    """Whether all views are equal outright, which is the usual end and cheap to see."""
    first = next(iter(views.values()), None)
    return [*views.values()].count(first) == len(views)


def largest_group(views: dict[str, Any]) -> int:
    """Return the size of the largest group of agents with equal views."""
    if _all_equal(views):
        return len(views)
    counts = Counter(map(_parts, views.values()))
    sizes = []
    for view in sorted(counts, key=len, reverse=True):  # those that expose most are the hardest to agree with
        group = [view]
        for other in counts:
            if other != view and all(_agree(other, member) for member in group):
                group.append(other)
        sizes.append(sum(counts[member] for member in group))
    return max(sizes)


def split_views(views: dict[str, Any], connected: Callable[[str, str], bool]) -> tuple[str, str] | None:
    """Return two connected agents with different views, or ``None`` if there are none."""
    if _all_equal(views):
        return None
    names = list(views)
    parts = {name: _parts(view) for name, view in views.items()}
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if not _agree(parts[one], parts[other]) and connected(one, other):
                return one, other
    return None

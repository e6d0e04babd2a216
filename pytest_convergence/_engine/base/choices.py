"""The one source of choice. Everything that a run does not determine itself asks here, and option 0 is always calm.

1. A *site* is a stream of choices with one label stem: ``deliver planner→coder`` is asked once for every message of
   that link. The n-th choice is labelled ``deliver planner→coder #n``. Stems name a link or an agent and n counts at
   that link or agent, never globally, so a label means the same thing after other deviations are taken away.
2. A *domain* says what may be chosen: it maps ``u`` in ``[0, 1)`` to an option, 0 to calm, larger ``u`` to larger
   departures. Seeds, tapes and searches all choose by giving a ``u`` or by naming the option itself.
3. *Dense* sites (``every``) are asked at each occurrence. *Sparse* sites (``rare``) are asked "which occurrence is the
   next that deviates?", so that a step of an agent that nobody disturbs costs one comparison.
4. A *deviation* is one answer that is not calm, written ``label: option``. A run is a pure function of its deviations
   (and of the seed from which agents draw their private entropy).
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from pytest_convergence._engine.base.directing import Director
    from pytest_convergence._engine.base.survey import Survey

__all__ = [
    "CalmChoices",
    "Choices",
    "Domain",
    "Next",
    "RecordedChoices",
    "RecordingChoices",
    "SeededChoices",
    "Span",
    "Stream",
    "TapeChoices",
    "smaller",
    "split_label",
]

Next = Callable[[int], "tuple[int, int] | None"]
"""Given the occurrence just passed, the next one that deviates and its option, or ``None``."""


class Stream(Protocol):
    """Where seeded choices come from: the part of :class:`random.Random` that is used."""

    def random(self) -> float:
        """Return a float in ``[0, 1)``."""
        ...


class Domain(Protocol):
    """What may be chosen at a site."""

    def decode(self, u: float) -> int:
        """Map ``u`` in ``[0, 1)`` to an option; ``decode(0) == 0`` is calm."""
        ...

    def describe(self, option: int) -> str:
        """Say in words what ``option`` does, for a sentence that starts with the site's label."""
        ...

    def weaker(self, option: int) -> Sequence[int]:
        """Name options that depart less from calm than ``option``, the least departure first; none of them is 0."""
        ...


@final
class Span:
    """A domain of whole numbers ``0..limit``, uniform; ``unit`` completes the sentence."""

    __slots__ = ("limit", "unit")

    def __init__(self, limit: int, unit: str = "") -> None:
        self.limit = limit
        self.unit = unit

    def decode(self, u: float) -> int:
        """Map ``u`` to ``0..limit``."""
        return int(u * (self.limit + 1))

    def describe(self, option: int) -> str:
        """Name the option."""
        return f"{option}{self.unit}"

    def weaker(self, option: int) -> Sequence[int]:
        """Smaller numbers."""
        return smaller(option)


def smaller(number: int) -> tuple[int, ...]:
    """Return a few numbers from 1 to less than ``number``, the smallest first: 1, a tenth, a half; round ones."""
    tenth = 10 ** max(0, len(str(number)) - 2)
    rounded = number // tenth * tenth
    return tuple(sorted({each for each in (1, number // 10, number // 2, rounded) if 0 < each < number}))


class Choices(Protocol):
    """A schedule at work: gives every site its answers."""

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Return the function that answers occurrence 1, 2, 3, … of the site ``stem``."""
        ...

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Return the function that names the next deviating occurrence; ``rate`` is the odds of each one."""
        ...

    def struck(self, stem: str, number: int, option: int, domain: Domain) -> None:
        """Hear that a deviation of a sparse site has come about: what is planned may never be reached, or be put off."""
        ...


def _always_calm() -> int:
    return 0


def _unheard(self: object, stem: str, number: int, option: int, domain: Domain) -> None:
    """Nobody wants to know what has come about."""


def _never(after: int) -> tuple[int, int] | None:
    return None


@final
class CalmChoices:
    """Delivers in order, loses nothing, crashes nobody."""

    __slots__ = ()

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Answer 0 for ever."""
        return _always_calm

    def shared(self, domain: Domain) -> Callable[[], int]:
        """Return that function, for those who need no label."""
        return _always_calm

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Never deviate."""
        return _never

    struck = _unheard


@final
class SeededChoices:
    """Draws every choice from one stream, in the order in which the run asks."""

    __slots__ = ("_draws", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._draws: dict[int, tuple[Domain, Callable[[], int]]] = {}

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Draw afresh at each occurrence. Sites with the same domain share one function: the stream is one anyway."""
        return self.shared(domain)

    def shared(self, domain: Domain) -> Callable[[], int]:
        """Return that function, for those who need no label."""
        known = self._draws.get(id(domain))
        if known is None:
            known = self._draws[id(domain)] = (domain, self._draw(domain))
        return known[1]

    def _draw(self, domain: Domain) -> Callable[[], int]:
        random, decode = self._stream.random, domain.decode
        fuse = getattr(domain, "fuse", None)
        if fuse is not None:  # a domain on a hot path hands out one closure instead of two calls
            fused: Callable[[], int] = fuse(random)
            return fused
        return lambda: decode(random())

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Draw the gap to the next deviation from the geometric distribution of ``rate``."""
        if rate <= 0:
            return _never
        random, decode = self._stream.random, domain.decode
        scale = math.log1p(-min(rate, 1 - 1e-12))

        def following(after: int) -> tuple[int, int] | None:
            gap = 1 + int(math.log1p(-random()) / scale)
            # A deviation that decodes to calm would be none: stay away from u = 0.
            return after + gap, max(1, decode(random()))

        return following

    struck = _unheard


@final
class RecordedChoices:
    """Replays named deviations; everything else is calm."""

    __slots__ = ("_by_stem", "_passed")

    def __init__(self, deviations: Mapping[str, int]) -> None:
        self._by_stem: dict[str, dict[int, int]] = {}
        self._passed: dict[str, int] = {}  # by stem: how far the run came, where anything is planned
        for label, option in deviations.items():
            stem, number = split_label(label)
            self._by_stem.setdefault(stem, {})[number] = option

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Answer the recorded option where there is one."""
        planned = self._by_stem.get(stem)
        if not planned:
            return _always_calm
        count = 0
        passed = self._passed

        def answer() -> int:
            nonlocal count
            passed[stem] = count = count + 1
            return planned.get(count, 0)

        return answer

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Name the recorded occurrences, in order."""
        planned = sorted(self._by_stem.get(stem, {}).items())
        passed = self._passed

        def following(after: int) -> tuple[int, int] | None:
            passed[stem] = max(after, passed.get(stem, 0))
            return next(((number, option) for number, option in planned if number > after), None)

        return following

    @property
    def unasked(self) -> tuple[str, ...]:
        """The labels of the deviations that the run has not come to."""
        return tuple(
            f"{stem} #{number}"
            for stem, planned in self._by_stem.items()
            for number in planned
            if number > self._passed.get(stem, 0)
        )

    struck = _unheard


@final
class TapeChoices:
    """Reads each choice from a fixed tape of bytes, at a cell that depends on the label alone.

    A zero byte is calm, so a tape that shrinks towards zeros shrinks to the fewest deviations; because the cell
    belongs to the message and not to the step, the rest of the run keeps its meaning while one byte changes.
    """

    __slots__ = ("_tape",)

    def __init__(self, tape: bytes) -> None:
        self._tape = tape

    def _at(self, stem: str, number: int) -> float:
        tape = self._tape
        return tape[zlib.crc32(f"{stem} #{number}".encode()) % len(tape)] / 256 if tape else 0.0

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Read the cell of each occurrence."""
        count = 0

        def answer() -> int:
            nonlocal count
            count += 1
            return domain.decode(self._at(stem, count))

        return answer

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Look for the next occurrence whose cell lies in the top ``rate`` of its range."""
        if rate <= 0 or not self._tape:
            return _never
        floor = 1 - min(rate, 1.0)

        def following(after: int) -> tuple[int, int] | None:
            for number in range(after + 1, after + 1 + len(self._tape)):
                u = self._at(stem, number)
                if u and u >= floor:
                    return number, max(1, domain.decode((u - floor) / (1 - floor) if floor < 1 else u))
            return None

        return following

    struck = _unheard


@final
class RecordingChoices:
    """Passes every question on and keeps the answers that were not calm: of sparse sites, those that came about.

    Attributes:
        deviations: label -> option, in the order in which the run asked.
        words: label -> the option in words.
        domains: label -> what might have been chosen there.
        director: of the inner choices, if they have one.
        hear: called with each deviation as it comes about: its label, option, words and domain.
        survey: is told when each comes about, and where faults may strike, if anybody wants to know.
    """

    __slots__ = ("_inner", "deviations", "director", "domains", "hear", "survey", "words")

    def __init__(self, inner: Choices, survey: Survey | None = None) -> None:
        self._inner = inner
        self.survey = survey
        self.deviations: dict[str, int] = {}
        self.words: dict[str, str] = {}
        self.domains: dict[str, Domain] = {}
        self.hear: Callable[[str, int, str, Domain], None] | None = None
        self.director: Director | None = getattr(inner, "director", None)
        if self.director is not None:  # what it delays is known when it arrives
            self.director.listener = self._keep

    def _keep(self, stem: str, number: int, option: int, domain: Domain) -> None:
        label = f"{stem} #{number}"
        self.deviations[label] = option
        self.words[label] = domain.describe(option)
        self.domains[label] = domain
        if self.survey is not None:
            self.survey.chosen(label)
        if self.hear is not None:
            self.hear(label, option, self.words[label], domain)

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Answer as the inner choices do."""
        if self.survey is not None:
            self.survey.may_strike(stem, domain)
        inner = self._inner.every(stem, domain)
        count = 0

        def answer() -> int:
            nonlocal count
            count += 1
            option = inner()
            if option:
                self._keep(stem, count, option, domain)
            return option

        return answer

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Answer as the inner choices do; it is kept when it has come about."""
        if self.survey is not None:
            self.survey.may_strike(stem, domain)
        return self._inner.rare(stem, rate, domain)

    def struck(self, stem: str, number: int, option: int, domain: Domain) -> None:
        """Keep what has come about, and pass it on."""
        self._inner.struck(stem, number, option, domain)
        self._keep(stem, number, option, domain)


_LABEL: Final = re.compile(r"(?P<stem>.+) #(?P<number>[1-9][0-9]*)\Z")


def split_label(label: str) -> tuple[str, int]:
    """Split ``deliver a→b #3`` into its stem and its number.

    Raises:
        ValueError: the text is not a label.
    """
    match = _LABEL.match(label)
    if match is None:
        raise ValueError(f"{label!r} is not a choice label; labels look like 'deliver planner→coder #3'")
    return match["stem"], int(match["number"])

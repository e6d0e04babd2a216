"""Choices of which only some kinds may depart from calm: less noise of the same sort.

What a failure needs is often one kind of fault, among many others that happened to be drawn. Where only that kind is drawn,
the failure comes about with far fewer deviations, and at other steps: no part of a noisy schedule is that small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from pytest_convergence._engine.base.choices import Domain, Next, SeededChoices
from pytest_convergence._engine.base.priorities import PriorityChoices

__all__ = ["SparseChoices", "forbidden", "kind_of_label"]

_DELIVER: Final = "deliver"


def kind_of_label(label: str) -> str:
    """Return what kind of choice a label is of, or its stem: the first word."""
    return label.partition(" ")[0]


def forbidden(after: int) -> tuple[int, int] | None:
    """Never deviate, whoever wants to: noise that aims at an agent asks for no odds."""
    return None


def _calm() -> int:
    return 0


@final
class SparseChoices:
    """Passes on what is asked of some kinds of choices; all else is calm.

    Args:
        inner: what decides.
        kinds: the first words of the labels that may deviate.
    """

    __slots__ = ("_inner", "_kinds")

    def __init__(self, inner: SeededChoices | PriorityChoices, kinds: frozenset[str]) -> None:
        self._inner = inner
        self._kinds = kinds

    def every(self, stem: str, domain: Domain) -> Callable[[], int]:
        """Answer as the inner choices do, or 0 for ever."""
        return self._inner.every(stem, domain) if kind_of_label(stem) in self._kinds else _calm

    def shared(self, domain: Domain) -> Callable[[], int]:
        """Return what answers for all links."""
        return self._inner.shared(domain) if _DELIVER in self._kinds else _calm

    def rare(self, stem: str, rate: float, domain: Domain) -> Next:
        """Answer as the inner choices do, or never."""
        return self._inner.rare(stem, rate, domain) if kind_of_label(stem) in self._kinds else forbidden

    def struck(self, stem: str, number: int, option: int, domain: Domain) -> None:
        """Nobody wants to know what has come about."""

"""Patterns by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeGuard

from pytest_convergence._engine.patterns.competitive import Competitive
from pytest_convergence._engine.patterns.consensus import Consensus
from pytest_convergence._engine.patterns.hierarchical import Hierarchical
from pytest_convergence._engine.patterns.leader_follower import LeaderFollower
from pytest_convergence._engine.patterns.parallel_merge import ParallelMerge
from pytest_convergence._engine.patterns.pattern import Pattern
from pytest_convergence._engine.patterns.pipeline import Pipeline
from pytest_convergence._engine.patterns.reactive import Reactive
from pytest_convergence.errors import ConvergenceUsageError, unknown_name

__all__ = ["PatternRegistry", "find_pattern"]

_BUILT_IN: Final[Mapping[str, Pattern]] = {
    "leader-follower": LeaderFollower(),
    "consensus": Consensus(),
    "parallel-merge": ParallelMerge(),
    "competitive": Competitive(),
    "hierarchical": Hierarchical(),
    "reactive": Reactive(),
    "pipeline": Pipeline(),
}


class PatternRegistry:
    """The patterns that one test run knows: the built-in ones, and those that plugins add.

    A registry belongs to whoever made it; there is no global one to add to.

    Args:
        more: patterns beside the built-in ones.

    Raises:
        ConvergenceUsageError: one of them is no pattern, or its name is taken.
    """

    __slots__ = ("_patterns",)

    def __init__(self, more: Iterable[Pattern] = ()) -> None:
        self._patterns: dict[str, Pattern] = dict(_BUILT_IN)
        for pattern in more:
            self.add(pattern)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that :meth:`find` answers."""
        return tuple(self._patterns)

    def add(self, pattern: Pattern) -> None:
        """Make ``pattern`` known under its name.

        Raises:
            ConvergenceUsageError: it is no pattern, or the name is taken.
        """
        self._check(pattern)
        if pattern.name in self._patterns:
            raise ConvergenceUsageError(
                f"a pattern named {pattern.name!r} exists already; choose another name."
            )
        self._patterns[pattern.name] = pattern

    def find(self, pattern: object) -> Pattern:
        """Return the pattern of that name; a pattern object is returned as it is.

        Raises:
            ConvergenceUsageError: there is none of that name.
        """
        if isinstance(pattern, str):
            found = self._patterns.get(pattern)
            if found is not None:
                return found
            raise unknown_name("pattern", pattern, self._patterns)
        return self._check(pattern)

    @staticmethod
    def _check(pattern: object) -> Pattern:
        if isinstance(pattern, type) or not _is_pattern(pattern):
            raise ConvergenceUsageError(
                f"pattern must be a name or a pattern object such as Consensus(quorum=2/3), not {pattern!r}."
            )
        name: object = pattern.name
        if not isinstance(name, str) or not name:
            raise ConvergenceUsageError(f"the pattern {pattern!r} has no name, but {name!r}.")
        return pattern


def _is_pattern(value: object) -> TypeGuard[Pattern]:
    # Most inherit from it. To look whether something merely has its methods takes long, and each session asks.
    return Pattern in type(value).__mro__ or isinstance(value, Pattern)


def find_pattern(pattern: object) -> Pattern:
    """Return a built-in pattern by name; a pattern object is returned as it is.

    Raises:
        ConvergenceUsageError: there is none of that name.
    """
    return _BUILT_IN_ONLY.find(pattern)


_BUILT_IN_ONLY: Final = PatternRegistry()

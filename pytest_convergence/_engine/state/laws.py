"""The laws of a merge: what makes replicas agree that merge in different orders, and more than once.

A merge that is commutative, associative and idempotent is the join of a semilattice (M. Shapiro et al., Conflict-free
Replicated Data Types, 2011, section 2.3): however states are combined, the result is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from itertools import permutations, product
from typing import Any, Final, final

from pytest_convergence.errors import ConvergenceError, ConvergenceUsageError

__all__ = ["MAX_STATES", "MergeLawViolation", "assert_merge_laws"]

MAX_STATES: Final = 12
"""Of more different states only so many are tried: the number of combinations grows with its cube."""


@final
class MergeLawViolation(ConvergenceError, AssertionError):
    """A merge breaks a law.

    Attributes:
        law: ``commutative``, ``associative`` or ``idempotent``; ``pure`` if the merge changed its arguments.
        inputs: the states that show it.
        results: the two results that should have been equal.
    """

    def __init__(self, message: str, *, law: str, inputs: tuple[Any, ...], results: tuple[Any, Any]) -> None:
        super().__init__(message)
        self.law = law
        self.inputs = inputs
        self.results = results


def assert_merge_laws(merge: Callable[[Any, Any], Any], states: Iterable[Any] | Mapping[Any, Any]) -> None:
    """Check that ``merge(state, state)`` is commutative, associative and idempotent on ``states``.

    ``states`` is what :func:`pytest_convergence.strategies.conflicting_states` draws, a mapping whose values are the
    states, or any iterable of states. Each call of ``merge`` gets copies. The smallest law that is broken is reported
    first: idempotence of one state, then commutativity of two, then associativity of three.

    Raises:
        MergeLawViolation: a law is broken; the message says which, on what, and both results.
        ConvergenceUsageError: ``merge`` is not callable, or there are no states.
    """
    if not callable(merge):
        raise ConvergenceUsageError(f"merge must be a function of two states, not {merge!r}.")
    tried = _different(states.values() if isinstance(states, Mapping) else states)
    if not tried:
        raise ConvergenceUsageError("assert_merge_laws() needs at least one state to merge.")
    call = _Caller(merge)
    for x in tried:
        call.expect("idempotent", (x,), ("merge(x, x)", call(x, x)), ("x", x))
    for x, y in permutations(tried, 2):
        call.expect("commutative", (x, y), ("merge(x, y)", call(x, y)), ("merge(y, x)", call(y, x)))
    for x, y, z in product(tried, repeat=3):
        left = ("merge(merge(x, y), z)", call(call(x, y), z))
        right = ("merge(x, merge(y, z))", call(x, call(y, z)))
        call.expect("associative", (x, y, z), left, right)
    for x, y in permutations(tried, 2):
        merged = call(x, y)
        call.expect("idempotent", (x, y), ("merge(merge(x, y), y)", call(merged, y)), ("merge(x, y)", merged))


def _different(states: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for state in states:
        if len(found) < MAX_STATES and state not in found:
            found.append(copy.deepcopy(state))
    return found


@final
class _Caller:
    """Calls the merge with copies, notices if it changes them, and compares results."""

    __slots__ = ("_merge", "_name")

    def __init__(self, merge: Callable[[Any, Any], Any]) -> None:
        self._merge = merge
        self._name = getattr(merge, "__name__", repr(merge))

    def __call__(self, one: Any, other: Any) -> Any:
        given = (copy.deepcopy(one), copy.deepcopy(other))
        result = copy.deepcopy(self._merge(*given))
        for argument, before, after in zip(("first", "second"), (one, other), given, strict=True):
            if after != before:
                raise MergeLawViolation(
                    f"{self._name} is not pure: it changed its {argument} argument\n"
                    f"  before: {before!r}\n  after:  {after!r}\nCopy what you change: every agent keeps its own state.",
                    law="pure",
                    inputs=(one, other),
                    results=(before, after),
                )
        return result

    def expect(
        self, law: str, inputs: tuple[Any, ...], left: tuple[str, Any], right: tuple[str, Any]
    ) -> None:
        if left[1] == right[1]:
            return
        given = "".join(f"  {name} = {state!r}\n" for name, state in zip("xyz", inputs, strict=False))
        raise MergeLawViolation(
            f"{self._name} is not {law}\n{given}  {left[0]} = {left[1]!r}\n  {right[0]} = {right[1]!r}",
            law=law,
            inputs=inputs,
            results=(left[1], right[1]),
        )

"""Async fixtures of async tests run on the test's own simulated loop.

1. pytest sets fixtures up before a test, but the simulated loop lives only while its body runs. So what is set up is a
   :class:`Deferred`: the fixture function, and the arguments that pytest found for it.
2. A fixture that asks for a deferred one is deferred too, even if it is a plain function.
3. When the body is about to run, on the loop, the deferred fixtures are set up for real in pytest's order, the body gets
   their values, and afterwards they are torn down in reverse, still on the loop (:func:`resolved`).
4. What cannot work so fails naming the fixture: an async fixture of a wider scope would have to outlive the loop, and a
   plain test has no loop at all.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, final

import pytest

from pytest_convergence._pytest.marker import Plan
from pytest_convergence.errors import ConvergenceUsageError

__all__ = ["DEFERRED", "Deferred", "deferring", "refuse_unusable", "resolved"]


@final
class TooEarlyError(ConvergenceUsageError, AttributeError):
    """A deferred fixture was used before it was set up. An ``AttributeError``, since tools ask ``hasattr`` of anything."""


@final
class Deferred:
    """A fixture that will be set up on the simulated loop.

    Attributes:
        name: the fixture's name.
        arguments: what its function is called with; deferred ones among them are replaced by their values.
    """

    __slots__ = ("_call", "_definition", "arguments", "name", "value")

    def __init__(self, definition: Any, call: Callable[..., Any], arguments: dict[str, Any]) -> None:
        self._definition = definition
        self._call = call
        self.name: str = definition.argname
        self.arguments = arguments
        self.value: Any = None

    def __getattr__(self, attribute: str) -> Any:
        raise TooEarlyError(
            f"the fixture {self.name!r} is async (or needs one that is): it is set up on the simulated loop, when the "
            f"test's body begins, so its {attribute!r} cannot be used before. Ask for it as an argument."
        )

    def __repr__(self) -> str:
        return f"<async fixture {self.name!r}, to be set up on the simulated loop>"

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Set the fixture up; ``stack`` will tear it down."""
        arguments = {name: value_of(argument) for name, argument in self.arguments.items()}
        try:
            self.value = await self._enter(arguments, stack)
        except Exception as error:
            error.add_note(f"(while the fixture {self.name!r} was set up on the simulated loop)")
            raise
        _, key, _ = self._definition.cached_result
        self._definition.cached_result = (self.value, key, None)

    async def _enter(self, arguments: dict[str, Any], stack: AsyncExitStack) -> Any:
        call = self._call
        if inspect.isasyncgenfunction(call):
            agen = call(**arguments)
            value = await anext(agen)
            stack.push_async_callback(self._leave, agen)
            return value
        if inspect.isgeneratorfunction(call):
            generator = call(**arguments)
            value = next(generator)
            stack.push_async_callback(self._leave, _as_async(generator))
            return value
        result = call(**arguments)
        return await result if inspect.isawaitable(result) else result

    async def _leave(self, agen: Any) -> None:
        async for _ in agen:
            raise ConvergenceUsageError(f"the fixture {self.name!r} yields more than once.")

    def forget(self) -> None:
        """The loop is gone: the fixture is to be set up anew."""
        self.value = None
        _, key, _ = self._definition.cached_result
        self._definition.cached_result = (self, key, None)


async def _as_async(generator: Generator[Any, None, None]) -> AsyncIterator[Any]:
    for value in generator:
        yield value


DEFERRED: Final = pytest.StashKey[dict[int, Deferred]]()
"""The deferred fixtures of a test, in the order in which they were set up, by the identity of their definition."""


def value_of(argument: Any) -> Any:
    """Return the value of a deferred fixture, and anything else as it is."""
    return argument.value if isinstance(argument, Deferred) else argument


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _bound(function: Any, instance: Any) -> Any:
    """Bind a fixture that is a method to the test's own instance, as pytest does."""
    owner = getattr(function, "__self__", None)
    if instance is None or owner is None or not isinstance(instance, type(owner)):
        return function
    return function.__func__.__get__(instance)


def deferring(
    item: pytest.Item, definition: Any, request: pytest.FixtureRequest
) -> Callable[..., Deferred] | None:
    """Return what stands in for the function of a fixture that has to be deferred, or ``None``."""
    deferred = item.stash.setdefault(DEFERRED, {})
    function = definition.func
    waits = any(
        name != "request" and one.name == name for one in deferred.values() for name in definition.argnames
    )
    if not _is_async(function) and not waits:
        return None
    call = _bound(function, request.instance)

    def stand_in(**arguments: Any) -> Deferred:
        made = Deferred(definition, call, arguments)
        deferred.pop(id(definition), None)
        deferred[id(definition)] = made
        return made

    return stand_in


@asynccontextmanager
async def resolved(item: pytest.Item) -> AsyncIterator[None]:
    """On the simulated loop: set up the deferred fixtures of ``item``, and tear them down afterwards."""
    deferred = list(item.stash.get(DEFERRED, {}).values())
    try:
        async with AsyncExitStack() as stack:
            for one in deferred:
                await one.set_up(stack)
            yield
    finally:
        for one in deferred:
            one.forget()


def refuse_unusable(item: pytest.Item, plan: Plan) -> None:
    """Fail a marked test whose async fixtures cannot run on the simulated loop.

    Raises:
        ConvergenceUsageError: names the fixture and what to do.
    """
    info = getattr(item, "_fixtureinfo", None)
    if info is None or not plan.is_marked:
        return
    for name in info.names_closure:
        definitions = info.name2fixturedefs.get(name)
        if not definitions or not _is_async(definitions[-1].func):
            continue
        scope = definitions[-1].scope
        if scope != "function":
            raise ConvergenceUsageError(
                f"the async fixture {name!r} has scope {scope!r}, but the simulated loop lives only while the body of one "
                "test runs; give the fixture scope='function', or make it a plain function."
            )
        if not plan.is_async:
            raise ConvergenceUsageError(
                f"the fixture {name!r} is async, but the test is not, so there is no simulated loop to run it on; make the "
                "test `async def` and await convergence_session.execute(…), or make the fixture a plain function."
            )

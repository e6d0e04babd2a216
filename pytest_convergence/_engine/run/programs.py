"""The program of a host that is a process: where it comes from, and the near ends of its standard streams."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, final

from pytest_convergence._engine.sim.processes import Process, fresh
from pytest_convergence._engine.sim.stdio import Output
from pytest_convergence.errors import ConvergenceUsageError

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Life

__all__ = ["HostStdin", "Program", "named"]


@final
class HostStdin:
    """What is written here, the program of a process reads from ``sys.stdin``, also by ``input()``.

    What is written before the run begins is there when the program does; what a life has not read is gone with it.
    """

    __slots__ = ("_is_complete", "_process", "_waiting")

    def __init__(self) -> None:
        self._process: Process | None = None
        self._waiting = b""
        self._is_complete = False

    def write(self, text: str | bytes) -> None:
        """Give the program something to read; a line needs its end.

        Raises:
            ConvergenceUsageError: it was closed.
        """
        if not isinstance(text, str | bytes):
            raise ConvergenceUsageError(f"host.stdin.write takes a text or bytes, not {text!r}.")
        if self._is_complete:
            raise ConvergenceUsageError("host.stdin was closed: the program reads the end of the file.")
        data = text.encode() if isinstance(text, str) else text
        if self._process is None:
            self._waiting += data
        else:
            self._process.stdin.feed(data)

    def close(self) -> None:
        """Nothing more will come: the program reads the end of the file, and ``input()`` raises :exc:`EOFError`."""
        self._is_complete = True
        if self._process is not None:
            self._process.stdin.complete()

    def begin(self, life: Life, roots: tuple[str, ...], output: Output) -> Process:
        """Make the process of a life, with what waits to be read."""
        waiting, self._waiting = self._waiting, b""
        self._process = Process(life, roots, output, waiting, is_complete=self._is_complete)
        return self._process


@final
class Program:
    """What a process runs: a function, and the modules that it has to itself."""

    __slots__ = ("_main", "roots")

    def __init__(self, main: Callable[[], Any], roots: tuple[str, ...]) -> None:
        self._main = main
        self.roots = roots

    def __call__(self) -> Any:
        """Run it, on the thread of the process; a function of one of its own modules is that of its own copy."""
        __tracebackhide__ = True
        main = functools.partial(self._main)
        function = main.func
        if isinstance(function, _Named):
            function = function.load()
        elif self.roots and _is_below(getattr(function, "__module__", None), self.roots):
            function = fresh(function)
        if inspect.iscoroutinefunction(function):
            return asyncio.run(function(*main.args, **main.keywords))
        return function(*main.args, **main.keywords)


@final
class _Named:
    """``"package.module:function"``, as entry points of packages are written."""

    def __init__(self, text: str) -> None:
        self.module, _, self.name = text.partition(":")

    def load(self) -> Callable[..., Any]:
        """Import it."""
        found: Any = importlib.import_module(self.module)
        for part in self.name.split("."):
            found = getattr(found, part)
        return found  # type: ignore[no-any-return]

    def __call__(self) -> None:
        """Be callable: it stands for what it loads."""


def named(
    host: str, main: Any, process: bool, modules: Iterable[str] | None
) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Return the function that ``main`` is or names, and the modules that it is to have to itself.

    Raises:
        ConvergenceUsageError: it is no program, or names or modules without a process, or none of them.
    """
    if not isinstance(process, bool):
        raise ConvergenceUsageError(f"host {host!r}: process must be True or False, not {process!r}.")
    roots: tuple[str, ...] = (
        () if modules is None else (modules,) if isinstance(modules, str) else tuple(modules)
    )
    function: Any = main
    if isinstance(main, str):
        function = _Named(main)
        if not function.module or not function.name:
            raise ConvergenceUsageError(
                f"host {host!r}: a program that is named is written 'package.module:function', not {main!r}."
            )
        roots = roots if modules is not None else (function.module.partition(".")[0],)
    if (roots or isinstance(main, str)) and not process:
        raise ConvergenceUsageError(
            f"host {host!r}: a program by name, or modules=, needs a process of its own: session.host(…, process=True)."
        )
    is_coroutine = callable(function) and inspect.iscoroutinefunction(functools.partial(function).func)
    if not callable(function) or not (is_coroutine or process):
        raise ConvergenceUsageError(
            f"host {host!r} needs a coroutine function, `async def main(…): …`, not {main!r}. A plain function that "
            "blocks needs a process: session.host(…, process=True)."
        )
    for root in roots:
        _check_module(host, root)
    called = functools.partial(main).func if callable(main) else None
    if roots and "<locals>" in getattr(called, "__qualname__", "") and _is_below(called.__module__, roots):
        raise ConvergenceUsageError(
            f"host {host!r}: {called!r} is made inside a function, so no fresh copy of its module has it. Give a function "
            "of the module itself, or leave the module out of modules=."
        )
    return function, roots


def _check_module(host: str, root: object) -> None:
    top = root.partition(".")[0] if isinstance(root, str) else ""
    if not top or not all(part.isidentifier() for part in str(root).split(".")):
        raise ConvergenceUsageError(f"host {host!r}: modules= takes names of modules, not {root!r}.")
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        raise ConvergenceUsageError(
            f"host {host!r}: {root!r} cannot be had afresh: the standard library, and pytest_convergence, are shared by all "
            "hosts. Name the modules of the program whose state is its own."
        )


def _is_below(module: str | None, roots: tuple[str, ...]) -> bool:
    return module is not None and any(module == root or module.startswith(f"{root}.") for root in roots)

"""What the program of a process has to itself, although all of them share one interpreter.

1. *Modules*: those that the host names are imported afresh in each life. Their entries in ``sys.modules`` are put in place
   when the program gets the baton, and taken out when it gives it back; so module-level state is the process's own, and a
   crash loses it. All other modules, the standard library among them, are shared.
2. *Standard streams*: ``sys.stdin``, ``sys.stdout`` and ``sys.stderr`` (:mod:`.stdio`).
3. *The root of logging*: its handlers and its level, which ``logging.basicConfig`` sets.
4. *The environment*: ``os.environ``, which begins as that of the test.
5. *The policy of event loops* that the program sets; without one it has loops of the world.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, final

from pytest_convergence._engine.sim.stdio import STDERR, STDOUT, Output, Stdin, reader_of, writer_of

if TYPE_CHECKING:
    from pytest_convergence._engine.sim.node import Life
    from pytest_convergence._engine.sim.strands import Strand

__all__ = ["Process", "fresh"]

_MISSING: Final = object()
_EVENTS: Final[Any] = asyncio.events
_ENVIRONMENT: Final[Any] = os.environ
_ENVIRONMENT_OF_BYTES: Final[Any] = getattr(os, "environb", None)


def fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the same function of the module that is imported now, which may be another copy of it."""
    found: Any = reduce(
        getattr, function.__qualname__.split("."), importlib.import_module(function.__module__)
    )
    return found  # type: ignore[no-any-return]


@final
class _Modules:
    """The modules that one life has to itself."""

    __slots__ = ("_below", "_own", "_own_attributes", "_parents", "_prefixes", "_roots", "_seen", "_shared")

    def __init__(self, roots: tuple[str, ...]) -> None:
        self._roots = frozenset(roots)
        self._prefixes = tuple(f"{root}." for root in roots)
        self._parents = [tuple(root.rpartition(".")[::2]) for root in roots if "." in root]
        self._own: dict[str, ModuleType] = {}
        self._own_attributes: dict[tuple[str, ...], Any] = {}
        self._shared: dict[str, ModuleType] = {}
        self._seen: tuple[int, str] = (-1, "")
        self._below = ""

    def _is_own(self, name: str) -> bool:
        return name in self._roots or name.startswith(self._prefixes)

    def enter(self) -> None:
        modules = sys.modules
        if self._seen != (len(modules), next(reversed(modules))):  # what is imported is put at the end
            self._shared = {name: modules[name] for name in modules if self._is_own(name)}
        for name in self._shared:
            del modules[name]
        self._below = next(reversed(modules))
        modules.update(self._own)
        self._swap_attributes()

    def leave(self) -> None:
        modules, own = sys.modules, []
        for name in reversed(modules):
            if name == self._below:
                break
            if self._is_own(name):
                own.append(name)
        self._own = {name: modules.pop(name) for name in reversed(own)}
        modules.update(self._shared)
        self._swap_attributes()
        self._seen = len(modules), next(reversed(modules))

    def _swap_attributes(self) -> None:
        """A module is an attribute of its package too; where that is shared, it holds now one and now the other."""
        for place in self._parents:
            package, name = sys.modules.get(place[0]), place[1]
            if package is None:
                continue
            other = self._own_attributes.get(place, _MISSING)
            self._own_attributes[place] = vars(package).get(name, _MISSING)
            if other is not _MISSING:
                setattr(package, name, other)
            elif name in vars(package):
                delattr(package, name)


@final
class Process:
    """One life of a process.

    Attributes:
        output: what it writes to its standard streams. stdin: what it reads.
        main: its first thread, in which it handles signals.
    """

    __slots__ = (
        "_environment",
        "_handlers",
        "_level",
        "_modules",
        "_outer",
        "_outer_environment",
        "_outer_policy",
        "_policy",
        "_streams",
        "main",
        "output",
        "stdin",
    )

    def __init__(
        self, life: Life, roots: tuple[str, ...], output: Output, typed: bytes, *, is_complete: bool
    ) -> None:
        self.output = output
        self.main: Strand | None = None
        self.stdin = Stdin(life, typed, is_complete=is_complete)
        self._streams: tuple[Any, Any, Any] = (reader_of(self.stdin), writer_of(STDOUT), writer_of(STDERR))
        self._modules = _Modules(roots) if roots else None
        self._handlers = list(logging.root.handlers)
        self._level = logging.root.level
        self._outer: Any = None
        self._environment = dict(_ENVIRONMENT._data)
        self._outer_environment = _ENVIRONMENT._data
        self._policy: Any = None
        self._outer_policy: Any = None

    def enter(self) -> None:
        """Its program goes on."""
        root = logging.root
        self._outer = (sys.stdin, sys.stdout, sys.stderr), root.handlers, root.level
        sys.stdin, sys.stdout, sys.stderr = self._streams
        root.handlers = self._handlers
        _set_level(self._level)
        self._outer_environment = _exchange_environment(self._environment)
        self._outer_policy = _EVENTS._event_loop_policy
        if self._policy is not None:
            _EVENTS._event_loop_policy = self._policy
        if self._modules is not None:
            self._modules.enter()

    def leave(self) -> None:
        """Others go on."""
        root = logging.root
        if self._modules is not None:
            self._modules.leave()
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._handlers, self._level = root.handlers, root.level
        self._environment = _exchange_environment(self._outer_environment)
        policy = _EVENTS._event_loop_policy
        if policy is not self._outer_policy:
            self._policy, _EVENTS._event_loop_policy = policy, self._outer_policy
        (sys.stdin, sys.stdout, sys.stderr), root.handlers, level = self._outer
        _set_level(level)

    @property
    def has_own_policy(self) -> bool:
        """Whether its program makes its loops by a policy that it has brought along."""
        policy = _EVENTS._event_loop_policy
        return policy is not self._outer_policy and not type(policy).__module__.startswith("asyncio.")

    @contextmanager
    def outside(self) -> Iterator[None]:
        """The terminal is there inside the ``with``, instead of the pipes of the process: for a debugger's prompt.

        Who has put other streams there meanwhile knows where the terminal is: pytest does, when it ends its capturing.
        """
        if sys.stdin is self._streams[0]:
            (sys.stdin, sys.stdout, sys.stderr), _, _ = self._outer
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = self._streams


def _exchange_environment(data: dict[Any, Any]) -> dict[Any, Any]:
    """Let ``os.environ`` show something else, whoever holds it; return what it has shown."""
    before: dict[Any, Any] = _ENVIRONMENT._data
    _ENVIRONMENT._data = data
    if os.supports_bytes_environ:
        _ENVIRONMENT_OF_BYTES._data = data
    return before


def _set_level(level: int) -> None:
    if logging.root.level != level:  # it costs a look at every logger
        logging.root.setLevel(level)

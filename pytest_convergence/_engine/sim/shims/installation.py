"""Installing the replacements, keeping them in place, and entering and leaving a run."""

from __future__ import annotations

import datetime
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from threading import Lock
from types import BuiltinFunctionType, MethodType
from typing import Any, Final, NamedTuple, Self, final

from pytest_convergence._engine.sim.hashing import cover_hashes
from pytest_convergence._engine.sim.locks import cover_locks
from pytest_convergence._engine.sim.program_threads import cover_threads
from pytest_convergence._engine.sim.shims import (
    clocks,
    databases,
    entropy,
    environment,
    files,
    listing,
    pipes,
    refusals,
    signals,
    sockets,
    stdio,
    threads,
    tls,
)
from pytest_convergence._engine.sim.shims.asking import RUNS
from pytest_convergence._engine.sim.shims.collection import Collection
from pytest_convergence._engine.sim.shims.noticing import ImportNotice
from pytest_convergence._engine.sim.shims.patching import (
    Home,
    Patch,
    Row,
    is_genuine,
    locate,
    namespace_of,
    sweep,
)
from pytest_convergence.errors import ConvergenceWarning

__all__ = ["InsideRun", "Installation", "all_rows", "install"]


def all_rows() -> Iterator[Row]:
    """Return every leak that is closed by a replacement."""
    yield from clocks.rows()
    yield from databases.rows()
    yield from entropy.rows()
    yield from environment.rows()
    yield from files.rows()
    yield from listing.rows()
    yield from pipes.rows()
    yield from refusals.rows()
    yield from signals.rows()
    yield from sockets.rows()
    yield from tls.rows()
    yield from stdio.rows()
    yield from threads.rows()


def _support_as_before(fresh: list[Patch]) -> None:
    """What ``os`` says of its functions (``os.utime in os.supports_fd``) is true of their replacements."""
    for functions in (
        os.supports_dir_fd,
        os.supports_effective_ids,
        os.supports_fd,
        os.supports_follow_symlinks,
    ):
        functions.update(
            [patch.substitute for patch in fresh if _is_hashable(patch) and patch.captured in functions]
        )


class _Print(NamedTuple):
    """What a namespace should hold: compared in one go, because it is compared at the start of every run."""

    namespace: Any
    get: Callable[[Any], Any]
    expected: Any


@final
class Installation:
    """The replacements of this process.

    Attributes:
        patches: those in place, by target.
        places: in how many further places the originals had been captured, and were replaced.
    """

    __slots__ = (
        "_awaited",
        "_homes",
        "_lock",
        "_modules",
        "_notice",
        "_pending",
        "_prints",
        "_rows",
        "_turn",
        "_unloaded",
        "installed",
        "patches",
        "places",
    )

    def __init__(self) -> None:
        self._lock = Lock()
        self._homes: dict[str, Home] = {}
        self._pending: list[Row] = []
        self._modules = _take_print(sys.modules, {})
        self._prints: list[_Print] = []
        self._rows: dict[str, Row] = {}
        self._unloaded: list[Row] = []
        self._awaited: frozenset[str] = frozenset()  # the modules of those
        self._notice = ImportNotice(self._loaded)
        self._turn = 0
        self.patches: dict[str, Patch] = {}
        self.places = 0
        self.installed = False

    def install(self) -> None:
        """Install; when that was done before, only see to it that everything is still in place.

        What a test had replaced when the first run began is looked after each time, and so is whether a module was
        forgotten and imported again (pytester does that after each pytest run inside this process). That a replacement
        is undone later is rare (it takes an original that was kept since before the first run, or
        :func:`importlib.reload`), and is noticed within some runs.
        """
        if not self.installed:
            with self._lock:
                if not self.installed:
                    _let_time_machine_go_first()
                    self._install(list(all_rows()))
                    sockets.cover_sockets()
                    tls.cover_tls()
                    cover_locks()
                    cover_hashes()
                    self.installed = True
        cover_threads()
        changed = not (_matches(self._modules) and self._is_intact())
        if changed or self._pending or self._awaited & sys.modules.keys():
            self._repair(changed)
        self._notice.stand_first()

    def _loaded(self) -> None:
        """A module has been imported that was waited for, perhaps in the middle of a run."""
        if self.installed:
            self._repair(changed=False)

    def _install(self, rows: list[Row]) -> None:
        self._pending = []
        self._rows |= {row.target: row for row in rows}
        fresh: list[Patch] = []
        self._unloaded = [row for row in rows if not _is_wanted(row)]
        self._awaited = self._notice.names = frozenset(_module_of(row) for row in self._unloaded)
        for row in filter(_is_wanted, rows):
            found = locate(row.target)
            if found is None:
                continue
            owner, name = found
            if not is_genuine(owner, name):
                self._pending.append(row)  # a test has replaced it; what a test puts in place counts
                continue
            home = self._homes.setdefault(owner.module, Home(owner.module))
            try:
                patch = Patch(owner, name, row.make, home)
            except RuntimeError as reason:
                warnings.warn(
                    f"{row.target.replace(':', '.')} shows the real world inside runs: it cannot be replaced on "
                    f"Python {sys.version.partition(' ')[0]} ({reason}). Read the time from agent.now() instead.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
                continue
            self.patches[row.target] = patch
            fresh.append(patch)
        if fresh:
            entropy.cover_hidden_generator(
                {patch.name: patch.shim for patch in fresh if patch.owner.module == "random"}
            )
            _support_as_before(fresh)
            self.places += sweep({patch.captured: patch.substitute for patch in fresh if _is_hashable(patch)})
        self._remember()

    def _remember(self) -> None:
        """Take prints: of each class and module that holds replacements, and of these modules by their names."""
        modules = {patch.owner.module: sys.modules.get(patch.owner.module) for patch in self.patches.values()}
        expected: dict[int, dict[str, Any]] = {}
        namespaces: dict[int, Mapping[str, Any]] = {}
        for patch in self.patches.values():
            holder, module = patch.owner.holder, modules[patch.owner.module]
            namespaces[id(holder)] = namespace_of(patch.owner)
            expected.setdefault(id(holder), {})[patch.name] = patch.shim
            name = holder.__name__
            if patch.owner.is_class and module is not None and vars(module).get(name) is holder:
                # A module that is executed again has new classes.
                namespaces[id(module)] = vars(module)
                expected.setdefault(id(module), {})[name] = holder
        self._prints = [_take_print(namespaces[key], values) for key, values in expected.items()]
        self._modules = _take_print(sys.modules, modules)

    def _is_intact(self) -> bool:
        """Compare one namespace: another one each time, because this is done at the start of every run."""
        prints = self._prints
        if not prints:
            return True
        turn = self._turn = (self._turn + 1) % len(prints)
        return _matches(prints[turn])

    def _repair(self, changed: bool) -> None:
        """Put back what the end of a monkeypatch has undone, and install what it had hidden.

        With ``changed``, also where a module that was imported or executed again has new originals.
        """
        with self._lock:
            waiting = [*self._pending, *self._unloaded]
            for target, patch in list(self.patches.items()):
                row = self._rows[target]
                if namespace_of(patch.owner).get(patch.name) is patch.original:
                    patch.put()
                elif changed and (not _is_wanted(row) or _is_free(row)):
                    waiting.append(row)
                    del self.patches[target]
            if changed or any(map(_is_free, waiting)):
                self._install(waiting)


def _take_print(namespace: Mapping[str, Any], expected: dict[str, Any]) -> _Print:
    if not expected:
        return _Print(namespace, lambda _: (), ())
    values = tuple(expected.values())
    return _Print(namespace, itemgetter(*expected), values if len(values) > 1 else values[0])


def _matches(taken: _Print) -> bool:
    namespace, get, expected = taken
    try:
        return bool(get(namespace) == expected)
    except KeyError:
        return False


def _module_of(row: Row) -> str:
    return row.target.partition(":")[0]


def _is_wanted(row: Row) -> bool:
    return not row.when_loaded or _module_of(row) in sys.modules


def _is_free(row: Row) -> bool:
    """Whether a row that could not be installed can be installed now."""
    found = locate(row.target) if _is_wanted(row) else None
    return found is not None and is_genuine(*found)


def _is_hashable(patch: Patch) -> bool:
    return not isinstance(patch.captured, property)


def _let_time_machine_go_first() -> None:
    """Let time-machine, if it is imported, look up the C functions of the clocks before they are replaced.

    It does so at its first use, and takes for a C function whatever it finds then: a replacement would end the process.
    Its pytest plugin imports it at the start. Where another tool has replaced a clock by now, it is too late already.
    """
    module = sys.modules.get("_time_machine")
    clocks_of_c = (time.time, time.time_ns, time.gmtime, time.localtime, time.strftime, datetime.datetime.now)
    if all(isinstance(clock, BuiltinFunctionType) for clock in clocks_of_c):
        for name in ("patch_if_needed", "patch"):
            if hasattr(module, name):
                getattr(module, name)()
                return


_INSTALLATION: Final = Installation()

install: Final[Callable[[], None]] = MethodType(Installation.install, _INSTALLATION)
"""Install every replacement, if that has not been done, and see to it that they are in place."""


@final
class InsideRun:
    """What a run enters before its loop starts, and leaves when its loop has stopped.

    Attributes:
        collection: call ``collection.point(events_so_far)`` every so often.
    """

    __slots__ = ("collection",)

    def __init__(self) -> None:
        self.collection = Collection()

    def __enter__(self) -> Self:
        install()
        self.collection.enter()
        RUNS.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        RUNS.pop()
        self.collection.leave()

    @contextmanager
    def again(self) -> Iterator[None]:
        """Enter for a bit of a run whose garbage is looked after from its beginning to its end."""
        install()
        RUNS.append(self)
        try:
            yield
        finally:
            RUNS.pop()

"""Notices when a module is imported whose functions are to be replaced as soon as there are any.

A program may import such a module in the middle of a run. Nobody else should have to import it: it may be large, or not be
there.
"""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, final

__all__ = ["ImportNotice"]


@final
class ImportNotice(importlib.abc.MetaPathFinder):
    """Stands before the finders of Python, lets them find everything, and calls ``loaded()`` after one of its modules.

    Args:
        loaded: called when one of them has been executed.

    Attributes:
        names: of the modules.
    """

    def __init__(self, loaded: Callable[[], None]) -> None:
        self._loaded = loaded
        self.names: frozenset[str] = frozenset()

    def stand_first(self) -> None:
        """Stand before the others, also before those that have come since."""
        if self.names and (not sys.meta_path or sys.meta_path[0] is not self):
            sys.meta_path[:] = [self, *(finder for finder in sys.meta_path if finder is not self)]

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules as the others do."""
        if name not in self.names:
            return None
        for finder in sys.meta_path:
            find: Any = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self._loaded)
                return spec
        return None


@final
class _Loader(importlib.abc.Loader):
    """Loads a module by another loader, which it leaves in its place."""

    def __init__(self, loader: Any, loaded: Callable[[], None]) -> None:
        self._loader = loader
        self._loaded = loaded

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as the loader does."""
        create = getattr(self._loader, "create_module", None)
        made: ModuleType | None = None if create is None else create(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Execute it, and say so."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._loaded()

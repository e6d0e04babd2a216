"""Replacing a function everywhere that it may have been captured, once, by something that only delegates.

1. A :class:`Row` names one function of the standard library, and how its replacement is made from the original.
2. A replacement of a module's function is a *bound method*: unlike a plain function, it does not turn into a method when
   a class holds it (``class T: clock = time.monotonic``), it is quick to call, and it pickles by name.
3. A replacement of a method is a plain function, set on its class. A C type is immutable for Python; its dictionary is
   changed beneath it, verified, and restored if anything looks different from what was meant.
4. Replacements stay. Outside a run they call the original. :func:`sweep` puts them wherever modules had already
   captured the originals: attributes of modules and classes, defaults and closures of functions.
5. Somebody else's replacement (a monkeypatch of the test) is never touched: what a test puts in place counts.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sized
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    NoneType,
    WrapperDescriptorType,
)
from typing import Any, Final, NamedTuple, final

__all__ = ["Home", "Patch", "Row", "delegate", "is_genuine", "locate", "namespace_of", "sweep"]

_INERT: Final = frozenset(
    {
        NoneType, bool, int, float, str, bytes, tuple, list, dict, set, frozenset, property, ModuleType,
        GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType,
    }
)  # fmt: skip
"""Kinds of values that cannot be, and are not searched for, a captured function."""

Make = Callable[[Any], Callable[..., Any]]

_OWN_PACKAGE: Final = __name__.partition(".")[0]
_HEAP_TYPE: Final = 1 << 9
_IMMUTABLE_TYPE: Final = 1 << 8
_MARK: Final = "__pytest_convergence__"
_NAMESPACE_OF_TYPE: Final = type.__dict__["__dict__"].__get__


class Row(NamedTuple):
    """One leak and how it is closed.

    Attributes:
        target: the function, as ``module:name`` or ``module:Class.name``.
        closed: what it answers inside a run, for the documentation.
        make: makes the replacement of a given original. The replacement of a module's function takes one argument more,
            the first, that it ignores.
        source: the kind of leak.
        when_loaded: replace it only once the program has imported its module.
    """

    target: str
    closed: str
    make: Make
    source: str
    when_loaded: bool = False


@final
class Home:
    """What the replacements of one module's functions are bound to. It pickles as the module itself."""

    __slots__ = ("_module",)

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        return importlib.import_module, (self._module,)

    def __deepcopy__(self, memo: object) -> Home:
        return self

    def __repr__(self) -> str:
        return f"module {self._module!r}, simulated inside a run"


class Owner(NamedTuple):
    """A module or class that holds a function."""

    holder: Any
    module: str
    is_class: bool
    is_static: bool


@final
class Patch:
    """One replacement that is in place.

    Attributes:
        name: the attribute.
        original: what was there before; ``captured`` is what code that looked it up holds (a bound method, for a
            class method).
        shim: what is there now.
    """

    __slots__ = ("captured", "name", "original", "owner", "shim", "substitute")

    def __init__(self, owner: Owner, name: str, make: Make, home: Home) -> None:
        self.owner = owner
        self.name = name
        self.original = namespace_of(owner)[name]
        self.captured = getattr(owner.holder, name)
        function = make(self.original)
        _dress(function, self.captured, name, owner)
        if isinstance(self.original, ClassMethodDescriptorType):
            self.shim: Any = classmethod(function)
        elif isinstance(function, property) or owner.is_class:
            self.shim = function
        else:
            self.shim = MethodType(function, home)
        self.put()
        self.substitute = getattr(owner.holder, name)

    def put(self) -> None:
        """Put the replacement in place."""
        if self.owner.is_static:
            _set_on_static_type(self.owner.holder, self.name, self.shim)
        else:
            setattr(self.owner.holder, self.name, self.shim)


def namespace_of(owner: Owner) -> Mapping[str, Any]:
    """Return the live dictionary of a module or class."""
    namespace: Mapping[str, Any] = vars(owner.holder)
    return namespace


def locate(target: str) -> tuple[Owner, str] | None:
    """Find the holder and the name of ``module:name`` or ``module:Class.name``; ``None`` if this platform has none."""
    module_name, _, rest = target.partition(":")
    try:
        holder: Any = importlib.import_module(module_name)
    except ImportError:
        return None
    *path, name = rest.split(".")
    for part in path:
        holder = vars(holder).get(part)
        if holder is None:
            return None
    if name == "__init__" and name not in vars(holder) and isinstance(holder, type):
        setattr(holder, name, getattr(holder, name))  # inherited: from now on this class has one of its own
    if name not in vars(holder):
        return None
    is_class = isinstance(holder, type)
    is_static = is_class and (not holder.__flags__ & _HEAP_TYPE or bool(holder.__flags__ & _IMMUTABLE_TYPE))
    return Owner(holder, module_name, is_class, is_static), name


def is_genuine(owner: Owner, name: str) -> bool:
    """Whether the attribute is the standard library's own, not something that a test put there."""
    value = namespace_of(owner)[name]
    if isinstance(value, property):
        value = value.fget
    if hasattr(value, _MARK):
        return False
    if isinstance(value, MethodType | BuiltinFunctionType) and not isinstance(
        value.__self__, ModuleType | type | NoneType
    ):
        # The functions of module random are methods of its hidden instance; those of another instance are a test's.
        return value.__self__ is namespace_of(owner).get("_inst") and value.__name__ == name
    if isinstance(value, FunctionType):
        # What coverage.py puts there (`patch = ["_exit"]`) does what was there, and is called as that would be.
        return value.__module__ == owner.module or value.__module__.partition(".")[0] == "coverage"
    of_c = BuiltinFunctionType | ClassMethodDescriptorType | MethodDescriptorType | WrapperDescriptorType
    return isinstance(value, of_c) and value.__name__ == name


def delegate(answer: Callable[..., Any], runs: Sized, ask: Callable[[], Any]) -> Make:
    """Make replacements that let ``answer(world, original, *args, **options)`` answer inside a run.

    Args:
        answer: answers in place of the original.
        runs: the runs under way; without any the original is called at once.
        ask: returns the world that has to answer its caller's caller, or ``None``.
    """

    def make(original: Any) -> Callable[..., Any]:
        def shim(_home: Home, /, *args: Any, **options: Any) -> Any:
            world = ask() if runs else None
            if world is None:
                return original(*args, **options)
            return answer(world, original, *args, **options)

        return shim

    return make


def _dress(function: Any, captured: Any, name: str, owner: Owner) -> None:
    """Let a replacement look like the original: name, text and signature."""
    if isinstance(function, property):
        setattr(function.fget, _MARK, True)
        return
    setattr(function, _MARK, True)
    function.__name__ = name
    function.__qualname__ = f"{owner.holder.__name__}.{name}" if owner.is_class else name
    function.__module__ = owner.module
    function.__doc__ = getattr(captured, "__doc__", None)
    if owner.is_class and not isinstance(captured, BuiltinFunctionType):
        function.__wrapped__ = captured
        return
    try:
        signature = inspect.signature(captured)
    except (TypeError, ValueError):
        return
    first = inspect.Parameter("_home", inspect.Parameter.POSITIONAL_ONLY)
    function.__signature__ = signature.replace(parameters=[first, *signature.parameters.values()])


def _set_on_static_type(cls: type, name: str, value: Any) -> None:
    """Set an attribute of a C type, whose dictionary Python shows read-only.

    Raises:
        RuntimeError: this interpreter does not keep the dictionary where it is expected; nothing was changed.
    """
    found = gc.get_referents(_NAMESPACE_OF_TYPE(cls))
    if len(found) != 1 or type(found[0]) is not dict or found[0].get(name) is not vars(cls).get(name):
        raise RuntimeError(f"the dictionary of {cls!r} was not found")
    namespace: MutableMapping[str, Any] = found[0]
    before = namespace[name]
    namespace[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
    if vars(cls).get(name) is not value:
        namespace[name] = before
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(cls))
        raise RuntimeError(f"the dictionary of {cls!r} is not the one that attribute lookup uses")


# -- the sweep ---------------------------------------------------------------------------------------------------------


def sweep(substitutes: Mapping[Any, Any]) -> int:
    """Replace the keys of ``substitutes`` by their values wherever modules captured them. Return in how many places.

    Covered: attributes of modules; of classes that a module's attributes name, and of classes nested in them
    (static methods too); defaults and closures of the functions found on the way, and the private namespaces of
    generated functions (as attrs makes them).
    Not covered: attributes of instances, items of containers, ``functools.partial`` objects, extension modules.
    """
    state = _Sweep(substitutes)
    for module_name, module in list(sys.modules.items()):
        # Not isinstance: the libraries that cffi makes say that they are modules, and have no namespace.
        if not issubclass(type(module), ModuleType) or module_name.partition(".")[0] == _OWN_PACKAGE:
            continue
        # Past __getattribute__: looking at a lazily loaded module must not load it.
        namespace = object.__getattribute__(module, "__dict__")
        state.visit_namespace(namespace)
    return state.places


@final
class _Sweep:
    """One pass over everything that is reachable from modules by the paths that :func:`sweep` names.

    It looks at some hundred thousand values, so the common uninteresting ones are told apart first.
    """

    __slots__ = ("_seen", "_substitutes", "places")

    def __init__(self, substitutes: Mapping[Any, Any]) -> None:
        self._substitutes = substitutes
        self._seen: set[int] = set()
        self.places = 0

    def visit_namespace(self, namespace: dict[str, Any]) -> None:
        if id(namespace) in self._seen:
            return
        self._seen.add(id(namespace))
        for name, value in list(namespace.items()):
            if type(value) in _INERT:
                continue
            substitute = self._visit(value)
            if substitute is not None and namespace.get(name) is value:
                namespace[name] = substitute
                self.places += 1

    def _visit(self, value: Any) -> Any:
        """Look into ``value``; return what has to replace it, or ``None``."""
        kind = type(value)
        if kind is FunctionType:
            if id(value) in self._seen:
                return None
            substitute = self._substitutes.get(value)
            if substitute is None:
                self._seen.add(id(value))
                self._visit_function(value)
            return substitute
        if kind is BuiltinFunctionType or kind is MethodType:
            return self._substitutes.get(value)
        if kind is staticmethod:
            substitute = self._visit(value.__func__)
            return None if substitute is None else staticmethod(substitute)
        if kind is classmethod:
            self._visit(value.__func__)
        elif kind is type or isinstance(value, type):
            self._visit_class(value)
        return None

    def _visit_class(self, cls: type) -> None:
        if id(cls) in self._seen or not cls.__flags__ & _HEAP_TYPE:
            return
        self._seen.add(id(cls))
        for name, value in list(_NAMESPACE_OF_TYPE(cls).items()):
            if type(value) in _INERT:
                continue
            substitute = self._visit(value)
            if substitute is None:
                continue
            try:
                type.__setattr__(cls, name, substitute)
            except TypeError:  # an immutable heap type of an extension module
                continue
            self.places += 1

    def _visit_function(self, function: FunctionType) -> None:
        namespace = function.__globals__
        own_name = namespace.get("__name__")
        if id(namespace) not in self._seen:
            if isinstance(own_name, str) and own_name.partition(".")[0] == _OWN_PACKAGE:
                return  # a replacement keeps its original
            if own_name not in sys.modules:
                self.visit_namespace(namespace)
        defaults = function.__defaults__
        if defaults is not None:
            self._visit_defaults(function, defaults)
        if function.__kwdefaults__:
            self.visit_namespace(function.__kwdefaults__)
        if function.__closure__ is not None:
            self._visit_closure(function.__closure__)

    def _visit_defaults(self, function: FunctionType, defaults: tuple[Any, ...]) -> None:
        replaced = [None if type(value) in _INERT else self._visit(value) for value in defaults]
        count = len(replaced) - replaced.count(None)
        if count:
            self.places += count
            function.__defaults__ = tuple(
                old if new is None else new for old, new in zip(defaults, replaced, strict=True)
            )

    def _visit_closure(self, closure: tuple[CellType, ...]) -> None:
        for cell in closure:
            try:
                content = cell.cell_contents
            except ValueError:  # an empty cell
                continue
            substitute = None if type(content) in _INERT else self._visit(content)
            if substitute is not None:
                cell.cell_contents = substitute
                self.places += 1

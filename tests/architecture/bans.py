"""Bans that neither ruff nor import-linter can see, each with what to write instead.

A ban is a function from a parsed module to the lines that break it. Bans are about meaning in this package (where
entropy and time come from, where state lives), so they read the syntax tree and stay quiet about everything else.
"""

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.architecture.source import Module, named_functions


class Breach(NamedTuple):
    """One place that breaks a ban: the line, and what to write instead."""

    line: int
    advice: str


Ban = Callable[[Module], Iterator[Breach]]

# Modules whose contents differ from run to run, and where the simulated world has its own.
_UNREPEATABLE = {
    "time": "read the world's clock (virtual nanoseconds)",
    "random": "take a random.Random(seed) that is derived from the schedule, or ask Choices",
    "uuid": "count within the world",
    "secrets": "take a random.Random(seed) that is derived from the schedule",
    "tempfile": "give the path as an argument",
}
# Names of those modules that are the same in every run: a seeded generator, and types.
_REPEATABLE = {"random.Random", "time.struct_time", "uuid.UUID"}

_MUTABLE_CONSTRUCTORS = {
    "list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict",
    "WeakKeyDictionary", "WeakValueDictionary", "WeakSet",
}  # fmt: skip
_MUTATORS = {
    "append", "add", "extend", "insert", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear",
    "appendleft", "popleft", "sort", "reverse",
}  # fmt: skip


def unrepeatable_sources(module: Module) -> Iterator[Breach]:
    """The engine asks its world for time and entropy; only the shims touch the real ones."""
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in _UNREPEATABLE
        ):
            name = f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in _UNREPEATABLE:
            name = f"{node.module}.{node.names[0].name}"
        else:
            continue
        if name not in _REPEATABLE:
            yield Breach(node.lineno, f"{name}: {_UNREPEATABLE[name.partition('.')[0]]}")


def prints(module: Module) -> Iterator[Breach]:
    """Text for people goes through the terminal reporter or a returned string."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield Breach(node.lineno, "print(): return the text, or write it by pytest's terminal reporter")


def environment_writes(module: Module) -> Iterator[Breach]:
    """The environment is read, never used to pass something on."""
    advice = "writing os.environ: pass the value as an argument, or keep it in config.stash"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and _is_environ(node.value):
            yield Breach(node.lineno, advice)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changes = _is_environ(node.func.value) and node.func.attr in _MUTATORS
            if changes or node.func.attr in {"putenv", "unsetenv"}:
                yield Breach(node.lineno, advice)


def _is_environ(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def mutable_globals(module: Module) -> Iterator[Breach]:
    """State lives in config.stash, in the engine or in the session; a module holds constants."""
    advice = "keep state in config.stash, the engine or the session; a module holds constants"
    containers = set(_module_level_containers(module.tree))
    for name, line in _module_level_counters(module.tree):
        yield Breach(line, f"{name} counts across runs: count within the world")
    for _, function in named_functions(module.tree):
        local = _names_bound_in(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield Breach(node.lineno, f"global {', '.join(node.names)}: {advice}")
            elif isinstance(node, ast.expr) and (changed := _mutated_name(node)) in containers - local:
                yield Breach(node.lineno, f"{changed} is changed after import: {advice}")


def _module_level_assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def _module_level_containers(tree: ast.Module) -> Iterator[str]:
    literals = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    for name, value in _module_level_assignments(tree):
        if isinstance(value, literals) or _called_name(value) in _MUTABLE_CONSTRUCTORS:
            yield name


def _module_level_counters(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for name, value in _module_level_assignments(tree):
        if _called_name(value) == "count":
            yield name, value.lineno


def _called_name(node: ast.expr) -> str | None:
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else None


def _names_bound_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    arguments = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    stores = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return arguments | stores


def _mutated_name(node: ast.expr) -> str | None:
    """Return the plain name that ``node`` changes in place, if it does."""
    target: ast.expr | None = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
        target = node.func.value
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        target = node.value
    return target.id if isinstance(target, ast.Name) else None


def asserted_arguments(module: Module) -> Iterator[Breach]:
    """What a user passes is checked by an error that says what to do; `assert` is for our own mistakes."""
    for name, function in named_functions(module.tree):
        if any(part.startswith("_") for part in name.split(".")):
            continue
        arguments = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
        for node in ast.walk(function):
            if not isinstance(node, ast.Assert):
                continue
            if arguments & {leaf.id for leaf in ast.walk(node.test) if isinstance(leaf, ast.Name)}:
                yield Breach(node.lineno, "assert on an argument: raise ConvergenceUsageError, with the fix")


def unordered_iteration(module: Module) -> Iterator[Breach]:
    """A set is iterated in hash order, and `id` orders by address: both differ from process to process."""
    for node in ast.walk(module.tree):
        iterated: list[ast.expr] = []
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            iterated = [node.iter]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"list", "tuple"}
        ):
            iterated = node.args
        for expression in iterated:
            if isinstance(expression, ast.Set | ast.SetComp) or _called_name(expression) == "set":
                yield Breach(
                    expression.lineno, "iterating a set: use sorted(…), or dict.fromkeys(…) to keep order"
                )
        if isinstance(node, ast.keyword) and node.arg == "key" and _name(node.value) in {"id", "hash"}:
            yield Breach(node.value.lineno, f"ordering by {_name(node.value)}(): order by a name or a number")


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None

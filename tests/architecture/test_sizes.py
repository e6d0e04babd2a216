"""Functions fit a screen and modules a sitting; what does not may only shrink."""

import pytest

from tests.architecture.source import Module, named_functions, python_modules

MAX_FUNCTION_LINES = 60
MAX_MODULE_LINES = 500
MAX_TEST_MODULE_LINES = 600  # a list of cases is read in pieces
FOLDERS = ("pytest_convergence", "examples", "benchmarks", "tests")

# The ratchet: `path::function` or `path` and its size today. An entry may only shrink: a larger reality fails, and a
# smaller one asks for the entry to be lowered (or taken out, once the limit holds).
OVERSIZED: dict[str, int] = {}


def _sizes(modules: list[Module]) -> dict[str, int]:
    """Return the number of lines of each module (by path) and function (``path::name``)."""
    sizes: dict[str, int] = {}
    for module in modules:
        sizes[module.path] = len(module.text.splitlines())
        for name, function in named_functions(module.tree):
            assert function.end_lineno is not None
            sizes[f"{module.path}::{name}"] = function.end_lineno - function.lineno + 1
    return sizes


def _limit(name: str) -> int:
    if "::" in name:
        return MAX_FUNCTION_LINES
    return MAX_TEST_MODULE_LINES if name.startswith("tests/") else MAX_MODULE_LINES


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    return _sizes([module for folder in FOLDERS for module in python_modules(folder)])


def test_functions_and_modules_stay_within_their_limits(sizes: dict[str, int]) -> None:
    grown = {name: size for name, size in sizes.items() if size > OVERSIZED.get(name, _limit(name))}
    assert not grown, (
        f"too long (limit {MAX_FUNCTION_LINES} lines a function, {MAX_MODULE_LINES} a module; "
        f"split by what the parts are for): {grown}"
    )


def test_the_ratchet_is_lowered_when_reality_shrinks(sizes: dict[str, int]) -> None:
    stale = {
        name: (entry, sizes.get(name, 0))
        for name, entry in OVERSIZED.items()
        if sizes.get(name, 0) < entry or entry <= _limit(name)
    }
    assert not stale, (
        f"lower these entries of OVERSIZED to their real size, or remove them (entry, real): {stale}"
    )

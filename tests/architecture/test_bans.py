"""The package keeps the bans of :mod:`tests.architecture.bans`, and each ban finds what it is for."""

import ast
from textwrap import dedent

import pytest

from tests.architecture import bans
from tests.architecture.source import Module, python_modules

_ENGINE = "pytest_convergence/_engine/"
# Where a ban does not hold, and why. A path ending in "/" is a folder.
_EXCEPTIONS: dict[str, dict[str, str]] = {
    "unrepeatable_sources": {
        f"{_ENGINE}sim/shims/": "holds the machine's own clocks and entropy, which it stands in front of",
        f"{_ENGINE}sim/watchdog.py": "bounds real time",
        f"{_ENGINE}run/hosting.py": "measures how long a run really took",
    },
}

_RULES: list[tuple[bans.Ban, str]] = [
    (bans.unrepeatable_sources, _ENGINE),
    (bans.unordered_iteration, _ENGINE),
    (bans.prints, "pytest_convergence/"),
    (bans.environment_writes, "pytest_convergence/"),
    (bans.mutable_globals, "pytest_convergence/"),
    (bans.asserted_arguments, "pytest_convergence/"),
]


def _is_excepted(ban: str, path: str) -> bool:
    return any(
        path == place or (place.endswith("/") and path.startswith(place))
        for place in _EXCEPTIONS.get(ban, {})
    )


@pytest.mark.parametrize(("ban", "scope"), _RULES, ids=[ban.__name__ for ban, _ in _RULES])
def test_the_package_keeps_the_ban(ban: bans.Ban, scope: str) -> None:
    breaches = [
        f"{module.path}:{breach.line}: {breach.advice}"
        for module in python_modules("pytest_convergence")
        if module.path.startswith(scope) and not _is_excepted(ban.__name__, module.path)
        for breach in ban(module)
    ]
    assert not breaches, "\n".join(breaches)


def test_every_exception_is_still_needed() -> None:
    rules = {ban.__name__: ban for ban, _ in _RULES}
    modules = python_modules("pytest_convergence")
    idle = [
        f"{name}: {place}"
        for name, places in _EXCEPTIONS.items()
        for place in places
        if not any(any(rules[name](module)) for module in modules if module.path.startswith(place))
    ]
    assert not idle, f"these exceptions excuse nothing any more, remove them: {idle}"


@pytest.mark.parametrize(
    ("ban", "text"),
    [
        pytest.param(bans.unrepeatable_sources, "import time\nnow = time.monotonic()", id="clock"),
        pytest.param(bans.unrepeatable_sources, "from random import choice", id="entropy by name"),
        pytest.param(bans.prints, "print('hello')", id="print"),
        pytest.param(bans.environment_writes, "import os\nos.environ['A'] = '1'", id="environ item"),
        pytest.param(
            bans.environment_writes, "import os\nos.environ.setdefault('A', '1')", id="environ method"
        ),
        pytest.param(bans.mutable_globals, "SEEN = []\ndef note(x):\n    SEEN.append(x)", id="list"),
        pytest.param(bans.mutable_globals, "SEEN: dict = {}\ndef note(x):\n    SEEN[x] = 1", id="dict"),
        pytest.param(
            bans.mutable_globals, "TOTAL = 0\ndef note():\n    global TOTAL\n    TOTAL += 1", id="global"
        ),
        pytest.param(bans.mutable_globals, "import itertools\nIDS = itertools.count()", id="counter"),
        pytest.param(bans.asserted_arguments, "def run(count):\n    assert count > 0", id="assert"),
        pytest.param(bans.unordered_iteration, "for name in {a for a in 'ab'}:\n    pass", id="set"),
        pytest.param(bans.unordered_iteration, "names = list(set('ab'))", id="list of set"),
        pytest.param(bans.unordered_iteration, "names = sorted('ab', key=id)", id="address"),
    ],
)
def test_a_ban_finds_what_it_is_for(ban: bans.Ban, text: str) -> None:
    assert list(ban(Module("example.py", text, ast.parse(text))))


@pytest.mark.parametrize("ban", [ban for ban, _ in _RULES], ids=[ban.__name__ for ban, _ in _RULES])
def test_a_ban_is_quiet_about_ordinary_code(ban: bans.Ban) -> None:
    text = dedent(
        """
        import os
        import random

        NAMES = ["a", "b"]
        HOME = os.environ.get("HOME")

        def seeded(seed):
            SEEN = []
            SEEN.append(random.Random(seed))
            return sorted(set(NAMES)), SEEN

        def _internal(value):
            assert value > 0
        """
    )
    assert not list(ban(Module("example.py", text, ast.parse(text))))

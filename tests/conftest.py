"""What every test directory shares: pytester, and the folder of public test vectors."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

import pytest_convergence

pytest_plugins = ["pytester"]

# A machine that calls itself CI changes what pytest cuts from its summary and how Hypothesis draws. The tests of this
# project, and the pytest runs inside them, say the same everywhere.
for _variable in (
    "CI",
    "BUILD_NUMBER",
    "GITHUB_ACTIONS",
    "FORCE_COLOR",
    "PY_COLORS",
    "COLUMNS",
    "LINES",
    "PYTEST_THEME",
    "PYTEST_THEME_MODE",
    *(name for name in os.environ if name.startswith("HYPOTHESIS_")),
):
    os.environ.pop(_variable, None)

# No test depends on luck or on the load of the machine; to search for new examples: --hypothesis-profile=explore.
# To explain a failure, Hypothesis traces every line of every run that shrinks it, which takes longer than all the rest of
# a test that is meant to fail (on Python 3.11 three times as long); a test that is about that asks for all phases.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "steady",
    settings.get_profile("explore"),
    derandomize=True,
    database=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
)
settings.load_profile("steady")

# After each pytest run inside this one, pytester forgets the modules that the run was the first to import. The plugin
# imports lazily, so the next run would get second copies of its classes beside the first. All is imported once, here.
for _module in pkgutil.walk_packages(pytest_convergence.__path__, "pytest_convergence."):
    importlib.import_module(_module.name)

# From here on nobody writes bytecode. Tests of pytest in pytest write a file twice within a second, sometimes in the same
# length, and the bytecode of the first would be taken for that of the second.
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

_ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Take away what says how to run *these* tests. Not sooner: the workers of xdist have to read it, too."""
    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(variable, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        default=os.environ.get("CONVERGENCE_VECTORS"),
        help="folder of public test vectors (default: $CONVERGENCE_VECTORS, else ../shared/vectors)",
    )
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write golden files anew instead of comparing; read what changed before you commit it",
    )


Golden = Callable[[Path, str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Hold a text to a golden file, or write the file anew with ``--update-golden``."""

    def compare(path: Path, text: str) -> None:
        __tracebackhide__ = True
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), "a golden file changes by --update-golden only"

    return compare


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout that the tests belong to."""
    return _ROOT


@pytest.fixture(scope="session")
def vectors(request: pytest.FixtureRequest) -> Path:
    """The folder of public test vectors; tests that need it are skipped where it is absent."""
    given = request.config.getoption("--vectors")
    folder = Path(given) if given else _ROOT.parent / "shared" / "vectors"
    if not folder.is_dir():
        if given:
            pytest.fail(f"--vectors names {folder}, which is not a folder")
        pytest.skip(f"the public test vectors are not at {folder}; name their folder with --vectors")
    return folder

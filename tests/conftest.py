"""What every test directory shares: pytester, and the folder of public test vectors."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        default=os.environ.get("CONVERGENCE_VECTORS"),
        help="folder of public test vectors (default: $CONVERGENCE_VECTORS, else ../shared/vectors)",
    )


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

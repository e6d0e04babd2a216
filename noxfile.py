"""The project's chores, one session each; `nox --list` shows them. `.ci/run` does the same on a machine without nox."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests", "lowest", "docs"]
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
# What a downstream suite may have installed beside this plugin; "none" removes even what our own tests like to have.
NEIGHBOURS = {
    "none": [],
    "pytest-asyncio": ["pytest-asyncio"],
    "anyio": ["anyio"],
    "randomly": ["pytest-randomly"],
    "xdist": ["pytest-xdist"],
}


@nox.session(python=PYTHONS)
@nox.parametrize("neighbour", list(NEIGHBOURS))
def neighbours(session: nox.Session, neighbour: str) -> None:
    """Run the tests beside one optional plugin and no other."""
    session.install("-e", ".[examples]", "import-linter", *NEIGHBOURS[neighbour])
    shuffled = ["-p", "randomly"] if neighbour == "randomly" else []
    session.run("python", "-m", "pytest", *shuffled, *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with branch coverage."""
    session.install("-e", ".[test,examples]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests on the lowest versions that the package promises to work with."""
    session.install("-c", "constraints/lowest.txt", "-e", ".[test,examples]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the import contracts."""
    session.install("-e", ".[test,lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[test,examples,lint]")
    session.run("mypy", "--strict")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Print the table of speeds, each beside its reference in the same run."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)

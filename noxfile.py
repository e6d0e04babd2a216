"""The project's chores, one session each; `nox --list` shows them. `.ci/run` does the same on a machine without nox."""

from pathlib import Path

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


# Examples with libraries from PyPI, as they are; each has an environment of its own.
LIBRARIES = ["websockets", "http", "aiohttp", "nats", "smtp", "grpc", "redis", "fastapi", "pysyncobj"]
FRAMEWORKS = ["langgraph", "autogen", "openai_agents", "google_adk", "mcp", "a2a"]
# Bugs that were: the test, what it needs beside the package, a version that has the bug, one that has not.
HISTORICAL = {
    "redis_out_of_step": ("redis", ["async-timeout"], "4.5.1", "4.5.5"),
    "aiohttp_answer_of_another": ("aiohttp", [], "3.9.0", "3.9.1"),
    "anyio_lock_lost": ("anyio", [], "3.4.0", "3.5.0"),
    "httpcore_pool_leak": ("httpcore", ["anyio"], "0.17.3", "1.0.9"),
}


@nox.session(python=PYTHONS)
@nox.parametrize("library", LIBRARIES)
def libraries(session: nox.Session, library: str) -> None:
    """Run the example with one library from PyPI, as it is."""
    session.install("-e", ".", "-r", f"examples/hosts/requirements-{library}.txt")
    session.run("python", "-m", "pytest", f"examples/hosts/test_{library}.py", *session.posargs)


@nox.session(python=PYTHONS)
def uvloop(session: nox.Session) -> None:
    """Ask for uvloop in every way that there is, with the real one: the ordinary tests have a stand-in."""
    session.install("-e", ".", "uvloop", "uvicorn")
    session.run("python", "-m", "pytest", "tests/hosts/test_uvloop.py", *session.posargs)


@nox.session(python=PYTHONS[0])
@nox.parametrize("framework", FRAMEWORKS)
def frameworks(session: nox.Session, framework: str) -> None:
    """Run the example with one framework for teams of agents, as it is."""
    session.install("-e", ".", "-r", f"examples/frameworks/requirements-{framework}.txt")
    session.run("python", "-m", "pytest", f"examples/frameworks/test_{framework}.py", *session.posargs)


@nox.session(python=PYTHONS[0])
@nox.parametrize("bug", list(HISTORICAL))
def historical(session: nox.Session, bug: str) -> None:
    """Find a bug that was: the version that has it must fail as the documentation tells, the one that has not must pass."""
    package, others, broken, fixed = HISTORICAL[bug]
    ignored = ["-W", "ignore::DeprecationWarning"]  # old versions on a newer Python
    session.install("-e", ".", *others)
    for version, code in ((broken, 1), (fixed, 0)):
        session.install(f"{package}=={version}")
        test = f"examples/bugs/test_{bug}.py"
        command = ["python", "-m", "pytest", *ignored, test, "--convergence-database=none", *session.posargs]
        printed = session.run(*command, success_codes=[code], silent=True)
        session.log(printed)
        if code:
            told = Path(session.create_tmp()) / "printed.txt"
            told.write_text(str(printed), encoding="utf-8")
            session.run("python", "-m", "tests.architecture.historical", bug, str(told))


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

"""Command line options and their ini twins.

Read by every test suite that has the plugin installed, so it imports nothing of the engine unless an option asks for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pytest

__all__ = [
    "SETTINGS",
    "Layer",
    "Settings",
    "add_options",
    "formats_name_run_context",
    "read_settings",
    "split_profile",
]

_T = TypeVar("_T")

DEFAULT_SHRINK_SECONDS: Final = 20.0
"""Real seconds that the reduction of a failure may take."""

_DATABASE: Final = ".convergence"


class Layer(NamedTuple):
    """What one source (the command line, the ini file) says about every test; ``None`` where it says nothing."""

    schedules: int | None = None
    search_seconds: float | None = None
    seed: int | None = None
    profile: str | None = None


class Settings(NamedTuple):
    """The plugin's options for one pytest session.

    Attributes:
        command_line, ini: seed, profile and schedules by source, because the marker stands between the two.
        metrics: the file to write metrics to.
        check_determinism: whether each schedule is run twice.
        replay: the token of the schedule to run, instead of any other.
        shrink_seconds: real seconds that the reduction of a failure may take.
        database: the directory in which known failures are kept, ``None`` for nowhere.
        steps: whether the run of the one selected test is walked through when it has ended.
        strict: whether it is an error of a test if its *sometimes* properties are never reached.
        report: the directory for files about failing tests.
        preimport: modules to import before the first simulated world begins.
        isolate: whether each run is made in a process of its own.
    """

    command_line: Layer
    ini: Layer
    metrics: Path | None
    check_determinism: bool
    replay: str | None = None
    shrink_seconds: float = DEFAULT_SHRINK_SECONDS
    database: Path | None = None
    steps: bool = False
    strict: bool = False
    report: Path | None = None
    preimport: tuple[str, ...] = ()
    isolate: bool = False


SETTINGS: Final = pytest.StashKey[Settings]()


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number is needed, not {text!r}") from None


def _count(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number >= 1 is needed, not {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number of seconds is needed, not {text!r}") from None
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"a number of seconds >= 0 is needed, not {text!r}")
    return number


def _some_seconds(text: str) -> float:
    number = _seconds(text)
    if not number:
        raise argparse.ArgumentTypeError(f"more than 0 seconds are needed, not {text!r}")
    return number


def _token(text: str) -> str:
    from pytest_convergence._engine.base.tokens import parse_token
    from pytest_convergence._pytest.token_files import token_text
    from pytest_convergence.errors import ConvergenceUsageError

    try:
        text = token_text(text, Path())
        parse_token(text)
    except ConvergenceUsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _profile(text: str) -> str:
    # Imported here: only a session that sets a profile pays for the engine.
    from pytest_convergence._engine.base.noise import NOISE_PROFILES
    from pytest_convergence._engine.sim.conditions import PROFILES
    from pytest_convergence.errors import unknown_name

    for name in text.split(","):
        if name not in PROFILES and name not in NOISE_PROFILES:
            error = unknown_name("profile", name, (*PROFILES, *NOISE_PROFILES))
            raise argparse.ArgumentTypeError(str(error))
    return text


def split_profile(text: str | None) -> dict[str, str]:
    """Return what a profile sets: the network, the noise, or both (``lossy,heavy-tail``)."""
    from pytest_convergence._engine.base.noise import NOISE_PROFILES

    names = text.split(",") if text else []
    return {"noise" if name in NOISE_PROFILES else "network": name for name in names}


def _add_search_options(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--convergence-schedules",
        type=_count,
        metavar="N",
        help="run each test with the convergence marker under N schedules; goes before the marker's schedules=",
    )
    group.addoption(
        "--convergence-search-seconds",
        type=_some_seconds,
        metavar="SECONDS",
        help="begin no further schedule of a test after so many real seconds; without a number of schedules that alone ends "
        "a search; goes before the marker's search_seconds=",
    )
    group.addoption(
        "--convergence-spread",
        action="store_true",
        default=None,
        help="with pytest-xdist: let all workers share the schedules of each test, instead of the tests",
    )
    group.addoption(
        "--convergence-seed",
        type=_whole,
        metavar="SEED",
        help="seed of the first schedule of each test; goes before the marker's seed=",
    )
    group.addoption(
        "--convergence-profile",
        type=_profile,
        metavar="NAME",
        help="network profile (perfect, lan, wan, lossy, flaky, chaos) or noise profile (uniform, fast-restart, heavy-tail, "
        "leader-target, swarm, pct) of every session, or both, with a comma; goes before the marker's network= and noise=",
    )


def add_options(parser: pytest.Parser) -> None:
    """Register the options of the command line and their ini twins."""
    group = parser.getgroup("convergence", "agents that must agree, in a simulated world")
    _add_search_options(group)
    group.addoption(
        "--convergence-metrics",
        metavar="FILE",
        help="write metrics of all sessions to FILE in the Prometheus text format",
    )
    group.addoption(
        "--convergence-check-determinism",
        action="store_true",
        default=None,
        help="run each schedule of each marked test twice (and once more in a process where strings hash otherwise, unless "
        "PYTHONHASHSEED is pinned), and fail with the first difference",
    )
    group.addoption(
        "--convergence-replay",
        type=_token,
        metavar="TOKEN",
        help="run the one selected test under the schedule that a counterexample has printed, or that is in @FILE",
    )
    group.addoption(
        "--convergence-shrink-seconds",
        type=_seconds,
        metavar="SECONDS",
        help=f"how long a failure may be reduced to what matters (default {DEFAULT_SHRINK_SECONDS:g}; 0: not at all)",
    )
    _add_switches(group)
    _add_ini_keys(parser)


def _add_switches(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--convergence-step",
        action="store_true",
        help="walk through the run of the one selected test, event by event, when it has ended",
    )
    group.addoption(
        "--convergence-strict",
        action="store_true",
        default=None,
        help="fail a test whose sometimes properties are reached under none of its schedules",
    )
    group.addoption(
        "--convergence-database",
        metavar="DIR",
        help="where failures are kept, which the next run tries first (default .convergence in the rootdir); none: nowhere",
    )
    group.addoption(
        "--convergence-preimport",
        metavar="MODULE",
        action="append",
        default=[],
        help="import MODULE before the first simulated world begins, so that the first run imports no more than the others; "
        "may be given several times",
    )
    group.addoption(
        "--convergence-isolate",
        action="store_true",
        default=None,
        help="make each run of a marked test in a forked process of its own, so that what it leaves behind in modules "
        "does not reach the next run",
    )
    group.addoption(
        "--convergence-report",
        metavar="DIR",
        help="write files about each failing test to DIR: a page for the browser, JSON, a Mermaid diagram, a ShiViz log",
    )


def _add_ini_keys(parser: pytest.Parser) -> None:
    parser.addini(
        "convergence_schedules", "like --convergence-schedules, but the marker goes before it", default=None
    )
    parser.addini(
        "convergence_search_seconds",
        "like --convergence-search-seconds, but the marker goes before it",
        default=None,
    )
    parser.addini("convergence_shrink_seconds", "like --convergence-shrink-seconds", default=None)
    parser.addini("convergence_seed", "like --convergence-seed, but the marker goes before it", default=None)
    parser.addini(
        "convergence_profile", "like --convergence-profile, but the marker goes before it", default=None
    )
    parser.addini("convergence_report", "like --convergence-report; relative to the rootdir", default=None)
    parser.addini("convergence_metrics", "like --convergence-metrics; relative to the rootdir", default=None)
    parser.addini(
        "convergence_check_determinism", "like --convergence-check-determinism", type="bool", default=False
    )
    parser.addini(
        "convergence_database", "like --convergence-database; relative to the rootdir", default=_DATABASE
    )
    parser.addini("convergence_preimport", "modules to import first", type="args", default=[])
    parser.addini("convergence_isolate", "like --convergence-isolate", type="bool", default=False)
    parser.addini("convergence_strict", "like --convergence-strict", type="bool", default=False)
    for name in _RESERVED:
        parser.addini(name, "reserved: this version refuses it", default=None)


_RESERVED: Final = {
    "convergence_replay": (
        "a token belongs to one test; give --convergence-replay=TOKEN with that test, or pin it by schedule= in its marker"
    ),
}
"""Ini keys that would have no effect."""


def _refuse_reserved(config: pytest.Config) -> None:
    """Refuse the ini keys that would have no effect.

    Raises:
        pytest.UsageError: one of them is set.
    """
    for name, words in _RESERVED.items():
        if config.getini(name):
            raise pytest.UsageError(f"ini key {name}: {words}")


def _ini(config: pytest.Config, name: str, parse: Callable[[str], _T]) -> _T | None:
    """Read an ini key.

    Raises:
        pytest.UsageError: its value is not what the key needs.
    """
    try:
        text = config.getini(name)
        return parse(text) if text else None
    except (argparse.ArgumentTypeError, TypeError) as error:
        raise pytest.UsageError(f"ini key {name}: {error}") from None


def _path(config: pytest.Config, name: str) -> Path | None:
    """Return the path that an option names (from where pytest was started) or its ini twin (from the rootdir)."""
    resolved = getattr(config, "workerinput", {}).get(name)  # a worker of xdist may run elsewhere
    if resolved:
        return Path(resolved)
    given: str | None = config.getoption(name)
    if given:
        return config.invocation_params.dir / given
    written = _ini(config, name, str)
    return config.rootpath / written if written else None


def read_settings(config: pytest.Config) -> Settings:
    """Gather what the command line and the ini file say.

    Raises:
        pytest.UsageError: an ini key has a bad value.
    """
    _refuse_reserved(config)
    option: Callable[[str], Any] = config.getoption
    check = option("convergence_check_determinism")
    strict = option("convergence_strict")
    return Settings(
        command_line=Layer(
            schedules=option("convergence_schedules"),
            search_seconds=option("convergence_search_seconds"),
            seed=option("convergence_seed"),
            profile=option("convergence_profile"),
        ),
        ini=Layer(
            schedules=_ini(config, "convergence_schedules", _count),
            search_seconds=_ini(config, "convergence_search_seconds", _some_seconds),
            seed=_ini(config, "convergence_seed", _whole),
            profile=_ini(config, "convergence_profile", _profile),
        ),
        metrics=_path(config, "convergence_metrics"),
        report=_path(config, "convergence_report"),
        check_determinism=bool(config.getini("convergence_check_determinism") if check is None else check),
        replay=option("convergence_replay"),
        shrink_seconds=next(
            (
                given
                for given in (
                    option("convergence_shrink_seconds"),
                    _ini(config, "convergence_shrink_seconds", _seconds),
                )
                if given is not None
            ),
            DEFAULT_SHRINK_SECONDS,
        ),
        database=_directory(config),
        steps=_steps(config),
        strict=bool(config.getini("convergence_strict") if strict is None else strict),
        preimport=(*config.getini("convergence_preimport"), *option("convergence_preimport")),
        isolate=_isolate(config),
    )


def _steps(config: pytest.Config) -> bool:
    """Whether runs are walked through in this terminal.

    Raises:
        pytest.UsageError: tests run in workers of xdist.
    """
    wanted = bool(config.getoption("convergence_step"))
    if wanted and (hasattr(config, "workerinput") or config.getoption("dist", "no") != "no"):
        raise pytest.UsageError(
            "--convergence-step walks through a run in this terminal, and workers of xdist have none: run it without -n (or "
            "with -n0)."
        )
    return wanted


def _isolate(config: pytest.Config) -> bool:
    """Whether each run is made in a process of its own.

    Raises:
        pytest.UsageError: that is not possible here, or in the way of another option.
    """
    given = config.getoption("convergence_isolate")
    if not (config.getini("convergence_isolate") if given is None else given):
        return False
    words = "--convergence-isolate (or its ini twin) runs the body of each test in a forked process, "
    if not hasattr(os, "fork"):
        raise pytest.UsageError(
            f"{words}and {sys.platform} cannot fork. Run it on Linux or macOS, or without the option."
        )
    for destination, option, why in _NOT_ISOLATED:
        if config.getoption(destination, False):
            raise pytest.UsageError(
                f"{words}and {option} {why}. Use one of the two; -o convergence_isolate=false takes back what the ini "
                "file says."
            )
    return True


_NOT_ISOLATED: Final = (
    ("usepdb", "--pdb", "would open the debugger on runs that are made in another process"),
    ("trace", "--trace", "would open the debugger in a process that nobody talks to"),
    ("convergence_step", "--convergence-step", "walks through the run of this process"),
)


def _directory(config: pytest.Config) -> Path | None:
    """Where known failures are kept."""
    given = config.getoption("convergence_database")
    text: str = given or config.getini("convergence_database") or _DATABASE
    base = config.invocation_params.dir if given else config.rootpath
    return None if text.lower() == "none" else base / text


def formats_name_run_context(config: pytest.Config) -> bool:
    """Whether a configured log format names ``agent`` or ``virtual_time``; then every record needs them."""
    if config.pluginmanager.get_plugin("logging-plugin") is None:
        return False
    names = ("log_format", "log_cli_format", "log_file_format")
    formats = [str(config.getoption(name, None) or config.getini(name) or "") for name in names]
    return any("%(agent)" in text or "%(virtual_time)" in text for text in formats)

"""What is said about one test: the section of a failure, the line of an interruption, the properties for JUnit files."""

from __future__ import annotations

import os
import shlex

import pytest

from pytest_convergence._engine.run.lifecycle import SessionState
from pytest_convergence._pytest.database import database_of
from pytest_convergence._pytest.options import SETTINGS, split_profile
from pytest_convergence._pytest.running_test import RunningTest
from pytest_convergence._pytest.token_files import LONGEST_TOKEN

__all__ = [
    "again_line",
    "describe_interruption",
    "effective_seed",
    "failure_sections",
    "replay_line",
    "rerun_line",
    "schedule_words",
    "set_properties",
]

_MOST_SESSIONS = 3


def effective_seed(running: RunningTest) -> int | None:
    """The seed of the present run; where none was given, the one that its last session derived from the node id."""
    if running.run.known_failure is not None:
        return None  # what it follows is the known failure, whatever seed the test has
    if running.run.seed is not None:
        return running.run.seed
    told = running.run.told
    return told[-1].seed if told else None


def schedule_words(running: RunningTest) -> str:
    """Say under which schedule the present run was."""
    seed = effective_seed(running)
    told = running.run.told
    if running.run.known_failure is not None and told:
        return f"a known failure: {told[-1].schedule}"
    words = "calm" if seed is None else f"seed {seed}"
    if told:
        words = str(told[-1].schedule)
    if running.plan.options.get("explore") == "exhaustive" and running.plan.course is None:
        words = f"schedule {running.run.index + 1} of an exhaustive search"
    elif running.plan.schedules > 1:
        words = f"schedule {running.run.index + 1} of {running.plan.schedules}: {words}"
    return words


def _search_on_line(running: RunningTest) -> str:
    """Return the command that runs the test under the seed that found a failure; empty without one."""
    seed = running.found_seed
    return (
        "" if seed is None or running.run.approach.branches else f"  unreduced: {rerun_line(running, seed)}"
    )


def replay_line(running: RunningTest, token: str, words: str) -> str:
    """Return the command that runs the test under the schedule of a token.

    A token that is too long for a command line goes into a file, with ``words`` about it.
    """
    database = database_of(running.item.config)
    if len(token) > LONGEST_TOKEN and database is not None:
        file = database.file_of(token, words)
        if file is not None:
            token = "@" + os.path.relpath(file, running.item.config.invocation_params.dir)
    seed = os.environ.get("PYTHONHASHSEED", "random")
    # Sets of strings have one order only under it.
    pinned = [] if seed == "random" else [f"PYTHONHASHSEED={seed}"]
    command = [
        *pinned,
        "pytest",
        _path_and_name(running),
        f"--convergence-replay={token}",
        *_isolation(running),
    ]
    return " ".join(map(shlex.quote, command))


def again_line(running: RunningTest) -> str:
    """Return the command that runs the test again."""
    return " ".join(map(shlex.quote, ["pytest", _path_and_name(running), *_isolation(running)]))


def _isolation(running: RunningTest) -> list[str]:
    """Return the option without which a failure would be the end of pytest's own process."""
    return ["--convergence-isolate"] if running.needs_isolation else []


def _path_and_name(running: RunningTest) -> str:
    path = os.path.relpath(running.item.path, running.item.config.invocation_params.dir)
    return f"{path}::{running.nodeid.partition('::')[2]}"


def rerun_line(running: RunningTest, seed: int) -> str:
    """Return the command that runs the test under the present schedule alone."""
    config = running.item.config
    words = ["pytest", _path_and_name(running), f"--convergence-seed={seed}"]
    if running.plan.schedules > 1:
        words.append("--convergence-schedules=1")
    given = split_profile(config.stash[SETTINGS].command_line.profile)
    if running.run.approach.noise is not None:
        given["noise"] = running.run.approach.noise
    if given:
        words.append(f"--convergence-profile={','.join(given.values())}")
    return " ".join(map(shlex.quote, [*words, *_isolation(running)]))


def failure_sections(running: RunningTest) -> list[tuple[str, str]]:
    """Return what a failing test's report says of its sessions: the counterexamples, or what is known without."""
    found = running.counterexample
    if found is not None:
        parts = [found.text(), _search_on_line(running)]
        sections = [("convergence counterexample", "\n".join(filter(None, parts)))]
        return sections + [("another convergence counterexample", other.text()) for other in running.others]
    text = _describe_failure(running)
    return [] if text is None else [("convergence", text)]


def _describe_failure(running: RunningTest) -> str | None:
    """Return the text of a failure's section, or ``None`` if no session was involved."""
    sessions = [told for told in running.run.told if told.state is not SessionState.INITIALIZING]
    if not sessions:
        return None
    lines = [schedule_words(running), *running.notes]
    lines += [told.words for told in sessions[-_MOST_SESSIONS:]]
    seed = effective_seed(running)
    if seed is not None:
        lines.append(f"run it again: {rerun_line(running, seed)}")
        lines.append(f"         or: seed={seed} in the marker")
    return "\n".join(lines)


def describe_interruption(running: RunningTest) -> str | None:
    """Say what ran when the user interrupted, or return ``None`` if no session did."""
    told = running.run.told
    if not told:
        return None
    words = f"interrupted: {running.nodeid}, session {told[-1].label!r}, {schedule_words(running)}"
    seed = effective_seed(running)
    return words if seed is None else f"{words}\nrun it again: {rerun_line(running, seed)}"


def set_properties(item: pytest.Item, running: RunningTest) -> None:
    """Put the test's numbers into its properties, which ``--junitxml`` writes; a rerun replaces those of the run before."""
    if not running.sessions_ended:
        return
    numbers: dict[str, object] = {
        "convergence_sessions": running.sessions_ended,
        "convergence_schedules": running.run.index + 1,
        "convergence_virtual_seconds": round(running.virtual_seconds, 9),
        "convergence_real_seconds": round(running.real_seconds, 6),
    }
    seed = effective_seed(running)
    if seed is not None:
        numbers["convergence_seed"] = seed
    item.user_properties[:] = [
        pair for pair in item.user_properties if not pair[0].startswith("convergence_")
    ]
    item.user_properties += numbers.items()

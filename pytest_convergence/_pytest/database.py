"""Known failures: the schedules under which tests have failed, kept from one run to the next.

1. They live in the directory ``.convergence`` in the rootdir (``--convergence-database`` moves it or turns it off), beside
   the long tokens that counterexamples print as files. One file for each test, named by its node id.
2. A reduced failure is kept when it is found. The next run of that test tries the known failures first, newest first;
   one under which the test passes is forgotten.
3. Nothing here can fail a test: files are written whole or not at all, a directory that cannot be written is left alone,
   and a file that cannot be read is ignored with a warning.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

import pytest

from pytest_convergence._engine.base.tokens import parse_token
from pytest_convergence._pytest.options import SETTINGS
from pytest_convergence._pytest.running_test import RunningTest
from pytest_convergence._pytest.whole_files import write_whole
from pytest_convergence.errors import ConvergenceUsageError, ConvergenceWarning

__all__ = ["Database", "database_of", "keep_failure", "known_failures"]

_FORMAT: Final = 1
_MOST_FAILURES: Final = 8
"""How many failures of one test are kept."""
_MOST_FILES: Final = 1_000
"""How many tests may have known failures, and how many tokens may lie in files; the oldest give way."""


@final
class Database:
    """The known failures of all tests below one directory."""

    __slots__ = ("_directory",)

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, nodeid: str) -> Path:
        return self._directory / "failures" / f"{hashlib.sha256(nodeid.encode()).hexdigest()[:20]}.json"

    def tokens(self, nodeid: str) -> list[str]:
        """Return the schedules under which the test has failed, the newest first."""
        path = self._path(nodeid)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return _tokens(content, nodeid)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError, TypeError, KeyError, ConvergenceUsageError) as error:
            warnings.warn(
                ConvergenceWarning(
                    f"the known failures of this test are ignored: {path} cannot be read: {error}"
                ),
                stacklevel=2,
            )
            return []

    def keep(self, nodeid: str, token: str) -> None:
        """Put a failure before the others of its test."""
        with warnings.catch_warnings():  # what could not be read is replaced
            warnings.simplefilter("ignore", ConvergenceWarning)
            older = self.tokens(nodeid)
        self._write(nodeid, [token, *(other for other in older if other != token)][:_MOST_FAILURES])

    def forget(self, nodeid: str, token: str) -> None:
        """Take a failure away."""
        left = [other for other in self.tokens(nodeid) if other != token]
        if left:
            self._write(nodeid, left)
        else:
            with contextlib.suppress(OSError):
                self._path(nodeid).unlink()

    def _write(self, nodeid: str, tokens: Sequence[str]) -> None:
        content = {"format": _FORMAT, "test": nodeid, "failures": list(tokens)}
        self._put(self._path(nodeid), json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def file_of(self, token: str, words: str) -> Path | None:
        """Write a token into a file of its own; return its path, ``None`` if that was not possible."""
        path = self._directory / "schedules" / f"{hashlib.sha256(token.encode()).hexdigest()[:12]}.txt"
        comment = "".join(f"# {line}\n" for line in words.splitlines())
        return path if self._put(path, f"{comment}{token}\n") else None

    def _put(self, path: Path, text: str) -> bool:
        ignored = self._directory / ".gitignore"
        if not ignored.exists():
            write_whole(ignored, "# Made by pytest-convergence: known failures, of no use to others.\n*\n")
        if not write_whole(path, text):
            return False
        with contextlib.suppress(OSError):  # another worker may tidy up too
            files = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime_ns, reverse=True)
            for old in files[_MOST_FILES:]:
                old.unlink(missing_ok=True)
        return True


def _tokens(content: Any, nodeid: str) -> list[str]:
    if content["format"] != _FORMAT:
        raise ValueError(f"it has the format {content['format']!r}, not {_FORMAT}")
    if content["test"] != nodeid:
        raise ValueError(f"it is of the test {content['test']!r}")
    tokens: list[str] = content["failures"]
    for token in tokens:
        parse_token(token)
    return tokens


def database_of(config: pytest.Config) -> Database | None:
    """Return the database of this pytest session; ``None`` if there is to be none."""
    directory = config.stash[SETTINGS].database
    return None if directory is None else Database(directory)


def known_failures(running: RunningTest) -> Iterator[Callable[[], None]]:
    """Yield how the body's next run is begun under each known failure; one under which it passes is forgotten.

    There are none if the test was told which schedule to run. Between two of them the body is to be run, and a failure of
    it ends the loop.
    """
    config = running.item.config
    database = database_of(config)
    if database is None or running.plan.course or config.stash[SETTINGS].command_line.seed is not None:
        return
    for token in database.tokens(running.nodeid):
        yield functools.partial(running.try_known, token)
        database.forget(running.nodeid, token)


def keep_failure(running: RunningTest, tried: str | None) -> None:
    """Keep what was found of a failure, in the place of the known failure that was ``tried``.

    What fails under the calm schedule is not worth keeping: it takes no search to find it again.
    """
    database = database_of(running.item.config)
    found = running.counterexample
    if database is None or found is None or running.plan.course is not None:
        return
    if tried is not None and tried != found.token:
        database.forget(running.nodeid, tried)
    if found.deviations:
        database.keep(running.nodeid, found.token)

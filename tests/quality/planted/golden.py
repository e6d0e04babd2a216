"""Counterexamples of planted bugs, as the plugin tells them, and the files that pin them.

The schedule of each file is replayed, and must be told in the same words. To write files anew (read what has changed):

* ``CONVERGENCE_UPDATE_GOLDEN=words pytest tests/quality/planted -k words`` replays their schedules, where only words differ;
* ``CONVERGENCE_UPDATE_GOLDEN=05,08`` searches and reduces bugs anew whose ids begin so, which takes minutes for each;
* ``CONVERGENCE_UPDATE_GOLDEN=1`` does so with all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.quality.planted.bug import Bug

__all__ = [
    "FOLDER",
    "HAND_MADE",
    "SEED_MADE_FOR",
    "SMALLEST",
    "is_pinned",
    "is_told_again",
    "is_updated",
    "read",
    "shrunk_size",
    "size",
    "smallest",
    "told",
    "update",
]

FOLDER: Final = Path(__file__).parent / "golden"
UPDATE: Final = os.environ.get("CONVERGENCE_UPDATE_GOLDEN", "")
_WORDS: Final = "words"
SMALLEST: Final = {
    "05-commits-an-old-term-by-counting": 3,  # see HAND_MADE
    "08-takes-the-vote-of-an-older-term": 2,  # see HAND_MADE
    "12-decision-not-durable": 2,
    "13-duplicate-yes-votes-counted": 2,
    "16-dedup-in-memory": 2,
}
"""How many deviations the smallest counterexample takes that anybody has seen; 1, or none, for all other bugs."""
HAND_MADE: Final = {
    "05-commits-an-old-term-by-counting": {
        "isolate a #4": 15005,
        "isolate b #5": 15001,
        "isolate a #30": 15004,
    },
    "08-takes-the-vote-of-an-older-term": {"isolate b #5": 7503, "deliver a→c #1": 6320000003},
}
"""Deviations that somebody has thought out, where the search comes to more; of the seed :data:`SEED_MADE_FOR`.

* 05 is figure 8 of the Raft paper: a and e, then b, then a and d are cut off, each until the next one is.
* 08: c and the second to vote for it are cut off from all others just as that one votes; the first vote comes so late that c
  is a candidate of the next term by then, for which the others have a leader.
"""
SEED_MADE_FOR: Final = 666234

_TEST: Final = """
import pytest
from tests.quality.planted.registry import bug_called

BUG = bug_called({id!r})


@pytest.mark.convergence(**BUG.case.options, schedules={schedules})
def test_planted(convergence_session):
    convergence_session.run(BUG.case.scenario, **BUG.case.inputs)
"""
_SECTION: Final = re.compile(r"^-+ convergence counterexample -+\n(.*?)^Found by ", re.M | re.S)
_LINE: Final = re.compile(r"(\.py):\d+")
"""Where a planted agent stands in its file is no matter of a counterexample's."""
_MOST_REPLAYS: Final = 5
_OPTIONS: Final = ("-p", "no:cacheprovider", "--convergence-database=none")
_ROOT: Final = Path(__file__).parents[3]
_SIZE: Final = re.compile(r"^It takes (\d+) deviations? from the calm schedule", re.M)
_TOKEN: Final = re.compile(r'or pin it: schedule="(\S+)"')


def told(pytester: pytest.Pytester, bug: Bug, token: str = "") -> tuple[str, str]:
    """Find a bug, or replay it, in a pytest run; return the token of the smallest run, and what is told of it."""
    output = _run(pytester, bug, token)
    section, pinned = _SECTION.search(output), _TOKEN.search(output)
    assert section is not None, output
    assert pinned is not None, output
    return pinned[1], _LINE.sub(r"\1", section[1]).rstrip() + "\n"


def is_told_again(pytester: pytest.Pytester, bug: Bug) -> bool:
    """Whether a golden file still says what becomes of its schedule."""
    token, text = read(bug)
    if "\n  - " in text:
        return told(pytester, bug, token)[1] == text
    sentence = text.partition("\n")[0].removeprefix("violated: ")
    return sentence in _run(pytester, bug, token)  # nothing is told of a calm run but what it broke


def _run(pytester: pytest.Pytester, bug: Bug, token: str) -> str:
    pytester.makepyfile(_TEST.format(id=bug.id, schedules=bug.budget))
    options = [*_OPTIONS, "--convergence-shrink-seconds=300"]
    if token:
        options.append(f"--convergence-replay={token}")
    return str(pytester.runpytest_inprocess(*options).stdout.str())


def shrunk_size(bug: Bug, seed: int, seconds: float) -> int | None:
    """Search by a seed in a pytest of its own; return how many deviations its counterexample takes, if there is one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test_planted.py"
        path.write_text(_TEST.format(id=bug.id, schedules=bug.budget), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", str(path), f"--rootdir={folder}", *_OPTIONS]
        command += [f"--convergence-seed={seed}", f"--convergence-shrink-seconds={seconds}"]
        environment = os.environ | {"PYTHONPATH": str(_ROOT)}
        told = subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stdout
    if "It needs nothing to go wrong" in told:
        return 0
    found = _SIZE.search(told)
    return None if found is None else int(found[1])


def smallest(bug: Bug) -> int:
    """How many deviations the smallest counterexample takes that anybody has seen."""
    return SMALLEST.get(bug.id, min(size(bug), 1) if is_pinned(bug) else 1)


def is_pinned(bug: Bug) -> bool:
    """Whether a bug has a golden file."""
    return (FOLDER / f"{bug.id}.txt").exists()


def read(bug: Bug) -> tuple[str, str]:
    """Return the token and the text of a golden file."""
    token, _, text = (FOLDER / f"{bug.id}.txt").read_text(encoding="utf-8").partition("\n\n")
    return token.removeprefix("schedule: "), text


def size(bug: Bug) -> int:
    """How many deviations the counterexample of a golden file takes."""
    return read(bug)[1].count("\n  - ")


def is_updated(bug: Bug) -> bool:
    """Whether the golden file of a bug is to be written anew."""
    if UPDATE in ("", _WORDS):
        return UPDATE == _WORDS and is_pinned(bug)
    return UPDATE == "1" or any(bug.id.startswith(part) for part in UPDATE.split(","))


def update(pytester: pytest.Pytester, bug: Bug) -> None:
    """Write the golden file of a bug, as a replay tells it: that is what it will be compared with."""
    if UPDATE == _WORDS:
        token, text = read(bug)
    else:
        token, text = told(pytester, bug)
    for _ in range(_MOST_REPLAYS if "\n  - " in text else 0):
        before, (token, text) = text, told(pytester, bug, token)
        if text == before:
            break
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{bug.id}.txt").write_text(f"schedule: {token}\n\n{text}", encoding="utf-8")

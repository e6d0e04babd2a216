"""Correct agents raise no alarm: runs a session under many seeds and every network profile.

A test is one call for one profile::

    @pytest.mark.parametrize("network", NETWORKS)
    def test_the_reference_protocol_is_silent(network):
        silent({"pattern": "consensus", "agents": 5, "network": network}, {"proposals": …})

Each such test is one *cell* of a table: reference agents × network profile. How many seeds a cell is run under says
``CONVERGENCE_QUALITY_SEEDS``; a few without it. This command runs cells and prints the table (alarms, processor seconds)::

    python -m tests.quality.silence --seeds 500 --out silence.jsonl -k "raft and chaos"

It goes on where ``--out`` stopped: cells that are in the file with as many seeds are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence._engine.run.outcome import Outcome
from pytest_convergence.errors import RunFailure

__all__ = ["FAULTS", "NETWORKS", "SEEDS", "SWEEPING", "alarms", "silent"]

_SEEDS: Final = "CONVERGENCE_QUALITY_SEEDS"
_OUT: Final = "CONVERGENCE_QUALITY_OUT"

SWEEPING: Final = _SEEDS in os.environ
"""Whether many seeds are asked for: then tests that are lavish with cells are not sparing with seeds."""

SEEDS: Final = int(os.environ.get(_SEEDS, "6"))
"""Under how many seeds each profile is run."""

NETWORKS: Final = ("perfect", "lan", "wan", "lossy", "flaky", "chaos")
FAULTS: Final = ("crash", "partition", "pause")

_SHOWN: Final = 10

Given = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]


def alarms(
    options: Given,
    inputs: Given | None = None,
    seeds: int | Iterable[int] = SEEDS,
    *,
    scenario: Any = None,
    accept: Callable[[Outcome], bool] = lambda outcome: outcome.converged,
) -> dict[int, str]:
    """Run the session under each seed; return what went wrong, by seed.

    Args:
        options: of ``create_session``, or a function from the seed to them. Without ``faults`` they are :data:`FAULTS`.
        inputs: of ``Session.run``, or a function from the seed to them.
        scenario: the coroutine function that drives the session, if one does.
        accept: whether an outcome is as it should be; by default it must have converged.
    """
    found: dict[int, str] = {}
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        chosen = {
            "faults": list(FAULTS),
            "trace": False,
            "real_timeout": None,
            **_of(options, seed),
            "seed": seed,
        }
        session = ConvergenceEngine().create_session(f"seed {seed}", **chosen)
        try:
            outcome = session.run(scenario, **_of(inputs or {}, seed))
        except (RunFailure, TimeoutError, AssertionError) as failure:
            found[seed] = f"{type(failure).__name__}: {failure}"
            continue
        if not accept(outcome):
            found[seed] = f"{outcome.state.value}, {outcome.reasons}, output {outcome.output!r}"
    return found


def silent(
    options: Given,
    inputs: Given | None = None,
    seeds: int | Iterable[int] = SEEDS,
    **more: Any,
) -> None:
    """Assert that :func:`alarms` finds nothing."""
    cell = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
    seeds = range(seeds) if isinstance(seeds, int) else tuple(seeds)
    count = len(seeds)
    if (cell, count) in _done():
        pytest.skip(f"{os.environ[_OUT]} has it")
    began = time.process_time()
    found = alarms(options, inputs, seeds, **more)
    _note({"cell": cell, "seeds": count, "seconds": round(time.process_time() - began, 1), "alarms": found})
    shown = "\n".join(f"seed {seed}: {what}" for seed, what in list(found.items())[:_SHOWN])
    assert not found, f"{len(found)} false alarms:\n{shown}"


def _of(given: Given, seed: int) -> Mapping[str, Any]:
    return given(seed) if callable(given) else given


# -- the table -----------------------------------------------------------------------------------------------------------


def _note(record: Mapping[str, Any]) -> None:
    if _OUT in os.environ:
        with Path(os.environ[_OUT]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _done() -> set[tuple[str, int]]:
    if _OUT not in os.environ:
        return set()
    return {(each["cell"], each["seeds"]) for each in _records(Path(os.environ[_OUT])) if not each["alarms"]}


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """A row per test, a column per network: seeds, alarms if there were any, and processor seconds."""
    rows: dict[str, dict[str, str]] = {}
    for each in records:
        module, _, name = each["cell"].rpartition("::")
        test, _, given = name.rstrip("]").partition("[")
        network = next((network for network in NETWORKS if network in given.split("-")), "one")
        others = "-".join(part for part in given.split("-") if part != network)
        row = (
            f"{Path(module).stem.removeprefix('test_silent_')}: {test.removeprefix('test_')} {others}".strip()
        )
        alarmed = f", {len(each['alarms'])} ALARMS" if each["alarms"] else ""
        rows.setdefault(row, {})[network] = f"{each['seeds']}{alarmed} ({each['seconds']:.0f} s)"
    columns = [name for name in (*NETWORKS, "one") if any(name in row for row in rows.values())]
    lines = [f"| agents | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row, cells in sorted(rows.items()):
        lines.append(f"| {row} | {' | '.join(cells.get(name, '') for name in columns)} |")
    return "\n".join(lines)


def main() -> int:
    """Run cells under many seeds and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality.silence")
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds each cell is run under")
    parser.add_argument(
        "--out", default="silence.jsonl", help="the file to which each cell is added when it is done"
    )
    parser.add_argument("-k", default="", dest="cells", help="which cells, as pytest's -k")
    parser.add_argument("--table", action="store_true", help="only print the table of what the file holds")
    given = parser.parse_args()
    status = 0
    if not given.table:
        environment = {**os.environ, _SEEDS: str(given.seeds), _OUT: str(Path(given.out).resolve())}
        files = sorted(str(path) for path in Path(__file__).parent.glob("test_silent_*.py"))
        options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-k", given.cells]
        status = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files], env=environment, check=False
        ).returncode
    sys.stdout.write(f"{table(_records(Path(given.out)))}\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())

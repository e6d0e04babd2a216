"""Runs the probes: several times in a process, in several processes with different pasts, under several hash seeds."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Final

from pytest_convergence._engine.run.engine import ConvergenceEngine
from pytest_convergence.errors import RunFailure, SimulationEscapeError
from tests.determinism.probes import machine, orders
from tests.determinism.probes.catalogue import PROBES, Probe

__all__ = ["HASH_SEEDS", "Sight", "line", "look_everywhere", "look_here", "look_there", "verdict"]

RUNS: Final = 3
PROCESSES: Final = 4
HASH_SEEDS: Final = ("0", "1", "4294967295")
REFUSED: Final = "refused: "

_ROOT: Final = Path(__file__).parents[3]
_MODULES: Final = (orders, machine)  # imported because importing them fills the catalogue

Sight = Mapping[str, list[str]]
"""What each probe saw in the runs of one process."""


def look(probe: Probe) -> str:
    """Run a probe once; return what it saw and the digest of its trace, or what it was told."""
    session = ConvergenceEngine().create_session("probe", seed=11, network="lossy")
    session.host("prober", probe.program, process=probe.process)
    try:
        outcome = session.run()
    except (RunFailure, SimulationEscapeError) as failure:
        return f"{REFUSED}{failure}".partition("\n")[0]
    return f"{outcome.results['prober']!r} {outcome.trace.digest()}"


def look_here(past: int, only: str = "") -> Sight:
    """Run the probes several times in this process, which has had more to do before, the greater its ``past``."""

    async def live() -> None:
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(past * 7)))

    asyncio.run(live())
    kept = [[random.random()] for _ in range(past * 997)]
    # All of them once, then all of them again: between two runs of a probe lie those of all others.
    probes = {name: probe for name, probe in PROBES.items() if only in name}
    rounds = [{name: look(probe) for name, probe in probes.items()} for _ in range(RUNS)]
    assert len(kept) == past * 997
    return {name: [each[name] for each in rounds] for name in probes}


def look_there(past: int, hash_seed: str, only: str = "") -> Sight:
    """Do so in another process."""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.determinism.probes", "--past", str(past), only],
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert answer.returncode == 0, answer.stderr
    sight: Sight = json.loads(answer.stdout)
    return sight


def look_everywhere(workers: int = 2) -> list[Sight]:
    """Run the probes in all processes under all hash seeds."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda given: look_there(*given), product(range(PROCESSES), HASH_SEEDS)))


def verdict(name: str, sights: Iterable[Sight]) -> str:
    """Return ``same``, ``refused``, or how many different things the probe saw."""
    seen = {each for sight in sights for each in sight[name]}
    if len(seen) > 1:
        return f"{len(seen)} differ"
    return "refused" if next(iter(seen)).startswith(REFUSED) else "same"


def line(name: str, sights: Iterable[Sight]) -> str:
    """One line of the table."""
    return f"| {name} | {verdict(name, sights)} |"

"""The same schedule gives the same trace, byte for byte: in every process, worker, hash seed and supported Python.

Each test compares with the committed digests, so the environments are compared with each other through the file.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.determinism.scenarios import DIGESTS, SCENARIOS, digest_of

GOLDEN = json.loads(DIGESTS.read_text())


def test_the_file_of_digests_names_every_scenario():
    assert list(GOLDEN) == list(SCENARIOS)
    assert len(SCENARIOS) >= 20
    assert len(set(GOLDEN.values())) == len(GOLDEN)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_has_the_digest_of_every_other_environment(name: str):
    assert digest_of(name) == GOLDEN[name]


@pytest.mark.parametrize("name", ["sets_of_tasks", "entropy", "gossip_in_chaos"])
def test_a_warm_run_equals_a_cold_one(name: str):
    assert [digest_of(name), digest_of(name)] == [GOLDEN[name]] * 2


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295"])
def test_digests_are_equal_in_another_process_under_another_hash_seed(hash_seed: str, repository: Path):
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.determinism.scenarios"],
        cwd=repository,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert json.loads(answer.stdout) == GOLDEN

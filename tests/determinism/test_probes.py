"""Each source of chance in asyncio programs gives the same in every run of every process, or is refused.

Three processes with different pasts and hash seeds stand for the twelve of ``python -m tests.determinism.probes``.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.determinism.probes.catalogue import PROBES
from tests.determinism.probes.running import HASH_SEEDS, Sight, look_there, verdict


@pytest.fixture(scope="module")
def sights() -> list[Sight]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(look_there, range(len(HASH_SEEDS)), HASH_SEEDS))


def test_there_are_probes_for_all_known_sources():
    assert len(PROBES) >= 37


@pytest.mark.parametrize("name", [name for name, probe in PROBES.items() if not probe.unpinned])
def test_what_a_program_sees_is_the_same_everywhere_or_refused(name: str, sights: list[Sight]):
    seen = "\n".join(sorted({each for sight in sights for each in sight[name]}))
    assert verdict(name, sights) == ("refused" if PROBES[name].refused else "same"), seen


def test_what_depends_on_hashes_of_strings_is_the_same_under_one_hash_seed():
    name = "a set of strings"
    assert len({look_there(past, "7", name)[name][0] for past in (0, 1)}) == 1

"""``--convergence-isolate`` under xdist: workers fork for each run, also where they share the schedules of a test."""

import os

import pytest

from tests.plugin.conftest import AGENTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="isolated runs are forked")

_LEAKING = """
SEEN = []

@pytest.mark.convergence(agents=PAIR, network="lossy", schedules=6)
def test_leaking(convergence_session):
    convergence_session.run()
    SEEN.append(convergence_session.schedule.noise)
    assert len(SEEN) == 1

def test_afterwards():
    assert SEEN == []
"""


@pytest.mark.parametrize("more", [(), ("--convergence-spread",)])
def test_workers_of_xdist_isolate_their_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    pytest.importorskip("xdist")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_suite=AGENTS + _LEAKING)
    options = (
        "-p",
        "convergence",
        "-p",
        "xdist",
        "-p",
        "no:cacheprovider",
        "-n2",
        "--convergence-isolate",
        *more,
    )
    result = pytester.runpytest_subprocess(*options)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["6 schedules explored; *"])

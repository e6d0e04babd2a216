"""Metrics: names, values, the private registry, the file."""

import json

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pytest_convergence.metrics import BUCKETS, Tally, registry_of
from tests.plugin.conftest import RunSuite

_SUITE = """
@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_plain(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(pattern="consensus", agents=3)
def test_consensus(convergence_session):
    convergence_session.run(proposals={"agent-1": "A", "agent-2": "A", "agent-3": "B"})
"""
_NUMBERS = {
    "pattern": "consensus", "outcome": "converged", "sent": 5, "received": 4, "lost": 1, "duplicated": 2,
    "protocol_messages": 3, "rounds": 2, "conflicts": 1, "unresolved": 0, "handoffs": 0, "crashes": 1, "events": 9,
    "virtual_seconds": 30.5, "real_seconds": 0.25, "convergence_seconds": 12.0, "agents": 3,
}  # fmt: skip


def _samples(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a text file by name and label values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_file_has_the_numbers_of_all_sessions(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    run_suite(_SUITE, "--convergence-metrics=metrics.prom").assert_outcomes(passed=2)
    samples = _samples((pytester.path / "metrics.prom").read_text(encoding="utf-8"))
    assert samples["convergence_sessions_total", "converged", "none"] == 2
    assert samples["convergence_sessions_total", "converged", "consensus"] == 1
    assert samples["convergence_schedules_total",] == 3
    assert samples["convergence_messages_total", "sent"] >= 4
    assert samples["convergence_virtual_seconds_total",] >= 60
    assert samples["convergence_time_to_converge_seconds_count", "none"] == 2


def test_every_counter_of_a_tally_is_shown() -> None:
    tally = Tally()
    tally.add(_NUMBERS)
    tally.schedules = 4
    samples = _samples(prometheus_client.generate_latest(registry_of(tally)).decode())
    expected = {
        ("convergence_messages_total", "sent"): 5,
        ("convergence_messages_total", "received"): 4,
        ("convergence_messages_total", "lost"): 1,
        ("convergence_messages_total", "duplicated"): 2,
        ("convergence_protocol_messages_total",): 3,
        ("convergence_rounds_total", "consensus"): 2,
        ("convergence_conflicts_total",): 1,
        ("convergence_unresolved_conflicts_total",): 0,
        ("convergence_handoffs_total",): 0,
        ("convergence_crashes_total",): 1,
        ("convergence_events_total",): 9,
        ("convergence_virtual_seconds_total",): 30.5,
        ("convergence_real_seconds_total",): 0.25,
        ("convergence_schedules_total",): 4,
        ("convergence_time_to_converge_seconds_sum", "consensus"): 12.0,
        ("convergence_time_to_converge_seconds_bucket", "10.0", "consensus"): 0,
        ("convergence_time_to_converge_seconds_bucket", "60.0", "consensus"): 1,
        ("convergence_time_to_converge_seconds_bucket", "+Inf", "consensus"): 1,
    }
    assert {name: samples[name] for name in expected} == expected


def test_the_process_wide_registry_stays_as_it_was(run_suite: RunSuite) -> None:
    before = set(prometheus_client.REGISTRY._names_to_collectors)  # noqa: TID251 - to see that it is left alone
    run_suite(_SUITE, "--convergence-metrics=metrics.prom")
    after = set(prometheus_client.REGISTRY._names_to_collectors)  # noqa: TID251
    assert before == after
    assert not any("convergence" in name for name in after)


def test_a_file_without_sessions_is_written_all_the_same(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    run_suite("def test_idle(): pass", "--convergence-metrics=metrics.prom")
    samples = _samples((pytester.path / "metrics.prom").read_text(encoding="utf-8"))
    assert samples["convergence_schedules_total",] == 0


def test_the_ini_key_is_relative_to_the_rootdir(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nconvergence_metrics = out.prom\n")
    run_suite("def test_idle(): pass")
    assert (pytester.path / "out.prom").is_file()


def test_a_file_that_cannot_be_written_is_reported(run_suite: RunSuite) -> None:
    result = run_suite(_SUITE, "--convergence-metrics=no/such/folder/metrics.prom")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["convergence: the metrics could not be written to *no/such/folder/metrics.prom: *"]
    )


def test_tallies_add_up_across_processes() -> None:
    whole, parts = Tally(), [Tally(), Tally()]
    for number, part in enumerate(parts):
        numbers = {**_NUMBERS, "convergence_seconds": 10.0**number, "outcome": "converged"}
        part.add(numbers)
        part.add({**_NUMBERS, "outcome": "failed"})
        part.schedules = 2
        part.note_sometimes("seen by one", bool(number))
        whole.add(numbers)
        whole.add({**_NUMBERS, "outcome": "failed"})
    whole.schedules = 4
    whole.note_sometimes("seen by one", True)
    merged = Tally()
    for part in parts:
        merged.merge(json.loads(json.dumps(part.as_wire())))
    assert merged.as_wire() == whole.as_wire()
    assert merged.patterns["consensus"].slowest_seconds == 10.0


def test_buckets_grow() -> None:
    assert list(BUCKETS) == sorted(set(BUCKETS))

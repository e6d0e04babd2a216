"""Metrics: names, values, the private registry, the file."""

import json

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pytest_convergence._engine.run.outcome import RunMetrics
from pytest_convergence.metrics import BUCKETS, LABELS, Tally, registry_of
from tests.plugin.conftest import RunSuite

_SUITE = """
@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_plain(convergence_session):
    convergence_session.run()

@pytest.mark.convergence(pattern="consensus", agents=3)
def test_consensus(convergence_session):
    convergence_session.run(proposals={"agent-1": "A", "agent-2": "A", "agent-3": "B"})
"""
_NUMBERS = RunMetrics(
    pattern="consensus", outcome="converged", sync="delta", virtual_seconds=30.5, convergence_seconds=12.0,
    real_seconds=0.25, score=0.8, agreement=1.0, agents=3, sent=5, received=4, lost=1, duplicated=2,
    protocol_messages=3, rounds=2, phases=1, iterations=4, sync_operations=6, sync_bytes=700, sync_delivered=5,
    sync_seconds=0.5,
    state_updates=8, state_versions=24, divergence_seconds=0.05, conflicts=2, unresolved=1, conflict_seconds=3.0,
    conflicts_by={"output_conflict/high": 2}, resolutions_by={"merge": 1}, handoffs_requested=4, handoffs=2,
    handoffs_pending=1, handoff_seconds=9.0, handoffs_by={"escalation/completed": 2, "timeout/expired": 1}, elections=2,
    unavailable_seconds=1.5, lost_updates=1, stale_reads=2, duplicate_effects=3, retries=4, dead_letters=5, violations=6,
    crashes=1, faults={"crash": 1, "pause": 2}, events=9,
).as_dict()  # fmt: skip


_EXPECTED = {
    ("convergence_sessions_total", "converged", "consensus"): 1,
    ("convergence_pattern_executions_total", "converged", "consensus"): 1,
    ("convergence_active_sessions", "initializing"): 1,
    ("convergence_messages_total", "sent"): 5,
    ("convergence_messages_total", "received"): 4,
    ("convergence_messages_total", "lost"): 1,
    ("convergence_messages_total", "duplicated"): 2,
    ("convergence_pattern_messages_total", "consensus"): 3,
    ("convergence_rounds_total", "consensus"): 2,
    ("convergence_phases_total", "consensus"): 1,
    ("convergence_iterations_total", "consensus"): 4,
    ("convergence_sync_operations_total", "delta"): 6,
    ("convergence_sync_bytes_total", "delta"): 700,
    ("convergence_sync_latency_seconds_count", "delta"): 5,
    ("convergence_sync_latency_seconds_sum", "delta"): 0.5,
    ("convergence_state_updates_total",): 8,
    ("convergence_state_versions_total",): 24,
    ("convergence_conflicts_total", "high", "output_conflict"): 2,
    ("convergence_conflicts_resolved_total", "merge"): 1,
    ("convergence_conflicts_pending",): 1,
    ("convergence_conflict_duration_seconds_count",): 1,
    ("convergence_conflict_duration_seconds_sum",): 3.0,
    ("convergence_handoffs_requested_total",): 4,
    ("convergence_handoffs_total", "completed", "escalation"): 2,
    ("convergence_handoffs_total", "expired", "timeout"): 1,
    ("convergence_handoffs_pending",): 1,
    ("convergence_handoff_duration_seconds_count",): 3,
    ("convergence_handoff_duration_seconds_sum",): 9.0,
    ("convergence_elections_total", "consensus"): 2,
    ("convergence_unavailable_seconds_total", "consensus"): 1.5,
    ("convergence_lost_updates_total", "consensus"): 1,
    ("convergence_stale_reads_total", "consensus"): 2,
    ("convergence_duplicate_effects_total", "consensus"): 3,
    ("convergence_retries_total", "consensus"): 4,
    ("convergence_dead_letters_total", "consensus"): 5,
    ("convergence_property_violations_total", "consensus"): 6,
    ("convergence_faults_total", "crash"): 1,
    ("convergence_faults_total", "pause"): 2,
    ("convergence_events_total",): 9,
    ("convergence_virtual_seconds_total",): 30.5,
    ("convergence_real_seconds_total",): 0.25,
    ("convergence_schedules_total",): 4,
    ("convergence_session_duration_seconds_sum", "consensus"): 30.5,
    ("convergence_session_score_ratio_bucket", "0.75", "consensus"): 0,
    ("convergence_session_score_ratio_bucket", "0.9", "consensus"): 1,
    ("convergence_session_agents_sum", "consensus"): 3,
    ("convergence_agreement_ratio_sum", "consensus"): 1,
    ("convergence_pattern_duration_seconds_sum", "consensus"): 12.0,
    ("convergence_divergence_window_seconds_sum", "consensus"): 0.05,
    ("convergence_time_to_converge_seconds_sum", "consensus"): 12.0,
    ("convergence_time_to_converge_seconds_bucket", "10.0", "consensus"): 0,
    ("convergence_time_to_converge_seconds_bucket", "60.0", "consensus"): 1,
    ("convergence_time_to_converge_seconds_bucket", "+Inf", "consensus"): 1,
}


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
    tally.note_active("initializing")
    tally.schedules = 4
    samples = _samples(prometheus_client.generate_latest(registry_of(tally)).decode())
    assert {name: samples[name] for name in _EXPECTED} == _EXPECTED


def test_labels_are_few_and_never_a_session_an_agent_or_a_seed() -> None:
    tally = Tally()
    tally.add(_NUMBERS)
    tally.note_active("executing")
    families = list(registry_of(tally).collect())
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels == {*LABELS, "le"}
    assert all(family.name.startswith("convergence_") for family in families)


def test_a_label_may_hold_what_divides_labels() -> None:
    tally = Tally()
    tally.add({**_NUMBERS, "conflicts_by": {"read/write/low": 3}})
    samples = _samples(prometheus_client.generate_latest(registry_of(tally)).decode())
    assert samples["convergence_conflicts_total", "low", "read/write"] == 3


def test_sessions_that_have_not_ended_are_active(run_suite: RunSuite, pytester: pytest.Pytester) -> None:
    run_suite(
        """
@pytest.mark.convergence(agents=PAIR, schedules=2)
def test_forgetful(convergence_session, convergence_session_factory, convergence_engine):
    convergence_session_factory()
    convergence_engine.create_session("made and never run", agents=2)
    convergence_session.run()
""",
        "--convergence-metrics=metrics.prom",
    ).assert_outcomes(passed=1)
    samples = _samples((pytester.path / "metrics.prom").read_text(encoding="utf-8"))
    assert samples["convergence_active_sessions", "initializing"] == 4
    assert samples["convergence_events_total",] > 10


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

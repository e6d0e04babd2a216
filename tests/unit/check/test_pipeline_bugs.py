"""Bugs planted in the machines of a pipeline are caught, each by the property that is meant for it."""

import pytest

from pytest_convergence._engine.patterns.pipeline import Pipeline
from pytest_convergence._engine.patterns.pipeline_agent import PipelineAgent
from tests.unit.check import pipelines
from tests.unit.check.pipelines import PATTERN, caught, trial
from tests.unit.patterns.driver import FAST_RESTART, HEAVY_TAIL, PROFILES, UNIFORM


@pytest.mark.parametrize(
    ("bug", "name", "noise", "seeds", "at_least"),
    [
        pytest.param(pipelines.AcksFirst, "no_acked_loss", FAST_RESTART, 5, 3, id="14 ack before durable"),
        pytest.param(pipelines.SyncsLast, "reply_before_sync", UNIFORM, 5, 5, id="14 ack before sync"),
        pytest.param(pipelines.NoKey, "effect_at_most_once", UNIFORM, 5, 4, id="15 no idempotency key"),
        pytest.param(
            pipelines.DedupInMemory, "effect_at_most_once", FAST_RESTART, 10, 3, id="16 dedup in memory"
        ),
        pytest.param(pipelines.SeveralInFlight, "per_key_order", HEAVY_TAIL, 5, 3, id="17 several in flight"),
        pytest.param(pipelines.RetriesForEver, "bounded_retry", UNIFORM, 3, 3, id="18 retried for ever"),
        pytest.param(pipelines.DropsPoison, "dlq_complete", UNIFORM, 3, 3, id="18 dropped"),
        pytest.param(pipelines.DropsPoison, "conservation", UNIFORM, 3, 3, id="18 dropped, and counted"),
        pytest.param(pipelines.CountsInMemory, "bounded_retry", FAST_RESTART, 10, 4, id="counts in memory"),
        pytest.param(pipelines.NoBackpressure, "backpressure", HEAVY_TAIL, 10, 4, id="no backpressure"),
        pytest.param(pipelines.DropsWhenFull, "no_acked_loss", UNIFORM, 3, 3, id="drops when full"),
        pytest.param(pipelines.SkipsAStage, "no_unexpected", UNIFORM, 3, 3, id="skips a stage"),
        pytest.param(
            pipelines.CountsDeadLettersAsDone, "conservation", UNIFORM, 3, 3, id="counts dead letters as done"
        ),
        pytest.param(pipelines.LosesTheError, "dlq_complete", UNIFORM, 3, 3, id="loses the error"),
        pytest.param(
            pipelines.ForgetsTheJournal, "effect_at_most_once", FAST_RESTART, 5, 4, id="forgets the journal"
        ),
    ],
)
def test_a_bug_in_a_pipeline_is_caught(bug, name, noise, seeds, at_least):
    assert caught(bug, name, noise, seeds) >= at_least


@pytest.mark.parametrize("noise", PROFILES, ids=["uniform", "fast", "tail"])
@pytest.mark.parametrize(
    "pattern",
    [PATTERN, Pipeline(mode="at-least-once", order_by=PATTERN.order_by, max_attempts=3, feeder="c")],
    ids=["effectively-once", "at-least-once"],
)
def test_a_pipeline_without_a_bug_is_silent(noise, pattern):
    assert {
        seed: broken for seed in range(10) if (broken := trial(PipelineAgent, seed, noise, pattern))
    } == {}

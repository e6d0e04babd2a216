"""Suspicion of failed agents: the formulas on public vectors, and the detectors' behaviour."""

import json
import math

import pytest

from pytest_convergence._engine.patterns.failure_detector import PhiAccrual, Suspicion, normal_cdf, phi


@pytest.fixture
def phi_vectors(vectors):
    return json.loads((vectors / "failure_detection" / "phi_accrual.json").read_text("utf-8"))


@pytest.fixture
def suspicion_vectors(vectors):
    return json.loads((vectors / "failure_detection" / "suspicion_timeout.json").read_text("utf-8"))


def test_the_normal_distribution_is_that_of_the_vectors(phi_vectors):
    assert phi_vectors["cdf"]
    for case in phi_vectors["cdf"]:
        found = normal_cdf(case["t"], case["mean"], case["std"])
        assert found == pytest.approx(case["expect"], abs=case["tol"]), case


def test_phi_is_that_of_the_vectors(phi_vectors):
    assert phi_vectors["phi"]
    for case in phi_vectors["phi"]:
        found = phi(case["t"], case["mean"], case["std"])
        assert found == pytest.approx(case["expect"], abs=case["tol"]), case


def test_the_detector_judges_availability_as_the_vectors_do(phi_vectors):
    assert phi_vectors["detector"]
    for case in phi_vectors["detector"]:
        detector = PhiAccrual(
            threshold=case["threshold"],
            first_estimate=1000,
            least_deviation=100,
            acceptable_pause=case["acceptable_pause"],
        )
        for at in case["heartbeats"]:
            detector.heartbeat(at)
        for at, available in case["available"].items():
            assert detector.is_available(float(at)) is available, (case, at)


def test_mean_and_variance_of_the_window_are_those_of_the_vectors(phi_vectors):
    assert phi_vectors["history"]
    for case in phi_vectors["history"]:
        detector = PhiAccrual(window=case["max"], first_estimate=1, least_deviation=1)
        detector.forget()
        for sample in case["samples"]:
            detector.sample(sample)
        assert detector.mean == pytest.approx(case["mean"])
        assert detector.variance == pytest.approx(case["variance"])


def test_a_suspect_has_the_time_of_the_vectors(suspicion_vectors):
    assert suspicion_vectors["cases"]
    for case in suspicion_vectors["cases"]:
        suspicion = Suspicion(0, expected=case["k"], shortest=case["min_s"], longest=case["max_s"])
        for number in range(case["n"]):
            suspicion.confirm(f"agent-{number}")
        remaining = math.floor(suspicion.remaining(case["elapsed_s"]) * 1000) / 1000
        assert remaining == pytest.approx(case["remaining_s"], abs=0.01), case


def test_phi_grows_with_the_silence_and_has_no_end():
    detector = PhiAccrual(first_estimate=10, least_deviation=1)
    detector.heartbeat(0)
    levels = [detector.phi(at) for at in (1, 10, 20, 40, 1000)]
    assert levels == sorted(levels)
    assert levels[-1] > 100
    assert detector.is_available(10)
    assert not detector.is_available(1000)


def test_nobody_is_suspected_before_its_first_heartbeat():
    assert PhiAccrual(first_estimate=10, least_deviation=1).phi(1_000_000) == 0


def test_an_interval_in_which_the_agent_was_suspected_is_not_taken_for_usual():
    detector = PhiAccrual(first_estimate=10, least_deviation=1)
    for at in range(0, 100, 10):
        detector.heartbeat(at)
    before = detector.mean
    detector.heartbeat(10_000)
    assert detector.mean == before


def test_each_confirmation_counts_once():
    suspicion = Suspicion(0, expected=3, shortest=2, longest=30)
    suspicion.confirm("a")
    suspicion.confirm("a")
    assert suspicion.confirmations == 1


def test_a_suspicion_that_nobody_could_confirm_is_as_short_as_can_be():
    assert Suspicion(0, expected=0, shortest=2, longest=30).remaining(0) == 2

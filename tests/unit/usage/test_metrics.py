"""The metrics say what happened to a request."""

import pytest
from prometheus_client import CollectorRegistry

from phi3_bento import __version__
from phi3_bento.core import Operation, RequestRecord, TokenCount
from phi3_bento.usage.metrics import LATENCY_BUCKETS_S, Metrics

CHAT = {"operation": "chat"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def record(outcome: str = "ok", first_piece_at: float | None = 100.2) -> RequestRecord:
    return RequestRecord(
        Operation.CHAT,
        "secret-id",
        started_at=100.0,
        first_piece_at=first_piece_at,
        ended_at=103.0,
        outcome=outcome,
        let_in=True,
        stream=True,
        predicted_s=0.5,
        tokens=TokenCount(prompt=7, cached=2, completion=3),
    )


def test_a_request_is_counted_by_its_outcome_and_timed(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for outcome in ("ok", "ok", "aborted"):
        metrics.observe(record(outcome))
    value = registry.get_sample_value
    assert value("phi3_requests_total", {**CHAT, "outcome": "ok"}) == 2
    assert value("phi3_requests_total", {**CHAT, "outcome": "aborted"}) == 1
    assert value("phi3_request_duration_seconds_sum", CHAT) == pytest.approx(9)
    assert value("phi3_time_to_first_piece_seconds_sum", CHAT) == pytest.approx(0.6)
    assert value("phi3_first_token_prediction_error_seconds_sum") == pytest.approx(0.9)
    kinds = ("prompt", "cached", "completion")
    counted = [value("phi3_tokens_total", {"kind": kind}) for kind in kinds]
    assert counted == [21, 6, 9]


def test_hits_are_counted_by_where_they_were_found_with_what_they_saved(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for tier in ("memory", "warm", "warm"):
        hit = record()
        hit.cache_status, hit.cache_tier, hit.saved_s = "hit", tier, 1.25
        metrics.observe(hit)
    missed = record()
    missed.cache_status = "miss"
    metrics.observe(missed)
    value = registry.get_sample_value
    assert value("phi3_cache_hits_total", {"tier": "memory"}) == 1
    assert value("phi3_cache_hits_total", {"tier": "warm"}) == 2
    assert value("phi3_cache_requests_total", {"result": "hit"}) == 3
    assert value("phi3_cache_saved_seconds_total") == 3.75


def test_a_request_without_an_answer_has_no_time_to_its_first_piece(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.observe(record("engine_failure", first_piece_at=None))
    assert registry.get_sample_value("phi3_request_duration_seconds_count", CHAT) == 1
    assert not registry.get_sample_value("phi3_time_to_first_piece_seconds_count", CHAT)


def test_the_objective_of_300_ms_has_a_bucket_and_neighbours() -> None:
    assert list(LATENCY_BUCKETS_S) == sorted(LATENCY_BUCKETS_S)
    at = LATENCY_BUCKETS_S.index(0.3)
    assert LATENCY_BUCKETS_S[at - 1] >= 0.2
    assert LATENCY_BUCKETS_S[at + 1] <= 0.4


def test_the_build_is_named(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.name_build("phi-3-mini")
    labels = {"version": __version__, "model": "phi-3-mini"}
    assert registry.get_sample_value("phi3_build_info", labels) == 1


def test_names_are_ours_and_labels_hold_nothing_of_a_request(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.observe(record())
    metrics.name_build("phi-3-mini")
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert all(sample.name.startswith("phi3_") for sample in samples)
    assert "secret-id" not in str(samples)
    assert {label for sample in samples for label in sample.labels} == {
        *("operation", "outcome", "le", "version", "model", "kind")
    }

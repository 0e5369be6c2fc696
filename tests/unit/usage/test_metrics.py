"""The metrics say what happened to requests."""

import pytest
from prometheus_client import CollectorRegistry

from phi3_bento import __version__
from phi3_bento.call import Exchange
from phi3_bento.core import TokenCount
from phi3_bento.errors import InvalidApiKey, RateLimited, Unavailable
from phi3_bento.record import Fault, RequestRecord
from phi3_bento.usage.batch_histogram import (
    LATENCY_BUCKETS_S,
    OBJECTIVE_BUCKETS_S,
    BatchHistogram,
)
from phi3_bento.usage.metrics import Metrics
from phi3_bento.usage.tally import Tally, light_kind
from tests.unit.usage.records import exchange, generated, hit, record

CHAT = {"operation": "chat"}


class Told:
    """What the metrics say after having been told of requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)

    def of(self, *what: RequestRecord | Exchange) -> "Told":
        tally = Tally(self.metrics)
        for each in what:
            tally.hear(each)
        tally.take()()
        return self

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_request_is_counted_by_its_outcome_and_timed(told: Told) -> None:
    told.of(record(), record()).of(record("aborted"))
    ended = [
        told.value("phi3_requests_total", **CHAT, outcome=outcome, fault="none")
        for outcome in ("ok", "aborted")
    ]
    assert ended == [2, 1]
    assert told.value("phi3_request_duration_seconds_sum", **CHAT) == pytest.approx(9)
    assert told.value("phi3_time_to_first_piece_seconds_sum", **CHAT) == pytest.approx(0.6)
    assert told.value("phi3_first_token_prediction_error_seconds_sum") == pytest.approx(0.9)
    kinds = ("prompt", "cached", "completion")
    counted = [told.value("phi3_tokens_total", kind=kind) for kind in kinds]
    assert counted == [21, 6, 9]


def test_hits_are_counted_by_where_they_were_found_with_what_they_saved(told: Told) -> None:
    told.of(hit("memory"), hit("warm"), hit("warm"), record(cache_status="miss"))
    assert told.value("phi3_cache_hits_total", tier="memory") == 1
    assert told.value("phi3_cache_hits_total", tier="warm") == 2
    assert told.value("phi3_cache_requests_total", result="hit") == 3
    assert told.value("phi3_cache_saved_seconds_total") == 3.75


def test_a_request_without_an_answer_has_no_time_to_its_first_piece(told: Told) -> None:
    told.of(record("engine_failure", first_piece_at=None))
    assert told.value("phi3_request_duration_seconds_count", **CHAT) == 1
    assert not told.value("phi3_time_to_first_piece_seconds_count", **CHAT)


def test_the_engines_work_is_told_by_phase(told: Told) -> None:
    told.of(generated())
    phases = [
        told.value("phi3_engine_phase_seconds_sum", phase=phase)
        for phase in ("queue", "prefill", "decode")
    ]
    assert phases == pytest.approx([0.05, 0.1, 2.7])


def test_a_refusal_names_where_why_and_whose_fault(told: Told) -> None:
    refused = record(let_in=False, first_piece_at=None)
    refused.outcome = refused.blame(RateLimited("Slowly.", limit="tokens_per_day"))
    told.of(refused, exchange(refused, status=429))
    labels = {"reason": "rate_limit_exceeded", "fault": "client"}
    assert told.value("phi3_refusals_total", stage="pipeline", **labels) == 1
    assert told.value("phi3_refusals_total", stage="door", **labels) is None
    assert told.value("phi3_limit_refusals_total", limit="tokens_per_day") == 1
    told.of(exchange(status=401, refusal=InvalidApiKey("Who?")))
    told.of(exchange(status=503, refusal=Unavailable("No key store.")))
    door = {"stage": "door", "reason": "invalid_api_key", "fault": "client"}
    assert told.value("phi3_refusals_total", **door) == 1
    door = {"stage": "door", "reason": "service_unavailable", "fault": "service"}
    assert told.value("phi3_refusals_total", **door) == 1


def test_what_fails_after_it_was_let_in_is_no_refusal(told: Told) -> None:
    told.of(record("engine_failure", fault=Fault.SERVICE))
    failed = {"outcome": "engine_failure", "fault": "service"}
    assert told.value("phi3_requests_total", **CHAT, **failed) == 1
    reason = {"reason": "engine_failure", "fault": "service"}
    assert told.value("phi3_refusals_total", stage="pipeline", **reason) is None


def test_http_requests_are_counted_by_template_method_and_class(told: Told) -> None:
    told.of(exchange(record()), exchange(status=404), exchange(method="BREW"))
    handler = {"handler": "/v1/chat/completions"}
    posted = [
        told.value("http_requests_total", **handler, method="POST", status=status)
        for status in ("2xx", "4xx")
    ]
    assert posted == [1, 1]
    assert told.value("http_requests_total", **handler, method="other", status="2xx") == 1
    duration = "http_request_duration_seconds_sum"
    assert told.value(duration, **handler, method="POST") == pytest.approx(6)
    assert told.value("phi3_stage_seconds_count", stage="auth") == 3


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("hit", {"cache_status": "hit"}),
        ("first_token", {"stream": True}),
        ("first_token", {"tokens": TokenCount(132, cached=100, completion=50)}),
        ("decision", {"stream": False, "tokens": TokenCount(20, completion=1)}),
        (None, {"stream": False, "tokens": TokenCount(20, completion=2)}),
        (None, {"tokens": TokenCount(133, cached=100)}),
        (None, {"cache_status": "collapsed"}),
        (None, {"outcome": "aborted"}),
    ],
)
def test_light_is_what_the_objective_says(kind: str | None, facts: dict[str, object]) -> None:
    assert light_kind(record(**facts)) == kind


def test_only_light_requests_count_for_the_objective(told: Told) -> None:
    told.of(record(), record(tokens=TokenCount(500)))
    count = "phi3_light_request_seconds_count"
    assert told.value(count, kind="first_token") == 1


@pytest.mark.parametrize("buckets", [LATENCY_BUCKETS_S, OBJECTIVE_BUCKETS_S])
def test_the_objective_of_300_ms_has_a_bucket_and_neighbours(buckets: tuple[float, ...]) -> None:
    assert list(buckets) == sorted(buckets)
    at = buckets.index(0.3)
    assert buckets[at - 1] >= 0.2
    assert buckets[at + 1] <= 0.4


def test_many_values_fall_into_the_buckets_that_each_would() -> None:
    one, many = CollectorRegistry(), CollectorRegistry()
    values = [0.0, 0.5, 1.0, 1.5, 2.0, 99.0, 1.0]
    single = BatchHistogram("x", "x", buckets=(0.5, 1.0, 2.0), registry=one)
    for value in values:
        single.observe(value)
    BatchHistogram("x", "x", buckets=(0.5, 1.0, 2.0), registry=many).observe_all(values)

    def samples(registry: CollectorRegistry) -> list[tuple[str, str, float]]:
        found = [sample for family in registry.collect() for sample in family.samples]
        return [
            (sample.name, str(sample.labels), sample.value)
            for sample in found
            if not sample.name.endswith("_created")
        ]

    assert samples(one) == samples(many)


def test_the_build_is_named(told: Told) -> None:
    told.metrics.name_build("phi-3-mini", "0.32.0")
    labels = {"version": __version__, "model": "phi-3-mini", "vllm": "0.32.0"}
    assert told.value("phi3_build_info", **labels) == 1


def test_names_are_ours_and_labels_hold_nothing_of_a_request(told: Told) -> None:
    told.of(generated(), exchange(generated(), x_request_id="secret-id"))
    samples = [sample for family in told.registry.collect() for sample in family.samples]
    assert all(sample.name.startswith(("phi3_", "http_request")) for sample in samples)
    assert "secret-id" not in str(samples)
    assert {label for sample in samples for label in sample.labels} == {
        *("operation", "outcome", "fault", "le", "kind", "result", "stage", "phase"),
        *("handler", "method", "status", "reason", "limit"),
    }

"""Every metric of the service, declared once; vLLM's and BentoML's own families stand beside them.

BentoML merges the values of all worker processes, so gauges say how (`multiprocess_mode`).
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from phi3_bento import __version__
from phi3_bento.core import RequestRecord

LATENCY_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Fine around the objective of 300 ms; vLLM's own buckets start there and hide it."""


class Metrics:
    """The service's metric families; `observe` reports one finished request."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.requests = Counter(
            "phi3_requests",
            "Requests that reached the engine's stage, by operation and outcome: ok, aborted "
            "(the client hung up), or the code of the error.",
            ["operation", "outcome"],
            registry=registry,
        )
        self.duration = Histogram(
            "phi3_request_duration_seconds",
            "Time from the request to the end of its answer.",
            ["operation"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.time_to_first_piece = Histogram(
            "phi3_time_to_first_piece_seconds",
            "Time from the request to the first piece of its answer; for a stream, the time to "
            "the first token.",
            ["operation"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.tokens = Counter(
            "phi3_tokens",
            "Tokens of requests that were let in: of their prompts, of these what the engine had "
            "in its KV cache, and of their answers.",
            ["kind"],
            registry=registry,
        )
        self.prediction_error = Histogram(
            "phi3_first_token_prediction_error_seconds",
            "How far admission's prediction of the time to the first token was off, of streams.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.cache_results = Counter(
            "phi3_cache_requests",
            "Requests for an answer that may be kept, by what the cache made of them: hit, "
            "collapsed (shared a generation under way), miss.",
            ["result"],
            registry=registry,
        )
        self.cache_hits = Counter(
            "phi3_cache_hits",
            "Hits by where the answer was found: memory (of this process), store (SQLite or "
            "Redis), warm (the pack of PHI3_WARM_CACHE), semantic (of a question that means the "
            "same).",
            ["tier"],
            registry=registry,
        )
        self.cache_saved = Counter(
            "phi3_cache_saved_seconds",
            "Seconds that the answers of all hits took when they were generated.",
            registry=registry,
        )
        self.cache_alerts = Counter(
            "phi3_cache_alerts",
            "What went wrong with kept answers, none of it ever an answer: tampered (not what had "
            "been kept), foreign (of another question), read_failed and write_failed (the store), "
            "write_dropped.",
            ["reason"],
            registry=registry,
        )
        self.semantic_audits = Counter(
            "phi3_cache_semantic_audits",
            "Semantic hits that the engine answered anew when it was idle, by what it said: same, "
            "false, unclear.",
            ["result"],
            registry=registry,
        )
        self.semantic_false_ratio = Gauge(
            "phi3_cache_semantic_false_ratio",
            "Between what the share of false semantic hits under the present threshold lies: "
            "bound lower and upper, each with 95 % confidence.",
            ["bound"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.semantic_threshold = Gauge(
            "phi3_cache_semantic_threshold",
            "How similar a question must be to one whose answer it gets; above 0.99 the semantic "
            "tier is off.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.ledger_pending = Gauge(
            "phi3_ledger_pending_rows",
            "Rows of usage that are not durable yet; their answers wait for them.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.in_flight = Gauge(
            "phi3_requests_in_flight",
            "Requests that are being answered now.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.ready = Gauge(
            "phi3_engine_ready",
            "1 while the engine can answer, 0 while it starts, drains, stalls or is dead.",
            multiprocess_mode="livemin",
            registry=registry,
        )
        self.build = Gauge(
            "phi3_build_info",
            "Always 1; the labels name the version and the served model.",
            ["version", "model"],
            multiprocess_mode="livemax",
            registry=registry,
        )

    def name_build(self, model: str) -> None:
        """Say which version serves which model."""
        self.build.labels(version=__version__, model=model).set(1)

    def observe(self, record: RequestRecord) -> None:
        """Report a request that has ended."""
        self.requests.labels(record.operation, record.outcome).inc()
        self.duration.labels(record.operation).observe(record.seconds)
        if record.seconds_to_first_piece is not None:
            self.time_to_first_piece.labels(record.operation).observe(record.seconds_to_first_piece)
        if record.let_in:
            for kind in ("prompt", "cached", "completion"):
                self.tokens.labels(kind).inc(getattr(record.tokens, kind))
        if record.cache_status is not None:
            self.cache_results.labels(record.cache_status).inc()
        if record.cache_tier is not None:
            self.cache_hits.labels(record.cache_tier).inc()
            self.cache_saved.inc(record.saved_s)
        if (error_s := record.prediction_error_s) is not None:
            self.prediction_error.observe(error_s)

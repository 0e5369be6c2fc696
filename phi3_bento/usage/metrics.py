"""Every metric of the service, declared once; vLLM's and BentoML's own families stand beside them.

BentoML merges the values of all worker processes, so gauges say how (`multiprocess_mode`).
`tally.py` counts what happened to requests, `watch.py` says how things stand.
"""

from prometheus_client import REGISTRY, CollectorRegistry

from phi3_bento import __version__
from phi3_bento.usage.batch_histogram import (
    LAG_BUCKETS_S,
    OBJECTIVE_BUCKETS_S,
    STAGE_BUCKETS_S,
)
from phi3_bento.usage.families import Families


class Metrics(Families):
    """The service's metric families."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(registry)
        self._declare_requests()
        self._declare_parts_of_requests()
        self._declare_http()
        self._declare_cache()
        self._declare_semantic_cache()
        self._declare_state()
        self._declare_process()
        self._begin_at_zero()

    def _declare_requests(self) -> None:
        self.requests = self._counter(
            "phi3_requests",
            "Requests to the model, by operation, by outcome (ok, aborted: the client hung up, or "
            "the code of the error), and by whose fault it is that one has no answer: none, "
            "client, service.",
            "operation", "outcome", "fault",
        )  # fmt: skip
        self.refusals = self._counter(
            "phi3_refusals",
            "Requests that were refused before any work was done for them, by where (the door "
            "knows keys, paths and sizes; the pipeline contents, limits and room), the code of the "
            "error, and whose fault it is.",
            "stage", "reason", "fault",
        )  # fmt: skip
        self.limit_refusals = self._counter(
            "phi3_limit_refusals",
            "Requests that a limit has refused, by which: requests_per_minute, tokens_per_minute, "
            "tokens_per_day, concurrent_requests, failed_attempts (an address that guesses keys).",
            "limit",
        )
        self.duration = self._histogram(
            "phi3_request_duration_seconds",
            "Time from the request to the end of its answer.",
            "operation",
        )
        self.time_to_first_piece = self._histogram(
            "phi3_time_to_first_piece_seconds",
            "Time from the request to the first piece of its answer; for a stream, the time to "
            "the first token.",
            "operation",
        )
        self.light_requests = self._histogram(
            "phi3_light_request_seconds",
            "Times that the objective of 300 ms is about, by kind: hit (an answer from the cache), "
            "decision (one token), first_token (of a stream); the last two of at most 32 prompt "
            "tokens that the engine did not have in its KV cache.",
            "kind",
            buckets=OBJECTIVE_BUCKETS_S,
        )

    def _declare_parts_of_requests(self) -> None:
        self.stages = self._histogram(
            "phi3_stage_seconds",
            "What requests spent their time on in this process: auth, cache, semantic.",
            "stage",
            buckets=STAGE_BUCKETS_S,
        )
        self.engine_phases = self._histogram(
            "phi3_engine_phase_seconds",
            "What requests spent their time on in the engine: queue (waiting for their first "
            "step), prefill, decode.",
            "phase",
            buckets=STAGE_BUCKETS_S,
        )
        self.tokens = self._counter(
            "phi3_tokens",
            "Tokens of requests that were let in: of their prompts, of these what the engine had "
            "in its KV cache, and of their answers.",
            "kind",
        )
        self.prediction_error = self._histogram(
            "phi3_first_token_prediction_error_seconds",
            "How far admission's prediction of the time to the first token was off, of streams.",
        )

    def _declare_http(self) -> None:
        """The names that dashboards for vLLM's own server look for."""
        self.http_requests = self._counter(
            "http_requests",
            "HTTP requests by the template of their route (none: no route), method and class of "
            "status.",
            "handler", "method", "status",
        )  # fmt: skip
        self.http_duration = self._histogram(
            "http_request_duration_seconds",
            "Time from an HTTP request's head to the end of its answer.",
            "handler", "method",
        )  # fmt: skip

    def _declare_cache(self) -> None:
        self.cache_results = self._counter(
            "phi3_cache_requests",
            "Requests for an answer that may be kept, by what the cache made of them: hit, "
            "collapsed (shared a generation under way), miss.",
            "result",
        )
        self.cache_hits = self._counter(
            "phi3_cache_hits",
            "Hits by where the answer was found: memory (of this process), store (SQLite or "
            "Redis), warm (the pack of PHI3_WARM_CACHE), semantic (of a question that means the "
            "same).",
            "tier",
        )
        self.cache_saved = self._counter(
            "phi3_cache_saved_seconds",
            "Seconds that the answers of all hits took when they were generated.",
        )
        self.cache_alerts = self._counter(
            "phi3_cache_alerts",
            "What went wrong with kept answers, none of it ever an answer: tampered (not what had "
            "been kept), foreign (of another question), read_failed and write_failed (the store), "
            "write_dropped.",
            "reason",
        )
        self.cache_bytes = self._gauge(
            "phi3_cache_bytes",
            "Memory that kept answers take in this process, by tier: memory, warm.",
            "tier",
            mode="livesum",
        )

    def _declare_semantic_cache(self) -> None:
        self.semantic_audits = self._counter(
            "phi3_cache_semantic_audits",
            "Semantic hits that the engine answered anew when it was idle, by what it said: same, "
            "false, unclear.",
            "result",
        )
        self.semantic_false_ratio = self._gauge(
            "phi3_cache_semantic_false_ratio",
            "Between what the share of false semantic hits under the present threshold lies: "
            "bound lower and upper, each with 95 % confidence.",
            "bound",
        )
        self.semantic_false_limit = self._gauge(
            "phi3_cache_semantic_false_limit_ratio",
            "The share of false semantic hits that is tolerated; 0 without a semantic cache.",
        )
        self.semantic_threshold = self._gauge(
            "phi3_cache_semantic_threshold",
            "How similar a question must be to one whose answer it gets; above 0.99 the semantic "
            "tier is off.",
        )

    def _declare_state(self) -> None:
        self.in_flight = self._gauge(
            "phi3_requests_in_flight", "Requests that are being answered now.", mode="livesum"
        )
        self.waiting = self._gauge(
            "phi3_requests_waiting",
            "Of these, the ones that wait for the engine's first token: the queue.",
            mode="livesum",
        )
        self.waiting_limit = self._gauge(
            "phi3_requests_waiting_limit",
            "How many may wait (PHI3_MAX_WAITING); more are refused.",
            mode="livesum",
        )
        self.ready = self._gauge(
            "phi3_engine_ready",
            "1 while the engine can answer, 0 while it starts, drains, stalls or is dead.",
            mode="livemin",
        )
        self.ledger_pending = self._gauge(
            "phi3_ledger_pending_rows",
            "Rows of usage that are not durable yet; their answers wait for them.",
            mode="livesum",
        )
        self.ledger_journal = self._gauge(
            "phi3_ledger_journal_in_use",
            "1 while rows of usage go to the journal on this disk, because the database fails.",
        )
        self.limits_local = self._gauge(
            "phi3_limits_local",
            "1 while limits are counted in this process alone, because Redis does not answer.",
        )

        self.engine_restarts = self._counter(
            "phi3_engine_restarts",
            "Engines that were replaced, by what was wrong with them: dead, stalled.",
            "reason",
        )

    def _declare_process(self) -> None:
        self.memory = self._gauge(
            "phi3_memory_bytes",
            "Memory by process: engine (EngineCore), worker (this one), frame (BentoML and the "
            "launcher), other; and shared: what they map of files and each other's, counted once.",
            "process",
            mode="mostrecent",
        )
        self.memory_budget = self._gauge(
            "phi3_memory_budget_bytes",
            "What they may take together: PHI3_MEMORY or the cgroup's limit, whichever is less.",
        )
        self.loop_lag = self._histogram(
            "phi3_event_loop_lag_seconds",
            "How late the event loop came to a task that was due, once a second: what every "
            "request waits beside its own work.",
            buckets=LAG_BUCKETS_S,
        )
        self.reports_dropped = self._gauge(
            "phi3_reports_dropped",
            "Requests that are missing in metrics, log and traces, since too many waited there.",
            mode="livesum",
        )
        self.build = self._gauge(
            "phi3_build_info",
            "Always 1; the labels name the version, the served model and vLLM's version.",
            "version", "model", "vllm",
        )  # fmt: skip

    def _begin_at_zero(self) -> None:
        """Have the series there that alerts ask for: of a first failure they would see no rise."""
        self.requests.labels("chat", "engine_failure", "service")
        self.refusals.labels("door", "service_unavailable", "service")
        for reason in ("tampered", "foreign", "read_failed", "write_failed", "write_dropped"):
            self.cache_alerts.labels(reason)
        for limit in ("failed_attempts", "requests_per_minute", "tokens_per_minute"):
            self.limit_refusals.labels(limit)
        for result in ("hit", "collapsed", "miss"):
            self.cache_results.labels(result)

    def name_build(self, model: str, vllm: str | None = None) -> None:
        """Say which version serves which model."""
        self.build.labels(version=__version__, model=model, vllm=vllm or "none").set(1)

"""One HTTP request: what it brought through the door, and how it went out again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from phi3_bento.caller import Caller
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.record import RequestRecord
from phi3_bento.trace_context import TraceContext


@dataclass(slots=True)
class Call:
    """One HTTP request that came through the door; the same for all that it asks for."""

    caller: Caller
    request_id: str
    slo_ttft_ms: int | None = None
    """Deadline to the first token that the request itself names."""
    is_idle: bool = False
    """The request wants to run after everything else."""
    cache_control: str | None = None
    """The header Cache-Control, unread."""
    idempotency_key: str | None = None
    """Of the header Idempotency-Key: sent again, the request gets the same answer."""
    semantic_cache: bool | None = None
    """What the request says of semantic hits; None: what its key says holds."""
    headers: dict[str, str] = field(default_factory=dict)
    """What the stages want to say in the response's headers."""
    started_at: float = field(default_factory=monotonic)
    """Clock of `time.monotonic`, seconds."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds that its stages took, by their names in Server-Timing."""
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """The same as stage, begin and end, on the clock of `started_at`."""
    has_standing: bool = False
    """The limits stand in `headers` already."""
    trace: TraceContext = field(default_factory=lambda: TraceContext.read(None))
    records: list[RequestRecord] = field(default_factory=list)
    """What it has asked of the pipeline: nothing, one request, or a batch of them."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long the block takes."""
        began_at = monotonic()
        try:
            yield
        finally:
            ended_at = monotonic()
            self.timings[stage] = self.timings.get(stage, 0.0) + ended_at - began_at
            self.spans.append((stage, began_at, ended_at))

    def server_timing(self, total: str) -> str:
        """The stages so far and, under the name `total`, all of the time until now."""
        parts = {**self.timings, total: monotonic() - self.started_at}
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts.items())

    @property
    def wants_semantic_cache(self) -> bool:
        """An answer to a question that means the same will do."""
        asked = self.semantic_cache
        return self.caller.semantic_cache if asked is None else asked


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request and its answer, as the door saw them; `usage` reports it."""

    call: Call
    method: str
    route: str
    """The route's template, or one word for all paths that have none; never the path itself."""
    status: int
    refusal: Phi3Error | None = None
    """With what the door itself has answered."""
    ended_at: float = field(default_factory=monotonic)
    """Clock of `time.monotonic`, seconds."""

    @property
    def seconds(self) -> float:
        """From the request's head to the end of its answer."""
        return self.ended_at - self.call.started_at

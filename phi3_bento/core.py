"""The nouns of a request: what the stages hand to each other."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from time import monotonic, time
from typing import Any
from uuid import uuid4

from phi3_bento.errors import Phi3Error, RateLimited
from phi3_bento.trace_context import TraceContext


class Operation(StrEnum):
    """What a request asks of the engine; the value is the metrics label."""

    CHAT = "chat"
    COMPLETION = "completion"
    TOKENIZE = "tokenize"
    DETOKENIZE = "detokenize"

    @property
    def is_generation(self) -> bool:
        """The answer is made token by token, and can be streamed."""
        return self in (Operation.CHAT, Operation.COMPLETION)


class Scope(StrEnum):
    """What a key may be used for."""

    INFERENCE = "inference"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Quota:
    """What a key may use; None: as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrent_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and what they may do: the key that admission has recognised."""

    tenant: str
    key_id: str
    """Public name of the key; never the secret."""
    scopes: frozenset[Scope] = frozenset(Scope)
    models: frozenset[str] | None = None
    """Names of the models that may be asked; None: all."""
    quota: Quota = Quota()
    priority: int = 0
    """Waiting work of a higher priority runs first."""
    slo_ttft_ms: int | None = None
    """The default deadline of a request to its first token; None: no deadline."""
    semantic_cache: bool = False
    """A question that means the same as an earlier one may get its answer."""


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
    records: list["RequestRecord"] = field(default_factory=list)
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


LOCAL_CALLER = Caller(tenant="local", key_id="local")
"""Whoever sits at this very machine, where the service is open."""


@dataclass(slots=True)
class TokenCount:
    """Tokens of one request; the engine counts them up while it works."""

    prompt: int = 0
    cached: int = 0
    """Prompt tokens that the engine had in its KV cache."""
    completion: int = 0

    @property
    def total(self) -> int:
        """What a limit on tokens counts."""
        return self.prompt + self.completion


@dataclass(slots=True)
class EngineTimes:
    """When the engine worked on one request, by `time.monotonic`, 0.0 for not yet; it fills this.

    Of several answers at once: when it worked on the first.
    """

    queued_at: float = 0.0
    scheduled_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0

    def phases(self) -> list[tuple[str, float, float]]:
        """What is known of `queue`, `prefill` and `decode`: each with its begin and end."""
        times = (self.queued_at, self.scheduled_at, self.first_token_at, self.last_token_at)
        steps = zip(("queue", "prefill", "decode"), times, times[1:], strict=False)
        return [(name, begin, end) for name, begin, end in steps if begin and end >= begin]


@dataclass(frozen=True, slots=True)
class PrefixSalt:
    """What separates the KV blocks of tenants, and the beginning of a prompt that all may share."""

    tenant: str
    """Hexadecimal."""
    public_tokens: int = 0
    """Tokens of the public beginning; whole blocks."""
    public_digest: str = ""

    @classmethod
    def of(cls, tenant: str, public: Sequence[int] = ()) -> "PrefixSalt":
        """The salt of a tenant for prompts that begin with the tokens `public`."""
        return cls(tenant, len(public), _digest(public) if public else "")

    @classmethod
    def read(cls, text: str) -> "PrefixSalt":
        """What `str` has written. Raises `ValueError` for what is not of it."""
        tenant, _, public = text.partition(".")
        count, _, digest = public.partition(".")
        return cls(tenant, int(count or 0), digest)

    def __str__(self) -> str:
        public = f".{self.public_tokens}.{self.public_digest}" if self.public_tokens else ""
        return self.tenant + public

    def covers(self, prompt: Sequence[int]) -> bool:
        """The prompt begins with the public tokens and nothing else: only they are shared."""
        return _digest(prompt[: self.public_tokens]) == self.public_digest


def _digest(tokens: Sequence[int]) -> str:
    text = ",".join(str(token) for token in tokens)
    return sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the engine: what it computed, and how long that took."""

    prefill_tokens: int
    decode_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was parsed and checked: the engine can run it as it is."""

    operation: Operation
    request_id: str
    payload: Any
    """The engine's own request object; only the engine that parsed it looks inside."""
    stream: bool = False
    priority: int = 0
    """Waiting jobs of a lower number run first."""
    cache_salt: str | None = None
    """Only jobs of one salt share KV blocks of their prompts; a `PrefixSalt` as text."""
    tokens: TokenCount = field(default_factory=TokenCount)
    times: EngineTimes = field(default_factory=EngineTimes)
    assemble: Callable[[Sequence[bytes]], bytes] | None = None
    """Makes the unstreamed answer of all chunks of a stream with usage; None: it has none."""

    def salted(self, salt: PrefixSalt) -> "Job":
        """The same, sharing KV blocks only with jobs of the same salt."""
        return replace(self, cache_salt=str(salt))


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What `/v1/models` says of the served model."""

    name: str
    max_context_tokens: int
    created: int
    """Unix time in seconds."""
    revision: str = ""
    """Names weights, number formats and engine: of another revision answers may differ."""
    max_sequences: int = 32
    """Sequences that the engine works on at the same time."""
    kv_tokens: int = 2**20
    """Tokens that the KV cache holds."""
    special_tokens: tuple[str, ...] = ()
    """What the tokenizer takes for a control token wherever it stands in a text."""


class State(StrEnum):
    """Where an engine is in its life."""

    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"
    DEAD = "dead"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an engine can answer, and if not, why: a sentence for a person."""

    state: State
    reason: str = ""

    @property
    def is_ready(self) -> bool:
        """The engine answers requests now."""
        return self.state is State.READY

    @property
    def is_alive(self) -> bool:
        """A restart would not help: the engine answers, or is still on its way there."""
        return self.state in (State.READY, State.STARTING)


class Fault(StrEnum):
    """Whose fault it is that a request got no answer; the value is the metrics label."""

    NONE = "none"
    CLIENT = "client"
    SERVICE = "service"


@dataclass(slots=True)
class RequestRecord:
    """The facts of one request; the stages fill it and `usage` reports it at the end."""

    operation: Operation
    request_id: str
    caller: Caller = LOCAL_CALLER
    id: str = field(default_factory=lambda: uuid4().hex)
    """Ours, and unique; a client may send the same request id twice."""
    model: str = ""
    tokens: TokenCount = field(default_factory=TokenCount)
    received_at: float = field(default_factory=time)
    """Unix time in seconds."""
    started_at: float = field(default_factory=monotonic)
    """Clock of `time.monotonic`, seconds."""
    let_in: bool = False
    """Admission has let it in: it is worth a row in the ledger."""
    stream: bool = False
    cache_status: str | None = None
    """`hit`, `collapsed` (it shared another's generation), `miss`; None: the cache had no part."""
    cache_tier: str | None = None
    """Where a hit was found: `memory`, `store`, `warm`."""
    saved_s: float = 0.0
    """Seconds of the engine's work that a hit saved."""
    predicted_s: float | None = None
    """What admission expected the time to the first token to be."""
    first_piece_at: float | None = None
    ended_at: float | None = None
    outcome: str = "aborted"
    """`ok`, `aborted` (the client hung up), or the code of the error."""
    fault: Fault = Fault.NONE
    """Whose fault it is that it has no answer."""
    limit: str | None = None
    """Which limit of its key has refused it."""
    times: EngineTimes | None = None
    """None: the engine did not work for it."""

    def blame(self, error: Phi3Error) -> str:
        """Note whose fault an error is; returns the outcome that it makes."""
        self.fault = Fault.SERVICE if error.is_ours else Fault.CLIENT
        self.limit = error.limit if isinstance(error, RateLimited) else None
        return error.code or error.type

    @property
    def seconds_to_first_piece(self) -> float | None:
        """Time until the first piece of the answer; None before it came."""
        return None if self.first_piece_at is None else self.first_piece_at - self.started_at

    @property
    def prediction_error_s(self) -> float | None:
        """How far the prediction was off; None where it cannot be told, as of a whole answer."""
        actual_s = self.seconds_to_first_piece
        if not self.stream or self.predicted_s is None or actual_s is None:
            return None
        return abs(actual_s - self.predicted_s)

    @property
    def seconds(self) -> float:
        """Time from start to end, or to now while the request runs."""
        return (self.ended_at or monotonic()) - self.started_at


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


async def whole(pieces: AsyncGenerator[bytes, None]) -> bytes:
    """The one piece of an answer that is not a stream.

    Reads to the end: an answer that is left before its end counts as given up by its client.
    """
    async with aclosing(pieces):
        document = await anext(pieces)
        async for _ in pieces:
            pass
    return document

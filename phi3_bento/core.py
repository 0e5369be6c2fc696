"""The nouns of a request's work: what the stages hand to the engine."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from phi3_bento.prefix_salt import PrefixSalt


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


async def whole(pieces: AsyncGenerator[bytes, None]) -> bytes:
    """The one piece of an answer that is not a stream.

    Reads to the end: an answer that is left before its end counts as given up by its client.
    """
    async with aclosing(pieces):
        document = await anext(pieces)
        async for _ in pieces:
            pass
    return document

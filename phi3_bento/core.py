"""The nouns of a request: what the stages hand to each other."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any


class Operation(StrEnum):
    """What a request asks of the engine; the value is the metrics label."""

    CHAT = "chat"
    COMPLETION = "completion"
    TOKENIZE = "tokenize"
    DETOKENIZE = "detokenize"


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was parsed and checked: the engine can run it as it is."""

    operation: Operation
    request_id: str
    payload: Any
    """The engine's own request object; only the engine that parsed it looks inside."""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What `/v1/models` says of the served model."""

    name: str
    max_context_tokens: int
    created: int
    """Unix time in seconds."""


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


@dataclass(slots=True)
class RequestRecord:
    """The facts of one request; the stages fill it and `usage` reports it at the end."""

    operation: Operation
    request_id: str
    started_at: float = field(default_factory=monotonic)
    """Clock of `time.monotonic`, seconds."""
    first_piece_at: float | None = None
    ended_at: float | None = None
    outcome: str = "aborted"
    """`ok`, `aborted` (the client hung up), or the code of the error."""

    @property
    def seconds_to_first_piece(self) -> float | None:
        """Time until the first piece of the answer; None before it came."""
        return None if self.first_piece_at is None else self.first_piece_at - self.started_at

    @property
    def seconds(self) -> float:
        """Time from start to end, or to now while the request runs."""
        return (self.ended_at or monotonic()) - self.started_at


async def whole(pieces: AsyncGenerator[bytes, None]) -> bytes:
    """The one piece of an answer that is not a stream.

    Reads to the end: an answer that is left before its end counts as given up by its client.
    """
    async with aclosing(pieces):
        document = await anext(pieces)
        async for _ in pieces:
            pass
    return document

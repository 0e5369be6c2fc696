"""What an engine says of itself: the model it serves, whether it can answer, what a step took."""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the engine: what it computed, and how long that took."""

    prefill_tokens: int
    decode_tokens: int
    seconds: float

"""The facts of one request, which its stages note and `usage` reports."""

from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic, time
from uuid import uuid4

from phi3_bento.caller import LOCAL_CALLER, Caller
from phi3_bento.core import EngineTimes, Operation, TokenCount
from phi3_bento.errors import RateLimited
from phi3_bento.phi3_error import Phi3Error


class Fault(StrEnum):
    """Whose fault it is that a request got no answer; the value is the metrics label."""

    NONE = "none"
    CLIENT = "client"
    SERVICE = "service"

    @classmethod
    def of(cls, error: Phi3Error) -> "Fault":
        """Whose fault an error is."""
        return cls.SERVICE if error.is_ours else cls.CLIENT


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
        self.fault = Fault.of(error)
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

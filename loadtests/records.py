"""What became of one request, as the client saw it, and the file that a run's records are kept in.

Every time counts from the moment at which the request was meant to start. A client that waits for
a slow server before it asks again would otherwise leave out the requests that suffered most.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OK = "ok"
REFUSING_STATUSES = (429, 503)
REFUSING_CODES = frozenset(
    {"rate_limit_exceeded", "overloaded", "deadline_unmeetable", "service_unavailable"}
)


@dataclass(frozen=True, slots=True)
class Record:
    """One request."""

    name: str
    intended_s: float
    """When it was meant to start, seconds from the start of the load."""
    lag_ms: float
    """How much later the client dispatched it."""
    latency_ms: float
    """From the intended start to the end of the answer."""
    status: int
    """Of HTTP; 0: no answer."""
    outcome: str
    """`ok`, the code of the error, or what happened instead of an answer."""
    cache: str = ""
    """`hit`, `collapsed`, `miss`, `bypass`; empty: the answer did not say."""
    first_ms: float | None = None
    """From the intended start to the first token of a stream."""
    gaps_ms: tuple[float, ...] = ()
    """Between the tokens of a stream."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    retry_after_ms: float | None = None

    @property
    def is_ok(self) -> bool:
        """It was answered, and completely."""
        return self.outcome == OK

    @property
    def is_refused(self) -> bool:
        """The service declined it politely: too much, or not in time."""
        return not self.is_ok and (
            self.status in REFUSING_STATUSES or self.outcome in REFUSING_CODES
        )

    @property
    def is_error(self) -> bool:
        """Neither answered nor refused."""
        return not (self.is_ok or self.is_refused)

    @property
    def ended_s(self) -> float:
        """When its answer was complete, seconds from the start of the load."""
        return self.intended_s + self.latency_ms / 1000


@dataclass(frozen=True, slots=True)
class Run:
    """All records of a run, and what the client itself used."""

    began_at: float
    """Unix time of the start of the load."""
    wall_s: float
    cpu_s: float
    """CPU of the client from the start of the load to its end."""
    records: Sequence[Record]

    def write(self, path: Path) -> None:
        """Keep it in a file."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Run":
        """What `write` has kept."""
        fields = json.loads(path.read_text())
        records = [
            Record(**{**record, "gaps_ms": tuple(record["gaps_ms"])})
            for record in fields.pop("records")
        ]
        return cls(**fields, records=records)

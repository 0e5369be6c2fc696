"""W3C Trace Context: which trace a request belongs to, read from and written to headers."""

import random
import re
from dataclasses import dataclass

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1

# Ids must differ, and protect nothing: the system's random numbers would cost more than all else.
_random = random.Random()  # noqa: S311


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where one request stands in its trace. Ids are numbers, as in the format of the wire."""

    trace_id: int
    span_id: int
    """Of this request here."""
    parent_id: int | None = None
    """Of whoever sent it; None: the trace begins here."""
    is_sampled: bool | None = None
    """What the sender has decided; None: nobody has."""

    @classmethod
    def read(cls, traceparent: str | None) -> "TraceContext":
        """Of the header `traceparent`; without one that is valid a trace begins here."""
        match = _HEADER.fullmatch(traceparent) if traceparent else None
        if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
            return cls(_new_id(128), _new_id(64))
        trace_id, parent_id = int(match[2], 16), int(match[3], 16)
        if not trace_id or not parent_id:
            return cls(_new_id(128), _new_id(64))
        is_sampled = bool(int(match[4], 16) & _SAMPLED)
        return cls(trace_id, _new_id(64), parent_id, is_sampled)

    @property
    def trace(self) -> str:
        """The trace's id as people and headers write it."""
        return f"{self.trace_id:032x}"

    def header(self, *, is_sampled: bool) -> str:
        """The value of `traceresponse`, or of `traceparent` for whoever is asked next."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{is_sampled:02x}"


def new_span_id() -> int:
    """An id for a part of a request."""
    return _new_id(64)


def _new_id(bits: int) -> int:
    return _random.getrandbits(bits) or 1

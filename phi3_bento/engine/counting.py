"""Count a request's tokens while vLLM answers it, and show its client what it asked to see.

A stream always carries its usage so far: the ledger must know what an answer had cost when its
client hung up. A client that did not ask for usage gets none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from phi3_bento.core import TokenCount


@dataclass(frozen=True, slots=True)
class Payload:
    """vLLM's request, and how much of the usage in a stream its client asked for."""

    request: Any
    wants_usage: bool = False
    wants_continuous_usage: bool = False

    @classmethod
    def of(cls, request: Any, *, stream: bool) -> "Payload":
        """Read what the client asked for, before the request is changed."""
        asked = request.stream_options if stream else None
        wants_usage = bool(asked and asked.include_usage)
        wants_continuous = bool(asked and asked.continuous_usage_stats)
        return cls(request, wants_usage, wants_usage and wants_continuous)

    def chunk(self, data: str, tokens: TokenCount) -> bytes | None:
        """Count a chunk of a stream; returns it as its client asked, None where it asked not."""
        chunk = orjson.loads(data)
        usage = chunk.get("usage")
        if usage is None:
            return data.encode()
        count(usage, tokens)
        is_summary = not chunk["choices"]
        if self.wants_continuous_usage or (is_summary and self.wants_usage):
            return data.encode()
        if is_summary:
            return None
        del chunk["usage"]
        return orjson.dumps(chunk)


def count(usage: Mapping[str, Any], tokens: TokenCount) -> None:
    """Take over OpenAI's `usage` object, the newest of the request."""
    details = usage.get("prompt_tokens_details") or {}
    tokens.prompt = usage["prompt_tokens"]
    tokens.completion = usage.get("completion_tokens") or 0
    tokens.cached = details.get("cached_tokens") or tokens.cached

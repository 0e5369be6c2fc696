"""`Idempotency-Key`: a request that is sent again gets the answer that was made for it; pure.

The answer is kept as any other, under the client's key instead of under what it is the answer to,
so that sampled ones are kept as well; what it is the answer to tells a key that is used anew.
"""

from collections.abc import Mapping
from typing import Any

from phi3_bento.cache.policy import Directives, key_of, why_not_kept
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest, KeyReused

HEADER = "idempotency-key"

REPLAYED = {"idempotent-replayed": "true"}
"""Says of a response that it was made for an earlier request."""

_CONFLICT = (
    "This Idempotency-Key came with another request before. Use a new key for each request, and "
    "the same only to send the very same request again."
)


def check_pledge(
    operation: Operation, body: Mapping[str, Any], directives: Directives, *, is_on: bool
) -> None:
    """Raise `InvalidRequest` where the answer could not be kept: the client relies on it."""
    reason = why_not_kept(operation, body, directives)
    if not is_on:
        reason = "The cache, which keeps the answer, is off (PHI3_CACHE)."
    if reason is not None:
        raise InvalidRequest(f"Idempotency-Key cannot be used here. {reason}", param=HEADER)


def pledged_key(scope: str, idempotency_key: str) -> str:
    """The key of the entry; no identity, which is JSON, has the same."""
    return key_of(scope, f"{HEADER} {idempotency_key}".encode())


def conflict() -> KeyReused:
    """For a key that came with another request before."""
    return KeyReused(_CONFLICT, param=HEADER)

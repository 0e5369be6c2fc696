"""What may be cached, under which key, and what the client asks of the cache; pure.

Headers follow RFC 9111 (Cache-Control) and RFC 9211 (Cache-Status).
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from phi3_bento.core import Operation
from phi3_bento.engine.state import ModelCard
from phi3_bento.errors import InvalidRequest
from phi3_bento.secret import derive

NOT_IN_IDENTITY = frozenset(
    {"model", "stream", "stream_options", "user", "metadata", "store", "service_tier"}
)
"""Fields that change how an answer is sent, or who is asking for it, and never what it says."""

NOT_CACHED = frozenset({"prompt_logprobs", "echo", "return_token_ids", "add_generation_prompt"})
"""Fields of which a whole answer has more than the pieces of a stream: they go to the engine."""

CACHED_OPERATIONS = frozenset({Operation.CHAT, Operation.COMPLETION})
CACHE_NAME = "phi3"
MAX_AGE_S = 2**31


@dataclass(frozen=True, slots=True)
class Directives:
    """What a request's Cache-Control asks for."""

    no_store: bool = False
    """Neither answer from the cache nor keep the answer."""
    no_cache: bool = False
    """Generate anew; the answer may be kept."""
    only_if_cached: bool = False
    """Answer from the cache or not at all."""
    max_age_s: int | None = None
    """Answer only with what is no older; also asks to keep an answer that is not deterministic."""


def read_directives(header: str | None) -> Directives:
    """The directives of a Cache-Control header; unknown ones are passed over.

    Raises `InvalidRequest` for a max-age that is no whole number of seconds.
    """
    if not header:
        return Directives()
    parts = [part.strip().lower() for part in header.split(",")]
    ages = [part.partition("=")[2].strip('" ') for part in parts if part.startswith("max-age")]
    if any(not re.fullmatch(r"[0-9]{1,10}", age) for age in ages):
        raise InvalidRequest(
            "The max-age of Cache-Control must be a whole number of seconds.",
            param="cache-control",
        )
    return Directives(
        no_store="no-store" in parts,
        no_cache="no-cache" in parts,
        only_if_cached="only-if-cached" in parts,
        max_age_s=min((min(int(age), MAX_AGE_S) for age in ages), default=None),
    )


def why_not_cached(
    operation: Operation, body: Mapping[str, Any], directives: Directives
) -> str | None:
    """Why the cache has no part in a request, in words; None: it has.

    It has where the answer would come out the same again, as of greedy and seeded sampling, or
    where the client wants it kept: `max-age` asks that of any answer.
    """
    if reason := why_not_kept(operation, body, directives):
        return reason
    if directives.max_age_s is None and not _is_deterministic(body):
        return (
            "The answer would not come out the same again: temperature is not 0 and there is no "
            "seed, and the request does not say max-age."
        )
    return None


def why_not_kept(
    operation: Operation, body: Mapping[str, Any], directives: Directives
) -> str | None:
    """Why the answer cannot be kept even if the client wants it, in words; None: it can."""
    if operation not in CACHED_OPERATIONS:
        return "Only the answers of chats and completions are kept."
    if directives.no_store:
        return "The request says no-store."
    if sent_differently := [name for name in sorted(NOT_CACHED) if body.get(name)]:
        return f"'{sent_differently[0]}' asks for more than the pieces of a stream have."
    if _wants_continuous_usage(body):
        return "'continuous_usage_stats' asks for more than the pieces of a stream have."
    return None


def identity_of(operation: Operation, body: Mapping[str, Any], card: ModelCard) -> bytes:
    """Everything that makes an answer what it is: the model and each parameter, in one form.

    A field that nobody knows is part of it: at worst a hit is missed. Numbers that are equal are
    the same (`0` and `0.0`).
    """
    fields = {name: value for name, value in body.items() if name not in NOT_IN_IDENTITY}
    identity = {
        "operation": operation.value,
        "model": card.name,
        "revision": card.revision,
        "context": card.max_context_tokens,
        "body": _plain(fields),
    }
    return orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)


def has_plain_manners(body: Mapping[str, Any], model: str) -> bool:
    """What is not in the identity is what an engine takes: a kept answer needs no other check."""
    options = body.get("stream_options")
    return (
        body.get("model") in (None, model)
        and not any(body.get(name) is not None for name in ("metadata", "store", "service_tier"))
        and isinstance(body.get("user"), str | None)
        and isinstance(body.get("stream"), bool | None)
        and (options is None or options in ({}, {"include_usage": True}, {"include_usage": False}))
        and (not options or body.get("stream") is True)
    )


def scope_of(secret: bytes, tenant: str) -> str:
    """What separates a tenant's entries from all others', in hexadecimal."""
    return derive(secret, "cache-scope", tenant).hex()


def key_of(scope: str, identity: bytes) -> str:
    """The key of an entry: without the tenant's scope nobody can say it, in hexadecimal."""
    return hmac.digest(bytes.fromhex(scope), identity, "sha256").hex()


def status_of(what: str) -> str:
    """A Cache-Status header (RFC 9211) of this cache."""
    return f"{CACHE_NAME}; {what}"


def _plain(value: Any) -> Any:
    """`value` with whole floats as integers; JSON writes both, and they mean the same."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and abs(value) >= 2**63:  # beyond what orjson writes
        return {"integer": str(value)}
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value


def _is_deterministic(body: Mapping[str, Any]) -> bool:
    temperature, seed = body.get("temperature"), body.get("seed")
    is_greedy = isinstance(temperature, int | float) and temperature == 0
    return is_greedy or (isinstance(seed, int) and not isinstance(seed, bool))


def _wants_continuous_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("continuous_usage_stats"))

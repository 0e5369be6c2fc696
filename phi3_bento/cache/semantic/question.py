"""What of a request a semantic hit may leave open: the words of its last message; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phi3_bento.cache.policy import identity_of, key_of
from phi3_bento.core import Operation
from phi3_bento.engine.state import ModelCard

NOT_SHARED = frozenset({"logprobs", "logprob_token_ids", "top_logprobs", "tools", "functions"})
"""Fields whose answers are about the very words of the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """The last message of a conversation, and what all else of its request must be."""

    text: str
    partition: str
    """Tenant, model, parameters and all earlier messages, in hexadecimal: questions of another
    partition are never compared."""
    scope: str
    """The tenant's, in hexadecimal."""


def question_of(
    operation: Operation, body: Mapping[str, Any], card: ModelCard, scope: str
) -> Question | None:
    """The question of a request that the cache may answer; None where its words must be its own."""
    if operation is not Operation.CHAT or any(body.get(name) for name in NOT_SHARED):
        return None
    *earlier, last = body["messages"]
    text = last.get("content")
    if last.get("role") != "user" or not isinstance(text, str) or not text.strip():
        return None
    rest = {**body, "messages": [*earlier, {**last, "content": None}]}
    return Question(text, key_of(scope, b"semantic\n" + identity_of(operation, rest, card)), scope)

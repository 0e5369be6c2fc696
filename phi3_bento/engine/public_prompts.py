"""System prompts that the operator declares public: their KV blocks are every tenant's."""

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from phi3_bento.core import Operation, whole
from phi3_bento.engine.base import Engine
from phi3_bento.errors import StartFailure
from phi3_bento.prefix_salt import PrefixSalt

logger = logging.getLogger("bentoml.phi3")

_PROMPTS = TypeAdapter(list[str])
_USERS = ("A", "7")
"""Two users' texts that begin differently: what their prompts share is the system prompt's."""


class PublicPrompts:
    """Knows the tokens with which a conversation under a public system prompt begins."""

    def __init__(self, tokens: Mapping[str, Sequence[int]] | None = None) -> None:
        self._tokens = dict(tokens or {})

    def beginning_of(self, body: Mapping[str, Any]) -> Sequence[int]:
        """The tokens that the request of `body` shares with everybody; empty for most."""
        messages = body.get("messages")
        if not self._tokens or not messages or messages[0].get("role") != "system":
            return ()
        content = messages[0].get("content")
        return self._tokens.get(content, ()) if isinstance(content, str) else ()


NO_PROMPTS = PublicPrompts()


def read_prompts(path: Path) -> list[str]:
    """The prompts of a JSON file that is a list of texts. Raises `StartFailure`."""
    try:
        return _PROMPTS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StartFailure(
            f"PHI3_PUBLIC_PROMPTS={path} cannot be used: it must be a JSON file with a list of "
            f"system prompts. {error}"
        ) from error


async def open_public_prompts(
    engine: Engine, texts: Sequence[str], *, block_tokens: int
) -> PublicPrompts:
    """Learn the prompts' tokens, and have the engine read them, so that nobody waits for it.

    Whole KV blocks are shared; a prompt shorter than one is not. Raises `StartFailure` for a text
    with control tokens, which reaches the model as other text.
    """
    tokens = {}
    for text in texts:
        if control := [token for token in engine.card.special_tokens if token in text]:
            raise StartFailure(
                f"A public prompt contains the control token {control[0]}: '{text}'."
            )
        beginning = _common(*[await _tokens(engine, text, user) for user in _USERS])
        tokens[text] = beginning[: len(beginning) // block_tokens * block_tokens]
        logger.info("Public prompt: %d shared tokens, '%.60s'.", len(tokens[text]), text)
        await _prime(engine, text, PrefixSalt.of("00", tokens[text]))
    return PublicPrompts(tokens)


def _common(left: Sequence[int], right: Sequence[int]) -> Sequence[int]:
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))
    return [token for token, _ in pairs]


def _conversation(text: str, user: str) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": text}, {"role": "user", "content": user}]}


async def _tokens(engine: Engine, text: str, user: str) -> list[int]:
    job = engine.parse(Operation.TOKENIZE, _conversation(text, user), "public-prompt")
    return list(json.loads(await whole(engine.run(job)))["tokens"])


async def _prime(engine: Engine, text: str, salt: PrefixSalt) -> None:
    body = _conversation(text, _USERS[0]) | {"max_tokens": 1}
    job = engine.parse(Operation.CHAT, body, "public-prompt")
    await whole(engine.run(job.salted(salt)))

"""How much of a prompt will the engine compute? Learned from the prompts before it.

A chat that goes on, or that begins as another of its tenant did, is in the engine's KV cache up to
where it is new. What the engine really has is its own affair, so this only remembers which prompts
came lately, no more of them than the KV cache holds, and how far such memories were right.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from phi3_bento.admission.deadline import Work
from phi3_bento.admission.demand import message_tokens, text_tokens
from phi3_bento.core import TokenCount

_REMEMBERED_REQUESTS = 64
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """A message of a chat, after all before it."""

    digest: bytes
    """Of the tenant and the chat up to here."""
    tokens: int
    """An estimate, of this piece alone."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in pieces, and what was expected of it."""

    pieces: Sequence[Piece]
    work: Work
    known_tokens: int
    """An estimate of its beginning that came before."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A prompt that was answered: what was estimated, and what the engine counted."""

    estimated: int
    known: int
    prompt: int
    cached: int


class PromptMeter:
    """Learns from answered requests what the next ones will have the engine compute."""

    def __init__(self, kv_tokens: int) -> None:
        self._kv_tokens = kv_tokens
        self._pieces: OrderedDict[bytes, int] = OrderedDict()
        self._held_tokens = 0
        self._seen: deque[_Seen] = deque(maxlen=_REMEMBERED_REQUESTS)

    def read(self, tenant: str, body: Mapping[str, Any], work: Work) -> Prompt:
        """The prompt of a checked body, where `work` is its estimate: returned is a better one."""
        if not work.prompt_tokens:
            return Prompt((), work, 0)  # the tokenizer's: no engine reads it
        pieces = list(_pieces_of(tenant, body))
        known = self._known_tokens(pieces)
        computed = self._token_ratio() * work.prompt_tokens - self._cached_ratio() * known
        saved = work.prompt_tokens - max(1, round(computed))
        return Prompt(pieces, replace(work, saved_tokens=saved), known)

    def learn(self, prompt: Prompt, tokens: TokenCount) -> None:
        """Note what the engine counted for a prompt that it has read."""
        if not tokens.prompt:
            return
        estimated = prompt.work.prompt_tokens
        self._seen.append(_Seen(estimated, prompt.known_tokens, tokens.prompt, tokens.cached))
        # The beginning last: what others share with it is forgotten last, as the engine does.
        for piece in reversed(prompt.pieces):
            self._held_tokens += piece.tokens - self._pieces.pop(piece.digest, 0)
            self._pieces[piece.digest] = piece.tokens
        while self._held_tokens > self._kv_tokens:
            self._held_tokens -= self._pieces.popitem(last=False)[1]

    def _known_tokens(self, pieces: Sequence[Piece]) -> int:
        known = 0
        for piece in pieces:
            if piece.digest not in self._pieces:
                break
            known += piece.tokens
        return known

    def _token_ratio(self) -> float:
        """Real tokens of a prompt for each that was estimated."""
        estimated = sum(seen.estimated for seen in self._seen)
        return sum(seen.prompt for seen in self._seen) / estimated if estimated else 1.0

    def _cached_ratio(self) -> float:
        """Tokens that the engine did have for each that was believed to be known."""
        known = sum(seen.known for seen in self._seen)
        cached = sum(seen.cached for seen in self._seen if seen.known)
        return cached / known if known else 0.0


def _pieces_of(tenant: str, body: Mapping[str, Any]) -> Iterator[Piece]:
    digest = blake2b(tenant.encode(), digest_size=_DIGEST_BYTES)
    messages, prompt = body.get("messages"), body.get("prompt")
    if isinstance(messages, list):
        for message in messages:
            digest.update(json.dumps(message, sort_keys=True).encode())
            yield Piece(digest.digest(), message_tokens(message))
    elif isinstance(prompt, str):
        digest.update(prompt.encode("utf-8", "surrogatepass"))
        yield Piece(digest.digest(), text_tokens(prompt))

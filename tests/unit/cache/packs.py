"""Packs and answers for the tests."""

from pathlib import Path
from typing import Any

import orjson

from phi3_bento.cache.pack import PackWriter
from phi3_bento.cache.pack_format import PackedAnswer
from phi3_bento.cache.policy import identity_of
from phi3_bento.cache.replay import Recording
from phi3_bento.core import Operation, TokenCount
from phi3_bento.engine.state import ModelCard

MADE_AT = 1_800_000_000.0
CARD = ModelCard("phi3-echo", 4096, created=1)
OTHER_CARD = ModelCard("phi3-echo", 4096, created=1, revision="r2")


def body_of(question: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "temperature": 0}


def answer_to(
    question: str, card: ModelCard = CARD, text: str = "packed", *, made_at: float = MADE_AT
) -> PackedAnswer:
    """What the echo engine would have been kept with, but for its text."""
    chunk = {"id": "chatcmpl-x", "object": "chat.completion.chunk", "created": 1}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": text}, {}]
    pieces = [
        orjson.dumps(
            chunk
            | {
                "model": card.name,
                "choices": [
                    {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
                ],
            }
        )
        for delta in deltas
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    pieces.append(orjson.dumps(chunk | {"model": card.name, "choices": [], "usage": usage}))
    identity = identity_of(Operation.CHAT, body_of(question), card)
    recording = Recording(identity, pieces, TokenCount(prompt=1, completion=1))
    return PackedAnswer(recording, made_at, ttl_s=3600.0, engine_ms=1500.0)


def write_pack(path: Path, *answers: PackedAnswer) -> Path:
    with PackWriter(path, made_at=MADE_AT) as writer:
        for answer in answers:
            assert writer.add(answer)
    return path

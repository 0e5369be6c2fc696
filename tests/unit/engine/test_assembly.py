"""A stream's chunks come to the answer that the same request gets without a stream."""

import asyncio
import json
from typing import Any

import pytest

from phi3_bento.core import Operation, whole
from phi3_bento.engine.assembly import assemble
from phi3_bento.engine.echo import EchoEngine

USAGE = {"stream": True, "stream_options": {"include_usage": True}}


async def answers(operation: Operation, body: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Unstreamed, and assembled of the stream's chunks."""
    engine = EchoEngine()
    plain = engine.parse(operation, body, "same")
    streamed = engine.parse(operation, body | USAGE, "same")
    assert streamed.assemble is not None
    chunks = [chunk async for chunk in engine.run(streamed)]
    return json.loads(await whole(engine.run(plain))), streamed.assemble(chunks)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.CHAT, {"messages": [{"role": "user", "content": "one two three"}]}),
        (Operation.COMPLETION, {"prompt": "one two three", "max_tokens": 2}),
    ],
)
def test_the_echo_engine_s_chunks_come_to_its_answer(
    operation: Operation, body: dict[str, Any]
) -> None:
    plain, assembled = asyncio.run(answers(operation, body))
    document = json.loads(assembled)
    for key in ("id", "object", "model", "usage"):
        assert document[key] == plain[key]
    (choice,), (expected,) = document["choices"], plain["choices"]
    assert choice.get("message", choice.get("text")) == expected.get(
        "message", expected.get("text")
    )
    assert choice["finish_reason"] == expected["finish_reason"]


def chunk(*choices: dict[str, Any], **more: Any) -> bytes:
    document = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return json.dumps({**document, "choices": list(choices), **more}).encode()


def part(index: int, content: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": {"content": content}, **more}


def test_choices_come_apart_and_log_probabilities_are_joined() -> None:
    first, second = {"content": [{"token": "a"}]}, {"content": [{"token": "b"}], "refusal": None}
    whole_answer = assemble(
        [
            chunk(part(1, "x", logprobs=None), part(0, "a", logprobs=first)),
            chunk(part(0, "b", logprobs=second, finish_reason="stop", stop_reason=7)),
            chunk(part(1, "y", finish_reason="length")),
            chunk(usage={"total_tokens": 4}, system_fingerprint="v"),
        ]
    )
    zero, one = whole_answer["choices"]
    assert (zero["message"]["content"], one["message"]["content"]) == ("ab", "xy")
    assert zero["logprobs"]["content"] == [{"token": "a"}, {"token": "b"}]
    assert (zero["finish_reason"], zero["stop_reason"]) == ("stop", 7)
    assert (one["logprobs"], one["finish_reason"], one["stop_reason"]) == (None, "length", None)
    assert (whole_answer["usage"], whole_answer["system_fingerprint"]) == ({"total_tokens": 4}, "v")

"""The echo engine keeps an engine's promises without a model."""

import asyncio
import copy
import json
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.core import Operation
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.engine.state import State
from phi3_bento.errors import (
    ContextLengthExceeded,
    EngineFailure,
    InvalidRequest,
    ModelNotFound,
    Unavailable,
)

CHAT = {"messages": [{"role": "user", "content": "one two three"}]}


async def run(
    engine: EchoEngine, body: dict[str, Any], operation: Operation = Operation.CHAT
) -> list[dict[str, Any]]:
    job = engine.parse(operation, body, "id-1")
    async with aclosing(engine.run(job)) as pieces:
        return [json.loads(piece) async for piece in pieces]


async def text(engine: EchoEngine, **body: Any) -> str:
    (document,) = await run(engine, CHAT | body)
    return str(document["choices"][0]["message"]["content"])


async def test_it_repeats_the_last_message() -> None:
    (document,) = await run(EchoEngine(name="e"), CHAT)
    assert document["choices"][0]["message"] == {"role": "assistant", "content": "one two three"}
    assert document["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 3,
        "total_tokens": 6,
    }
    assert (document["id"], document["model"]) == ("chatcmpl-id-1", "e")


async def test_it_says_no_more_words_than_it_may() -> None:
    assert await text(EchoEngine(), max_tokens=2) == "one two"
    assert await text(EchoEngine(), max_completion_tokens=1) == "one"


async def test_a_stream_has_the_same_words_as_the_whole_answer() -> None:
    first, *chunks, last = await run(EchoEngine(), CHAT | {"stream": True})
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    words = [chunk["choices"][0]["delta"]["content"] for chunk in chunks]
    assert "".join(words) == "one two three"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert len({chunk["id"] for chunk in (first, *chunks, last)}) == 1


@pytest.mark.parametrize("prompt", ["a b", "a", " "])
async def test_a_streamed_completion_has_the_same_words_and_ends(prompt: str) -> None:
    body = {"prompt": prompt}
    (whole,) = await run(EchoEngine(), body, Operation.COMPLETION)
    chunks = await run(EchoEngine(), body | {"stream": True}, Operation.COMPLETION)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == prompt.strip()
    assert whole["choices"][0]["text"] == prompt.strip()
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "stop"


async def test_scripts_are_answered_in_order_and_then_it_echoes_again() -> None:
    engine = EchoEngine()
    engine.enqueue("first", EngineFailure("It broke."), "third")
    assert await text(engine) == "first"
    with pytest.raises(EngineFailure):
        await text(engine)
    assert [await text(engine), await text(engine)] == ["third", "one two three"]


async def test_jobs_are_counted_and_an_abandoned_one_is_stopped() -> None:
    engine = EchoEngine()
    await text(engine)
    assert (engine.started, engine.running, engine.aborted) == (1, 0, 0)
    pieces = engine.run(engine.parse(Operation.CHAT, CHAT | {"stream": True}, "2"))
    await anext(pieces)
    assert (engine.started, engine.running) == (2, 1)
    await pieces.aclose()
    assert (engine.running, engine.aborted) == (0, 1)


async def test_a_cancelled_job_is_stopped() -> None:
    engine = EchoEngine(word_s=60)
    task = asyncio.create_task(text(engine))
    await asyncio.sleep(0)
    assert engine.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (engine.running, engine.aborted) == (0, 1)


async def test_a_closed_engine_refuses_and_may_be_closed_again() -> None:
    engine = EchoEngine()
    assert engine.health().state is State.READY
    await engine.close()
    await engine.close()
    assert engine.health().state is State.CLOSED
    with pytest.raises(Unavailable):
        await text(engine)


@pytest.mark.parametrize("body", [{}, {"max_tokens": 1}])
async def test_a_prompt_that_does_not_fit_the_context_is_refused(body: dict[str, int]) -> None:
    engine = EchoEngine(max_context_tokens=3 if body else 2)
    with pytest.raises(ContextLengthExceeded):
        await text(engine, **body)
    assert await text(EchoEngine(max_context_tokens=4), **body)


def test_only_its_own_model_is_served() -> None:
    engine = EchoEngine(name="mine")
    engine.parse(Operation.CHAT, CHAT | {"model": "mine"}, "1")
    with pytest.raises(ModelNotFound, match="'mine'"):
        engine.parse(Operation.CHAT, CHAT | {"model": "yours"}, "1")


@pytest.mark.parametrize("temperature", [-0.1, "hot"])
def test_a_wrong_value_is_named(temperature: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        EchoEngine().parse(Operation.CHAT, CHAT | {"temperature": temperature}, "1")
    assert caught.value.param == "temperature"


@pytest.mark.parametrize("tokens", ["a", {}, [-1], ["a"], [1.0], [True], [0xD800], [0x110000]])
def test_a_token_that_is_no_character_is_refused(tokens: object) -> None:
    with pytest.raises(InvalidRequest) as error:
        EchoEngine().parse(Operation.DETOKENIZE, {"tokens": tokens}, "id")
    assert error.value.param == "tokens"


async def test_only_what_is_generated_is_streamed() -> None:
    job = EchoEngine().parse(Operation.TOKENIZE, {"prompt": "x", "stream": True}, "id")
    assert not job.stream


def test_parsing_changes_nothing() -> None:
    body = CHAT | {"stream": True}
    before = copy.deepcopy(body)
    job = EchoEngine().parse(Operation.CHAT, body, "1")
    assert body == before
    assert (job.stream, job.request_id) == (True, "1")


@given(prompt=st.text(max_size=50))
def test_tokens_become_the_same_text_again(prompt: str) -> None:
    async def there_and_back() -> str:
        engine = EchoEngine()
        (tokens,) = await run(engine, {"prompt": prompt}, Operation.TOKENIZE)
        assert tokens["count"] == len(tokens["tokens"])
        (back,) = await run(engine, {"tokens": tokens["tokens"]}, Operation.DETOKENIZE)
        return str(back["prompt"])

    assert asyncio.run(there_and_back()) == prompt


async def test_the_first_label_of_a_decision_is_certain() -> None:
    (document,) = await run(EchoEngine(), CHAT | {"logprob_token_ids": [11, 12]})
    top = document["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert [entry["token"] for entry in top] == ["token_id:11", "token_id:12"]
    assert top[0]["logprob"] > top[1]["logprob"]

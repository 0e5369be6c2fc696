"""One suite for every `Engine`: the echo engine, and vLLM with the demo model."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import orjson
import pytest
import pytest_asyncio

from phi3_bento.core import Operation, whole
from phi3_bento.engine.base import Engine
from phi3_bento.engine.decision import DecisionReader
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.engine.state import State
from phi3_bento.engine_choice import start_engine
from phi3_bento.errors import InvalidRequest, ModelNotFound, Unavailable
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = {"messages": [{"role": "user", "content": "Hello, how are you today?"}], "max_tokens": 8}


@pytest_asyncio.fixture(
    loop_scope="module",
    scope="module",
    params=["echo", pytest.param("vllm", marks=pytest.mark.engine)],
)
async def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engine]:
    if request.param == "echo":
        yield EchoEngine(word_s=0.001)
        return
    settings = Settings(data_dir=tmp_path_factory.mktemp("engine"), memory=3 * 2**30)
    inherited = dict(os.environ)
    engine = await start_engine(settings)
    yield engine
    await engine.close()
    os.environ.clear()
    os.environ.update(inherited)


async def ask(engine: Engine, operation: Operation, body: dict[str, Any]) -> list[Any]:
    async with aclosing(engine.run(engine.parse(operation, body, "test"))) as pieces:
        return [orjson.loads(piece) async for piece in pieces]


async def test_a_whole_answer_is_one_document(engine: Engine) -> None:
    (document,) = await ask(engine, Operation.CHAT, HELLO)
    assert document["object"] == "chat.completion"
    assert document["id"] == "chatcmpl-test"
    assert document["model"] == engine.card.name
    assert document["usage"]["completion_tokens"] > 0


async def test_a_stream_is_chunks_that_join_to_the_whole_answer(engine: Engine) -> None:
    greedy = HELLO | {"temperature": 0}
    (document,) = await ask(engine, Operation.CHAT, greedy)
    chunks = await ask(engine, Operation.CHAT, greedy | {"stream": True})
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == document["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"][0]["finish_reason"]


async def test_completions_work_whole_and_streamed(engine: Engine) -> None:
    body = {"prompt": "one two three", "max_tokens": 4, "temperature": 0}
    (document,) = await ask(engine, Operation.COMPLETION, body)
    chunks = await ask(engine, Operation.COMPLETION, body | {"stream": True})
    assert document["object"] == "text_completion"
    joined = "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert joined == document["choices"][0]["text"]


async def test_detokenize_is_the_inverse_of_tokenize(engine: Engine) -> None:
    (tokens,) = await ask(engine, Operation.TOKENIZE, {"prompt": "Ünï 日本"})
    (text,) = await ask(engine, Operation.DETOKENIZE, {"tokens": tokens["tokens"]})
    assert text == {"prompt": "Ünï 日本"}
    assert tokens["count"] == len(tokens["tokens"])


async def test_parsing_changes_nothing_and_refuses_what_is_wrong(engine: Engine) -> None:
    body = HELLO | {"temperature": 0.5, "model": engine.card.name}
    before = orjson.dumps(body)
    assert engine.parse(Operation.CHAT, body, "x").stream is False
    assert engine.parse(Operation.CHAT, body | {"stream": True}, "x").stream is True
    assert orjson.dumps(body) == before
    with pytest.raises(ModelNotFound):
        engine.parse(Operation.CHAT, HELLO | {"model": "gpt-4"}, "x")


async def test_a_bad_value_is_an_invalid_request_before_the_first_piece(engine: Engine) -> None:
    with pytest.raises(InvalidRequest) as error:
        await ask(engine, Operation.CHAT, HELLO | {"temperature": -1})
    assert error.value.param == "temperature"


async def test_a_prompt_over_the_context_is_named_so(engine: Engine) -> None:
    long = {"messages": [{"role": "user", "content": "word " * 9000}]}
    for body in (long, long | {"stream": True}):
        with pytest.raises(InvalidRequest) as error:
            await ask(engine, Operation.CHAT, body)
        assert error.value.code == "context_length_exceeded"


async def test_closing_or_cancelling_stops_the_work(engine: Engine) -> None:
    endless = HELLO | {"max_tokens": 3000, "ignore_eos": True}
    if isinstance(engine, EchoEngine):
        endless["messages"] = [{"role": "user", "content": "word " * 1000}]
    async with aclosing(
        engine.run(engine.parse(Operation.CHAT, endless | {"stream": True}, "a"))
    ) as pieces:
        await anext(pieces)
    task = asyncio.create_task(whole(engine.run(engine.parse(Operation.CHAT, endless, "b"))))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.health().state is State.READY
    if isinstance(engine, EchoEngine):
        assert engine.running == 0
    else:
        assert engine._engine.get_num_unfinished_requests() == 0  # type: ignore[attr-defined]


async def test_many_jobs_run_at_once_and_fail_alone(engine: Engine) -> None:
    bodies = [HELLO if number % 3 else HELLO | {"temperature": -1} for number in range(12)]
    results = await asyncio.gather(
        *(ask(engine, Operation.CHAT, body) for body in bodies), return_exceptions=True
    )
    assert [isinstance(result, Phi3Error) for result in results] == [
        number % 3 == 0 for number in range(12)
    ]


async def test_decisions_can_be_read_by_label_and_by_letter(engine: Engine) -> None:
    reader = await DecisionReader.for_engine(engine)
    for labels in (["positive", "negative"], ["very positive", "very negative"]):
        decision = await reader.decision("I love it, thank you!", labels)
        assert len(set(decision.tokens.values())) == 2
        (answer,) = await ask(engine, Operation.CHAT, decision.body)
        probabilities = decision.probabilities(answer)
        assert sum(probabilities.values()) == pytest.approx(1)
        assert answer["usage"]["completion_tokens"] == 1


async def test_the_demo_model_decides_sensibly(engine: Engine) -> None:
    reader = await DecisionReader.for_engine(engine)
    decision = await reader.decision("I love it, thank you!", ["positive", "negative"])
    (answer,) = await ask(engine, Operation.CHAT, decision.body)
    probabilities = decision.probabilities(answer)
    assert max(probabilities, key=probabilities.__getitem__) == "positive"


async def test_a_closed_engine_says_so_and_can_be_closed_again(engine: Engine) -> None:
    """Runs last: the fixture is of no use afterwards."""
    await engine.close()
    await engine.close()
    assert engine.health().state is State.CLOSED
    with pytest.raises(Unavailable):
        await ask(engine, Operation.CHAT, HELLO)

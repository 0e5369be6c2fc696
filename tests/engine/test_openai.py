"""The official OpenAI client against the real engine: what vLLM's serving layer does works here."""

import json
import math

import httpx
import openai
import pytest
from pydantic import BaseModel

from tests.support import Service

pytestmark = pytest.mark.engine

QUESTION = [{"role": "user", "content": "Which port does this service use?"}]
GREEDY = {"model": "phi3-demo", "temperature": 0, "max_tokens": 40}


class Person(BaseModel):
    name: str
    city: str


@pytest.fixture
def client(service: Service) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


def test_the_demo_model_answers_sensibly(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(messages=QUESTION, **GREEDY)
    assert "11403" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "phi3-demo"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


async def test_the_async_client_streams_the_same_answer(service: Service) -> None:
    client = openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)
    async with client:
        whole = await client.chat.completions.create(messages=QUESTION, **GREEDY)
        stream = await client.chat.completions.create(
            messages=QUESTION, stream=True, stream_options={"include_usage": True}, **GREEDY
        )
        chunks = [chunk async for chunk in stream]
    *pieces, usage = chunks
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == whole.choices[0].message.content
    assert pieces[0].choices[0].delta.role == "assistant"
    assert usage.choices == []
    assert usage.usage.completion_tokens == whole.usage.completion_tokens
    assert usage.usage.prompt_tokens == whole.usage.prompt_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_has_no_usage_unless_it_is_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(messages=QUESTION, stream=True, **GREEDY)
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


def test_structured_output_follows_its_schema(client: openai.OpenAI) -> None:
    prompt = "Return JSON with the fields name and city. Text: Anna lives in Oslo."
    answer = client.chat.completions.parse(
        messages=[{"role": "user", "content": prompt}], response_format=Person, **GREEDY
    )
    assert answer.choices[0].message.parsed == Person(name="Anna", city="Oslo")


def test_logprobs_are_those_of_the_tokens(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        messages=QUESTION, logprobs=True, top_logprobs=5, **GREEDY
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    for position in logprobs.content:
        assert position.logprob == max(entry.logprob for entry in position.top_logprobs)
        assert sum(math.exp(entry.logprob) for entry in position.top_logprobs) <= 1.0001
    text = "".join(position.token for position in logprobs.content)
    assert text.startswith(answer.choices[0].message.content or "")


def test_n_choices_and_a_seed_are_reproducible(client: openai.OpenAI) -> None:
    options = {"model": "phi3-demo", "max_tokens": 12, "temperature": 2, "seed": 7, "n": 3}
    unclear = [{"role": "user", "content": "zq xv, 7 ways"}]
    first, second = (
        client.chat.completions.create(messages=unclear, **options).choices for _ in range(2)
    )
    assert [choice.index for choice in first] == [0, 1, 2]
    assert [choice.message.content for choice in first] == [
        choice.message.content for choice in second
    ]
    assert len({choice.message.content for choice in first}) > 1


def test_stop_sequences_stop(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(messages=QUESTION, **GREEDY)
    text = whole.choices[0].message.content or ""
    stopped = client.chat.completions.create(messages=QUESTION, stop=["11403"], **GREEDY)
    assert stopped.choices[0].message.content == text.partition("11403")[0]
    assert stopped.choices[0].finish_reason == "stop"


def test_completions_continue_a_text_whole_and_streamed(client: openai.OpenAI) -> None:
    prompt = "<|user|>\nHello!<|end|>\n<|assistant|>\n"
    whole = client.completions.create(prompt=prompt, **GREEDY)
    stream = client.completions.create(prompt=prompt, stream=True, **GREEDY)
    assert whole.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text


def test_tokenize_and_detokenize_are_inverse(service: Service) -> None:
    text = "Ünïcode — 日本 🙂 and 42"
    tokens = httpx.post(f"{service.url}/tokenize", json={"prompt": text}).json()
    back = httpx.post(f"{service.url}/detokenize", json={"tokens": tokens["tokens"]}).json()
    assert back["prompt"] == text
    assert tokens["count"] == len(tokens["tokens"])
    assert tokens["max_model_len"] == 4096


def test_a_repeated_prefix_is_found_in_the_kv_cache(client: openai.OpenAI) -> None:
    system = {"role": "system", "content": "You decide about support messages. " * 8}
    cached = []
    for text in ("first", "second"):
        answer = client.chat.completions.create(
            messages=[system, {"role": "user", "content": text}], **GREEDY
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens or 0)
    assert cached[0] == 0
    assert cached[1] >= 32
    assert cached[1] % 32 == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"temperature": -0.1}, None),
        ({"temperature": 1e9, "top_p": 7}, None),
        ({"top_p": 0}, None),
        ({"n": 0}, None),
        ({"max_tokens": 0}, None),
        ({"max_tokens": -5}, None),
        ({"max_tokens": 10**9}, None),
        ({"frequency_penalty": 99}, None),
        ({"logit_bias": {"999999": 1}}, None),
        ({"logprobs": True, "top_logprobs": 999}, None),
        ({"seed": 2**70}, None),
        ({"stop": 5}, None),
        ({"stream_options": {"include_usage": True}}, None),
        ({"response_format": {"type": "json_schema"}}, None),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "nonsense"}},
                }
            },
            None,
        ),
        ({"messages": [{"role": "user", "content": "word " * 9000}]}, "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}],
                    }
                ]
            },
            None,
        ),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_vllm_refuses_is_400_in_openai_form(
    service: Service, change: dict[str, object], code: str | None, stream: bool
) -> None:
    body = {"messages": QUESTION, **GREEDY, "stream": stream, **change}
    if "stream_options" in change:
        body["stream"] = False
    response = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert error["code"] == code
    assert len(response.content) < 2000

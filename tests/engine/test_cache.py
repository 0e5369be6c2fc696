"""What the cache gives is, byte for byte, what the engine gives, in every form of an answer."""

import asyncio
import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import bentoml
import httpx
import pytest

from tests.support import Service

pytestmark = pytest.mark.engine

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def chat(text: str, **options: Any) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": text}]
    return CHAT, {"messages": messages, "temperature": 0, "max_tokens": 12, **options}


def completion(prompt: Any, **options: Any) -> tuple[str, dict[str, Any]]:
    return COMPLETION, {"prompt": prompt, "temperature": 0, "max_tokens": 8, **options}


CASES = {
    "chat": chat("What are you? Say it again, in the cache."),
    "to its own end": chat("Hello, cache!", max_tokens=200),
    "umlauts": chat("Grüße, 你好 🙂: say them again."),
    "log probabilities": chat("Is it true?", logprobs=True, top_logprobs=3),
    "asked tokens": chat("Yes or no?", logprobs=True, logprob_token_ids=[5, 9, 20], max_tokens=1),
    "stop": chat("Count: one two three four five six", stop=["e"]),
    "json": chat("Give a number.", response_format={"type": "json_object"}, max_tokens=20),
    "schema": chat(
        "A number, please.",
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    ),
    "seeded, two choices": chat("Tell me a word.", temperature=0.9, seed=7, n=2),
    "completion": completion("The cache is"),
    "several prompts": completion(["The cache is", "The engine is"]),
    "completion's log probabilities": completion("The cache is", logprobs=2),
}


def post(service: Service, path: str, body: dict[str, Any], control: str = "") -> httpx.Response:
    headers = {"cache-control": control} if control else {}
    response = httpx.post(service.url + path, json=body, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return response


def own(document: Any) -> Any:
    """Without what is each request's own: id, time, and what the engine had of the prompt."""
    if isinstance(document, dict):
        left_out = {"id", "created", "cached_tokens", "created_cache_tokens"}
        return {name: own(value) for name, value in document.items() if name not in left_out}
    return [own(each) for each in document] if isinstance(document, list) else document


def whole(response: httpx.Response) -> str:
    return json.dumps(own(response.json()))


def events(response: httpx.Response) -> list[str]:
    """By choice: which of several has its next piece first is as it comes.

    So is how many tokens a piece has: vLLM puts together what comes faster than it is sent.
    """
    lines = [line for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    documents = [own(json.loads(line.removeprefix("data: "))) for line in lines]
    documents.sort(key=lambda document: [choice["index"] for choice in document["choices"]] or [99])
    return [json.dumps(together(pieces)) for _, pieces in groupby(documents, part)]


def part(document: dict[str, Any]) -> tuple[Any, ...]:
    """What is told in pieces has the same: of one choice, and not its beginning."""
    choices = document["choices"]
    return tuple((choice["index"], "role" in choice.get("delta", ())) for choice in choices)


def together(pieces: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The pieces of a choice as one."""
    document, *rest = pieces
    for piece in rest:
        document["choices"] = [joined("", document["choices"][0], piece["choices"][0])]
    return document


def joined(name: str, first: Any, second: Any) -> Any:
    """Two pieces' values of the field `name`: texts and lists go on, others are the later one's."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, dict):
        names = dict.fromkeys([*first, *second])
        return {each: joined(each, first.get(each), second.get(each)) for each in names}
    goes_on = isinstance(first, list) or name in ("content", "text")
    return first + second if goes_on else second


@pytest.mark.parametrize(("path", "body"), CASES.values(), ids=CASES)
def test_hit_and_miss_are_what_the_engine_says(
    service: Service, path: str, body: dict[str, Any]
) -> None:
    stream = body | {"stream": True}
    with_usage = stream | {"stream_options": {"include_usage": True}}
    direct = whole(post(service, path, body, "no-store"))
    direct_stream = events(post(service, path, stream, "no-store"))
    direct_usage = events(post(service, path, with_usage, "no-store"))
    miss = post(service, path, body, "no-cache")
    assert miss.headers["cache-status"] == "phi3; fwd=request; stored"
    assert whole(miss) == direct
    hits = [post(service, path, each) for each in (body, stream, with_usage)]
    assert all(hit.headers["cache-status"].startswith("phi3; hit; ttl=") for hit in hits)
    assert whole(hits[0]) == direct
    assert events(hits[1]) == direct_stream
    assert events(hits[2]) == direct_usage


def test_a_hit_says_that_all_of_the_prompt_was_cached(service: Service) -> None:
    path, body = chat("How much of this was cached?")
    post(service, path, body)
    usage = post(service, path, body).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]


def test_a_decision_is_kept_too(service: Service) -> None:
    item = {"text": "The cache remembers decisions.", "labels": ["true", "false"]}
    first, second = (
        httpx.post(f"{service.url}/classify", json={"items": [item]}).json()[0] for _ in range(2)
    )
    assert second["probabilities"] == first["probabilities"]
    assert second["usage"]["cached_tokens"] == second["usage"]["prompt_tokens"]


def test_a_generation_of_the_native_api_is_kept_in_both_forms(service: Service) -> None:
    body = {"prompt": "Say it natively, and again.", "max_tokens": 12}
    with bentoml.SyncHTTPClient(service.url) as client:
        first, second = client.generate(**body), client.generate(**body)
        streamed = "".join(client.generate_stream(**body))
    assert second.pop("usage")["cached_tokens"] == first.pop("usage")["prompt_tokens"]
    assert second == first
    assert streamed == first["text"]


def generated(service: Service) -> float:
    """Tokens that the engine has made so far."""
    return service.metric("vllm:generation_tokens_total")


@pytest.mark.parametrize("leader", ["stays", "hangs up in the middle"])
async def test_two_hundred_identical_requests_cost_one_generation(
    service: Service, leader: str
) -> None:
    tokens = 1000
    path, body = chat(f"All ask this, and who began {leader}.", max_tokens=tokens, ignore_eos=True)
    before = await asyncio.to_thread(generated, service)
    joined = asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:

        async def ask(number: int) -> None:
            request = body | {"stream": number % 2 == 0}
            async with client.stream("POST", path, json=request) as response:
                assert response.status_code == 200
                joined.set()
                assert "error" not in (await response.aread()).decode()

        async with client.stream("POST", path, json=body | {"stream": True}) as response:
            assert response.headers["cache-status"] == "phi3; fwd=miss; stored"
            pieces = response.aiter_text()
            await anext(pieces)
            followers = asyncio.gather(*(ask(number) for number in range(199)))
            if leader == "stays":
                text = "".join([piece async for piece in pieces])
                assert text.endswith("data: [DONE]\n\n")
            else:
                await joined.wait()
        await followers
    assert await asyncio.to_thread(generated, service) - before == tokens

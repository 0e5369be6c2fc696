"""Keys, limits, deadlines and the ledger, end to end on the real engine."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.api.test_access import run_keys
from tests.engine.guarded import Guarded
from tests.support import running, serve_command, wait_for_async

pytestmark = pytest.mark.engine

TOKENS = 100_000
CHAT = "/v1/chat/completions"


PUBLIC_PROMPT = "You sort support mail into kinds, and answer with one word. " * 6


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded-engine")
    prompts = directory / "prompts.json"
    prompts.write_text(json.dumps([PUBLIC_PROMPT]))
    settings = {"PHI3_MAX_SEQUENCES": "1", "PHI3_PUBLIC_PROMPTS": str(prompts)}
    with running(serve_command(), directory, settings) as service:
        create = ("create", "--tenant", "acme")
        keys = {
            "metered": run_keys(service, *create, "--tokens-per-minute", str(TOKENS)),
            "urgent": run_keys(service, *create, "--priority", "5"),
            "narrow": run_keys(service, *create, "--concurrent-requests", "1"),
            "rival": run_keys(service, "create", "--tenant", "rival"),
            "metrics": run_keys(service, *create, "--scope", "metrics"),
        }
        time.sleep(4)  # until the service, open before the first key, has noticed it
        yield Guarded(service, keys)


def chat(text: str = "Hello! What are you?", **options: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **options}


def long_chat(text: str, tokens: int = 150) -> dict[str, Any]:
    return chat(text, max_tokens=tokens, ignore_eos=True)


def test_without_a_key_the_engine_is_not_reached(guarded: Guarded) -> None:
    response = httpx.post(guarded.service.url + CHAT, json=chat())
    assert response.status_code == 401


@pytest.mark.parametrize("stream", [False, True])
def test_the_ledger_and_the_limit_count_the_engine_s_own_tokens(
    guarded: Guarded, stream: bool
) -> None:
    name = f"counted-{stream}"
    with guarded.client("metered") as client:
        before = client.get("/v1/models").headers["x-ratelimit-remaining-tokens"]
        # Another question for each form: the cache would give the second for nothing.
        body = chat(f"What are you? Streamed: {stream}.")
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        response = client.post(CHAT, json=body, headers={"x-request-id": name})
        after = client.get("/v1/models").headers["x-ratelimit-remaining-tokens"]
    last = response.text.split("data: ")[-2] if stream else response.text
    usage = json.loads(last)["usage"]
    row = guarded.row(name)
    assert (row["prompt_tokens"], row["completion_tokens"], row["outcome"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
        "ok",
    )
    assert row["cached_tokens"] == (usage["prompt_tokens_details"] or {}).get("cached_tokens", 0)
    assert int(before) - int(after) == usage["total_tokens"]
    assert int(response.headers["x-ratelimit-remaining-tokens"]) < int(after)


def test_usage_that_a_stream_s_client_did_not_ask_for_is_counted_and_not_sent(
    guarded: Guarded,
) -> None:
    with guarded.client("metered") as client:
        headers = {"x-request-id": "unasked"}
        response = client.post(CHAT, json=chat(stream=True), headers=headers)
    assert "usage" not in response.text
    assert guarded.row("unasked")["completion_tokens"] > 0


async def test_who_hangs_up_pays_for_what_came(guarded: Guarded) -> None:
    body = long_chat("Tell me all.", 3000) | {"stream": True}
    async with guarded.async_client("narrow") as client:
        async with client.stream(
            "POST", CHAT, json=body, headers={"x-request-id": "left"}
        ) as response:
            lines = response.aiter_lines()
            for _ in range(12):
                await anext(lines)
            refused = await client.post(CHAT, json=chat())
            assert refused.status_code == 429
        for _ in range(100):
            again = await client.post(CHAT, json=chat(max_tokens=1))
            if again.status_code == 200:
                break
            await asyncio.sleep(0.05)
    assert again.status_code == 200
    row = guarded.row("left")
    assert row["outcome"] == "aborted"
    assert row["prompt_tokens"] > 0
    assert 3 < row["completion_tokens"] < 3000


def test_a_deadline_that_cannot_be_met_is_refused_before_the_engine_works(
    guarded: Guarded,
) -> None:
    with guarded.client("metered") as client:
        headers = {"x-slo-ttft-ms": "1"}
        refused = client.post(CHAT, json=chat("word " * 200), headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            503,
            "deadline_unmeetable",
        )
        assert int(refused.headers["retry-after"]) >= 1
        met = client.post(CHAT, json=chat(stream=True), headers={"x-slo-ttft-ms": "60000"})
        assert met.status_code == 200
    with guarded.client("metrics") as client:
        lines = client.get("/metrics").text.splitlines()
    errors = [line for line in lines if line.startswith("phi3_first_token_prediction_error")]
    assert float(next(line for line in errors if "_count" in line).split()[-1]) >= 1


def test_a_prediction_is_of_the_size_of_what_comes(guarded: Guarded) -> None:
    """A step's time is that of its computation: vLLM's clock alone would miss most of it."""

    def long_prompt() -> dict[str, Any]:
        return chat(f"{time.time()} " + "word " * 2000, max_tokens=1)

    def took_s() -> float:
        started_at = time.monotonic()
        assert client.post(CHAT, json=long_prompt()).status_code == 200
        return time.monotonic() - started_at

    with guarded.client("urgent") as client:
        least_s = min(took_s() for _ in range(3))
        headers = {"x-slo-ttft-ms": str(int(least_s * 1000 / 5))}
        refused = client.post(CHAT, json=long_prompt(), headers=headers)
    assert refused.status_code == 503, f"{headers} was thought enough for {least_s:.3f} s"
    assert refused.json()["error"]["code"] == "deadline_unmeetable"


async def test_what_waits_is_answered_by_priority(guarded: Guarded) -> None:
    """One sequence at a time: while one runs three wait, and the urgent one came last."""
    ended: list[str] = []

    async def ask(client: httpx.AsyncClient, name: str) -> None:
        response = await client.post(CHAT, json=long_chat(name))
        assert response.status_code == 200
        ended.append(name)

    async def wait_until_in_flight(number: int) -> None:
        async def is_so() -> bool:
            lines = (await metrics.get("/metrics")).text.splitlines()
            return f"phi3_requests_in_flight {number}.0" in lines

        await wait_for_async(is_so, f"{number} requests in flight")

    async with (
        guarded.async_client("metrics") as metrics,
        guarded.async_client("metered") as usual,
        guarded.async_client("urgent") as urgent,
    ):
        await wait_until_in_flight(0)
        body = long_chat("first", 3000) | {"stream": True}
        async with usual.stream("POST", CHAT, json=body) as first:
            # Held: an iterator that nobody holds closes its response.
            lines = first.aiter_lines()
            await anext(lines)
            tasks = []
            for client, name in ((usual, "b"), (usual, "c"), (urgent, "d")):
                tasks.append(asyncio.create_task(ask(client, name)))
                await wait_until_in_flight(1 + len(tasks))
        await asyncio.gather(*tasks)
    assert ended == ["d", "b", "c"]


def cached_tokens(guarded: Guarded, key: str, body: dict[str, Any]) -> int:
    """Tokens of the prompt that the engine had in its KV cache."""
    with guarded.client(key) as client:
        answer = client.post(CHAT, json=body, headers={"cache-control": "no-store"}).json()
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"] or 0)


def test_no_tenant_finds_another_s_prompt_in_the_kv_cache(guarded: Guarded) -> None:
    """Its answer would come sooner, and so tell that somebody had asked the same."""
    body = chat("A secret that somebody asks about, at some length. " * 8, max_tokens=1)
    assert [cached_tokens(guarded, key, body) for key in ("metered", "rival")] == [0, 0]
    assert min(cached_tokens(guarded, key, body) for key in ("metered", "urgent", "rival")) >= 32


def test_of_a_public_prompt_nobody_waits_and_behind_it_nobody_shares(guarded: Guarded) -> None:
    body = chat("A secret behind the public prompt, at some length. " * 8, max_tokens=1)
    other = {**body, "messages": [{"role": "system", "content": "x" + PUBLIC_PROMPT}]}
    body["messages"].insert(0, {"role": "system", "content": PUBLIC_PROMPT})
    shared = cached_tokens(guarded, "metered", body)
    assert shared >= 64
    assert shared % 32 == 0
    assert cached_tokens(guarded, "rival", body) == shared, "the rival sees the prompt alone"
    assert cached_tokens(guarded, "urgent", body) > shared, "the same tenant sees its own text"
    assert cached_tokens(guarded, "rival", other) == 0


def test_a_decision_is_counted_as_a_request(guarded: Guarded) -> None:
    def used() -> tuple[int, int]:
        with closing(sqlite3.connect(guarded.service.data_dir / "phi3.db")) as connection:
            key_id = guarded.keys["urgent"].split("_")[1]
            query = "SELECT count(*), total(completion_tokens) FROM usage WHERE key_id = ?"
            requests, tokens = connection.execute(query, [key_id]).fetchone()
        return int(requests), int(tokens)

    requests, tokens = used()
    with guarded.client("urgent") as client:
        item = {"text": "ok", "labels": ["a", "b"]}
        assert client.post("/classify", json={"items": [item, item]}).status_code == 200
    assert used() == (requests + 2, tokens + 2)

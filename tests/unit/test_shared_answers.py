"""The same question costs one generation, kept or shared while it runs; each tenant has its own."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from phi3_bento.call import Call
from phi3_bento.caller import Caller, Quota
from phi3_bento.core import Job, Operation, whole
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.errors import EngineFailure, NotCached, RateLimited
from tests.support import wait_for_async
from tests.unit.bench import CHAT, STREAM, Bench, MakeParts

GREEDY = CHAT | {"temperature": 0}
GREEDY_STREAM = STREAM | {"temperature": 0}
WITH_USAGE = GREEDY_STREAM | {"stream_options": {"include_usage": True}}
ACME = Caller(tenant="acme", key_id="k1")
OTHER = Caller(tenant="other", key_id="k2")


@pytest.fixture
async def bench(parts: MakeParts) -> Bench:
    return Bench(parts).opened()


class Listening(EchoEngine):
    """Remembers for which requests it was asked."""

    def __init__(self, *, word_s: float) -> None:
        super().__init__(word_s=word_s)
        self.asked: list[str] = []

    def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        self.asked.append(job.request_id)
        return super().run(job)


async def ask(
    bench: Bench,
    body: dict[str, Any],
    caller: Caller = ACME,
    *,
    request_id: str = "id",
    cache_control: str | None = None,
) -> tuple[list[bytes], dict[str, str]]:
    """The pieces of the answer, and the headers that the stages set."""
    call = Call(caller, request_id, cache_control=cache_control)
    answer = bench.pipeline.answer(Operation.CHAT, body, call)
    return [piece async for piece in answer], call.headers


def plain(pieces: list[bytes]) -> list[dict[str, Any]]:
    """Without what is each request's own."""
    documents = [json.loads(piece) for piece in pieces]
    return [{**document, "id": "", "created": 0} for document in documents]


@pytest.mark.parametrize("first", [GREEDY, GREEDY_STREAM, WITH_USAGE])
@pytest.mark.parametrize("second", [GREEDY, GREEDY_STREAM, WITH_USAGE])
async def test_a_hit_is_what_a_miss_would_be_in_any_form(
    bench: Bench, first: dict[str, Any], second: dict[str, Any]
) -> None:
    missed, headers = await ask(bench, second, OTHER)
    assert headers["cache-status"] == "phi3; fwd=miss; stored"
    await ask(bench, first)
    started = bench.engine.started
    hit, headers = await ask(bench, second, request_id="mine")
    assert headers["cache-status"].startswith("phi3; hit; ttl=")
    assert headers["age"] == "0"
    assert plain(hit) == plain(missed)
    assert all(json.loads(piece)["id"] == "chatcmpl-mine" for piece in hit)
    assert bench.engine.started == started


async def test_no_tenant_gets_another_s_answer(bench: Bench) -> None:
    await ask(bench, GREEDY, ACME)
    _, headers = await ask(bench, GREEDY, OTHER)
    assert headers["cache-status"] == "phi3; fwd=miss; stored"
    assert bench.engine.started == 2


async def test_what_is_not_the_same_again_is_not_kept(bench: Bench) -> None:
    for _ in range(2):
        _, headers = await ask(bench, CHAT | {"temperature": 1})
        assert headers["cache-status"] == "phi3; fwd=bypass"
    assert bench.engine.started == 2


async def test_cache_control_is_obeyed(bench: Bench) -> None:
    with pytest.raises(NotCached):
        await ask(bench, GREEDY, cache_control="only-if-cached")
    await ask(bench, GREEDY, cache_control="no-store")
    with pytest.raises(NotCached):
        await ask(bench, GREEDY, cache_control="only-if-cached")
    await ask(bench, GREEDY)
    assert bench.engine.started == 2
    _, headers = await ask(bench, GREEDY, cache_control="no-cache")
    assert (headers["cache-status"], bench.engine.started) == ("phi3; fwd=request; stored", 3)
    _, headers = await ask(bench, GREEDY, cache_control="max-age=60, only-if-cached")
    assert headers["cache-status"].startswith("phi3; hit")
    warm = CHAT | {"temperature": 1}
    await ask(bench, warm, cache_control="max-age=60")
    await ask(bench, warm, cache_control="max-age=60")
    assert bench.engine.started == 4


@pytest.mark.parametrize("leader_leaves", [False, True])
async def test_two_hundred_at_once_cost_one_generation(
    parts: MakeParts, leader_leaves: bool
) -> None:
    engine = Listening(word_s=0.5)
    bench = Bench(parts, engine).opened()
    tasks = [
        asyncio.create_task(
            ask(bench, WITH_USAGE if number % 2 else GREEDY, request_id=str(number))
        )
        for number in range(200)
    ]

    async def many_listen() -> bool:
        flights = bench.parts.cache._flights._flights.values()
        return bool(engine.asked) and sum(flight._listeners for flight in flights) > 1

    await wait_for_async(many_listen, "others have joined the first")
    if leader_leaves:
        tasks.pop(int(engine.asked[0])).cancel()
    answers = await asyncio.gather(*tasks)
    assert bench.engine.started == 1
    for pieces, headers in answers:
        assert headers["cache-status"] in {"phi3; fwd=miss; stored", "phi3; fwd=miss; collapsed"}
        documents = [json.loads(piece) for piece in pieces]
        text = "".join(
            choice.get("delta", choice.get("message"))["content"]
            for document in documents
            for choice in document["choices"]
            if choice.get("delta") != {}
        )
        assert text == "one two three"
    rows = await bench.rows()
    assert len(rows) == 200
    outcomes = {(row["outcome"], row["cache_status"]) for row in rows}
    assert ("ok", "collapsed") in outcomes
    made = [row for row in rows if row["cache_status"] == "miss"]
    assert len(made) == 1
    shared = [row for row in rows if row["cache_status"] == "collapsed"]
    assert {(row["prompt_tokens"], row["cached_tokens"]) for row in shared} == {(3, 3)}


async def test_when_all_have_left_the_engine_stops(bench: Bench) -> None:
    bench.engine.word_s = 60
    tasks = [asyncio.create_task(ask(bench, GREEDY)) for _ in range(3)]

    async def is_running() -> bool:
        return bench.engine.running == 1 and bench.in_flight == 3

    await wait_for_async(is_running, "all three share one generation")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    async def has_stopped() -> bool:
        return bench.engine.running == 0

    await wait_for_async(has_stopped, "the engine has stopped")
    assert bench.engine.started == 1


async def test_a_failed_generation_is_not_kept(bench: Bench) -> None:
    bench.engine.enqueue(EngineFailure("It broke."))
    with pytest.raises(EngineFailure):
        await ask(bench, GREEDY)
    pieces, _ = await ask(bench, GREEDY)
    assert b"one two three" in pieces[0]


async def test_a_hit_costs_a_request_and_no_tokens(bench: Bench) -> None:
    caller = Caller("acme", "k1", quota=Quota(requests_per_minute=3, tokens_per_minute=1000))
    for _ in range(3):
        await ask(bench, GREEDY, caller)
    standing = await bench.parts.limiter.standing(caller)
    assert standing.tokens is not None
    assert 1000 - standing.tokens.remaining == 6
    with pytest.raises(RateLimited):
        await ask(bench, GREEDY, caller)
    assert bench.engine.started == 1


async def test_who_joins_one_that_is_refused_is_let_in_for_themselves(bench: Bench) -> None:
    used_up = Caller("acme", "k1", quota=Quota(tokens_per_minute=5))
    poor = asyncio.create_task(ask(bench, GREEDY, used_up))
    rich = asyncio.create_task(ask(bench, GREEDY, ACME))
    results = await asyncio.gather(poor, rich, return_exceptions=True)
    assert isinstance(results[0], RateLimited)
    assert not isinstance(results[1], BaseException)
    assert b"one two three" in results[1][0][0]


async def test_answers_outlive_the_process(parts: MakeParts) -> None:
    first = Bench(parts).opened()
    await ask(first, GREEDY)
    await first.parts.cache.close()
    second = Bench(parts).opened()
    _, headers = await ask(second, GREEDY)
    assert headers["cache-status"].startswith("phi3; hit")
    assert second.engine.started == 0


async def test_a_cache_that_is_off_has_no_part(parts: MakeParts) -> None:
    bench = Bench(lambda metrics: parts(metrics, cache=False)).opened()
    for _ in range(2):
        assert await whole(bench.answer(GREEDY))
    assert bench.engine.started == 2

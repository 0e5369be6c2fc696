"""A request that is sent again under its Idempotency-Key gets the same answer, once paid."""

import asyncio
import json
from typing import Any

import pytest

from phi3_bento.call import Call
from phi3_bento.caller import Caller, Quota
from phi3_bento.core import Operation
from phi3_bento.errors import EngineFailure, InvalidRequest, KeyReused, RateLimited
from tests.unit.bench import CHAT, STREAM, Bench, MakeParts

SAMPLED = CHAT | {"temperature": 1}
ACME = Caller(tenant="acme", key_id="k1")
OTHER = Caller(tenant="other", key_id="k2")


@pytest.fixture
async def bench(parts: MakeParts) -> Bench:
    bench = Bench(parts).opened()
    bench.engine.enqueue("the first answer", "the second answer", "the third answer")
    return bench


async def ask(
    bench: Bench,
    body: dict[str, Any] = SAMPLED,
    *,
    key: str | None = "key-1",
    caller: Caller = ACME,
    cache_control: str | None = None,
) -> tuple[str, dict[str, str]]:
    """What the answer says, and the headers that the stages set."""
    call = Call(caller, "id", cache_control=cache_control, idempotency_key=key)
    pieces = [
        json.loads(piece) async for piece in bench.pipeline.answer(Operation.CHAT, body, call)
    ]
    choices = [choice for piece in pieces for choice in piece["choices"]]
    said = ((choice.get("message") or choice["delta"]).get("content") for choice in choices)
    return "".join(text or "" for text in said), call.headers


async def test_a_sampled_answer_is_given_again_under_its_key_alone(bench: Bench) -> None:
    assert (await ask(bench))[0] == "the first answer"
    again, headers = await ask(bench)
    assert again == "the first answer"
    assert headers["idempotent-replayed"] == "true"
    assert (await ask(bench, key="key-2"))[0] == "the second answer"
    assert (await ask(bench, key=None))[0] == "the third answer"
    assert bench.engine.started == 3


async def test_the_second_request_costs_no_tokens_and_has_a_row(bench: Bench) -> None:
    caller = Caller("acme", "k1", quota=Quota(tokens_per_minute=1000))
    body = SAMPLED | {"max_tokens": 5}
    await ask(bench, body, caller=caller)
    tokens = (await bench.parts.limiter.standing(caller)).tokens
    await ask(bench, body, caller=caller)
    after = (await bench.parts.limiter.standing(caller)).tokens
    assert tokens and after and tokens.remaining == after.remaining < 1000
    assert [row["cache_status"] for row in await bench.rows()] == ["miss", "hit"]


async def test_a_stream_and_a_whole_answer_are_the_same_request(bench: Bench) -> None:
    first, _ = await ask(bench, STREAM | {"temperature": 1})
    assert (await ask(bench))[0] == first
    assert bench.engine.started == 1


async def test_another_request_under_the_same_key_is_an_error(bench: Bench) -> None:
    await ask(bench)
    with pytest.raises(KeyReused) as caught:
        await ask(bench, SAMPLED | {"top_p": 0.5})
    assert caught.value.status == 422
    assert "retry-after" not in caught.value.headers
    assert (await ask(bench))[0] == "the first answer", "the first keeps its answer"


async def test_tenants_do_not_share_keys(bench: Bench) -> None:
    assert (await ask(bench))[0] == "the first answer"
    assert (await ask(bench, caller=OTHER))[0] == "the second answer"


async def test_a_twin_that_comes_meanwhile_waits_for_the_answer(bench: Bench) -> None:
    bench.engine.word_s = 0.01
    answers = await asyncio.gather(*(ask(bench) for _ in range(5)))
    assert {text for text, _ in answers} == {"the first answer"}
    assert bench.engine.started == 1
    assert sum("idempotent-replayed" in headers for _, headers in answers) == 4


async def test_another_request_meanwhile_is_an_error(bench: Bench) -> None:
    bench.engine.word_s = 0.01
    first = asyncio.create_task(ask(bench))
    while not bench.engine.started:
        await asyncio.sleep(0)
    with pytest.raises(KeyReused):
        await ask(bench, SAMPLED | {"top_p": 0.5})
    assert (await first)[0] == "the first answer"


async def test_a_failure_is_not_kept(parts: MakeParts) -> None:
    bench = Bench(parts).opened()
    bench.engine.enqueue(EngineFailure("no"), "the answer")
    with pytest.raises(EngineFailure):
        await ask(bench)
    text, headers = await ask(bench)
    assert text == "the answer"
    assert "idempotent-replayed" not in headers


async def test_a_refusal_by_a_limit_is_not_kept(bench: Bench) -> None:
    caller = Caller("acme", "k1", quota=Quota(requests_per_minute=1))
    await ask(bench, caller=caller, key="other")
    with pytest.raises(RateLimited):
        await ask(bench, caller=caller)
    assert (await ask(bench))[0] == "the second answer"


@pytest.mark.parametrize(
    ("body", "cache_control"),
    [(SAMPLED, "no-store"), (SAMPLED | {"prompt_logprobs": 1}, None)],
)
async def test_what_cannot_be_kept_is_refused(
    bench: Bench, body: dict[str, Any], cache_control: str | None
) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        await ask(bench, body, cache_control=cache_control)


async def test_without_the_cache_it_is_refused(parts: MakeParts) -> None:
    bench = Bench(lambda metrics: parts(metrics, cache=False)).opened()
    with pytest.raises(InvalidRequest, match="PHI3_CACHE"):
        await ask(bench)
    assert (await ask(bench, key=None))[0]

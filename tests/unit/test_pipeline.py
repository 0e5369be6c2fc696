"""The pipeline answers, counts and ends every request, whatever becomes of it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from phi3_bento.call import Call
from phi3_bento.caller import Caller, Quota
from phi3_bento.core import Job, Operation, whole
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.engine.state import State, Step
from phi3_bento.errors import (
    DeadlineExceeded,
    EngineFailure,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
)
from phi3_bento.phi3_error import Phi3Error
from tests.unit.bench import CHAT, STREAM, Bench, MakeParts
from tests.unit.settling import settle


async def test_before_the_engine_is_there_requests_are_told_to_come_back(parts: MakeParts) -> None:
    bench = Bench(parts)
    with pytest.raises(Unavailable, match="starts") as caught:
        await whole(bench.answer())
    assert int(caught.value.headers["retry-after"]) >= 1
    assert bench.pipeline.health().state is State.STARTING
    with pytest.raises(Unavailable):
        _ = bench.pipeline.card
    assert bench.outcomes() == {"service_unavailable": 1}


async def test_after_a_failed_start_the_reason_is_told(parts: MakeParts) -> None:
    bench = Bench(parts)
    bench.pipeline.fail("The model does not fit.")
    assert bench.pipeline.health().state is State.DEAD
    with pytest.raises(Unavailable, match=r"The model does not fit\."):
        await whole(bench.answer())


async def test_with_an_engine_requests_are_answered_and_health_is_the_engine_s(
    bench: Bench,
) -> None:
    assert bench.pipeline.health() == bench.engine.health()
    assert bench.pipeline.card == bench.engine.card
    assert b"one two three" in await whole(bench.answer())
    await bench.engine.close()
    assert bench.pipeline.health().state is State.CLOSED


async def test_a_finished_answer_is_counted_and_timed(bench: Bench) -> None:
    pieces = [piece async for piece in bench.answer(STREAM)]
    assert len(pieces) == 5
    assert (bench.outcomes(), bench.in_flight) == ({"ok": 1}, 0)
    count = "phi3_request_duration_seconds_count"
    assert bench.value(count, operation="chat") == 1
    assert bench.value("phi3_time_to_first_piece_seconds_count", operation="chat") == 1


async def test_a_request_is_in_flight_while_it_runs(bench: Bench) -> None:
    pieces = bench.answer(STREAM)
    await anext(pieces)
    assert (bench.in_flight, bench.outcomes()) == (1, {})
    await pieces.aclose()
    assert bench.in_flight == 0


async def test_an_answer_that_its_client_leaves_is_stopped_and_counted_aborted(
    bench: Bench,
) -> None:
    pieces = bench.answer(STREAM)
    await anext(pieces)
    await pieces.aclose()
    assert (bench.engine.running, bench.engine.aborted) == (0, 1)
    assert bench.outcomes() == {"aborted": 1}


async def test_a_cancelled_request_is_stopped_and_counted_aborted(bench: Bench) -> None:
    bench.engine.word_s = 60
    task = bench.started()
    await settle()
    assert bench.engine.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.engine.running, bench.in_flight, bench.outcomes()) == (0, 0, {"aborted": 1})


@pytest.mark.parametrize(
    ("body", "error", "outcome"),
    [
        ({}, InvalidRequest, "invalid_request_error"),
        (CHAT | {"n": 3}, InvalidRequest, "invalid_request_error"),
        (CHAT | {"cache_salt": "mine"}, InvalidRequest, "invalid_request_error"),
        (CHAT | {"model": "gpt-4"}, ModelNotFound, "model_not_found"),
    ],
)
async def test_a_refused_request_does_not_reach_the_engine_and_is_counted(
    bench: Bench, body: dict[str, Any], error: type[Phi3Error], outcome: str
) -> None:
    with pytest.raises(error):
        await whole(bench.answer(body))
    assert (bench.engine.started, bench.outcomes()) == (0, {outcome: 1})


@pytest.mark.parametrize("script", [EngineFailure("It broke."), ZeroDivisionError("a bug")])
async def test_a_failure_is_passed_on_and_counted_as_one(bench: Bench, script: Exception) -> None:
    bench.engine.enqueue(script)
    with pytest.raises(type(script)):
        await whole(bench.answer())
    assert (bench.outcomes(), bench.in_flight) == ({"engine_failure": 1}, 0)
    assert not bench.value("phi3_time_to_first_piece_seconds_count", operation="chat")


class SilentEngine(EchoEngine):
    """An engine whose answers have no piece."""

    async def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        for piece in ():
            yield piece


async def test_an_engine_that_gives_no_answer_has_failed(parts: MakeParts) -> None:
    bench = Bench(parts, SilentEngine()).opened()
    with pytest.raises(EngineFailure):
        await whole(bench.answer())
    assert bench.outcomes() == {"engine_failure": 1}


async def test_an_answer_that_does_not_begin_in_time_is_given_up(parts: MakeParts) -> None:
    bench = Bench(parts, EchoEngine(word_s=60), limit_s=0.02).opened()
    with pytest.raises(DeadlineExceeded, match=r"0\.02 s"):
        await whole(bench.answer(STREAM))
    assert (bench.engine.running, bench.outcomes()) == (0, {"deadline_exceeded": 1})


async def test_an_answer_that_began_in_time_may_take_longer(parts: MakeParts) -> None:
    bench = Bench(parts, EchoEngine(word_s=0.02), limit_s=0.1).opened()
    body = {"messages": [{"role": "user", "content": "word " * 10}], "stream": True}
    assert len([piece async for piece in bench.answer(body)]) == 12


async def test_limits_count_what_was_used_and_nothing_of_what_was_refused(bench: Bench) -> None:
    caller = Caller("acme", "k1", quota=Quota(requests_per_minute=2, tokens_per_minute=600))
    with pytest.raises(InvalidRequest):
        await whole(bench.answer({}, caller))
    bench.engine.enqueue(EngineFailure("It broke before it began."))
    with pytest.raises(EngineFailure):
        await whole(bench.answer(caller=caller))
    await whole(bench.answer(caller=caller))
    standing = await bench.parts.limiter.standing(caller)
    assert standing.requests is not None
    assert standing.tokens is not None
    assert (standing.requests.remaining, standing.tokens.remaining) == (1, 594)
    await whole(bench.answer(CHAT | {"max_tokens": 1}, caller))
    with pytest.raises(RateLimited):
        await whole(bench.answer(CHAT | {"max_tokens": 1}, caller))
    assert [row["completion_tokens"] for row in await bench.rows()] == [0, 3, 1]


async def test_who_hangs_up_gives_slot_and_tokens_back(bench: Bench) -> None:
    caller = Caller("acme", "k1", quota=Quota(concurrent_requests=1, tokens_per_minute=600))
    pieces = bench.answer(STREAM, caller)
    await anext(pieces)
    with pytest.raises(RateLimited):
        await whole(bench.answer(caller=caller))
    await pieces.aclose()
    standing = await bench.parts.limiter.standing(caller)
    assert standing.tokens is not None
    assert standing.tokens.remaining == 600 - 4
    await whole(bench.answer(caller=caller))


async def test_who_leaves_an_unstreamed_answer_is_charged_an_estimate(bench: Bench) -> None:
    for _ in range(8):
        bench.parts.meter.observe(Step(0, 1, 0.001))
        bench.parts.meter.observe(Step(10, 0, 0.001))
    bench.engine.word_s = 60
    caller = Caller("acme", "k1", quota=Quota(tokens_per_minute=600))
    task = asyncio.create_task(whole(bench.answer(CHAT | {"max_tokens": 5}, caller)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = await bench.rows()
    assert row["outcome"] == "aborted"
    assert 1 <= row["completion_tokens"] <= 5
    standing = await bench.parts.limiter.standing(caller)
    assert standing.tokens is not None
    assert 600 - standing.tokens.remaining == row["prompt_tokens"] + row["completion_tokens"]


async def test_a_key_for_other_models_may_not_ask_this_one(bench: Bench) -> None:
    with pytest.raises(PermissionDenied, match="phi3-echo"):
        await whole(bench.answer(caller=Caller("acme", "k1", models=frozenset({"other"}))))
    await whole(bench.answer(caller=Caller("acme", "k1", models=frozenset({"phi3-echo"}))))


def learn_half_a_second(bench: Bench) -> None:
    """Of every step of the engine."""
    for _ in range(8):
        bench.parts.meter.observe(Step(0, 1, 0.5))
        bench.parts.meter.observe(Step(10, 0, 0.5))


@pytest.mark.parametrize(("named", "default"), [(100, None), (None, 100), (100, 60_000)])
async def test_a_deadline_of_the_request_or_of_its_key_is_held_or_refused_at_once(
    bench: Bench, named: int | None, default: int | None
) -> None:
    learn_half_a_second(bench)
    caller = Caller("acme", "k1", slo_ttft_ms=default)
    with pytest.raises(Unavailable) as caught:
        await whole(bench.answer(STREAM, caller, named))
    assert caught.value.code == "deadline_unmeetable"
    assert bench.engine.started == 0
    assert len([piece async for piece in bench.answer(STREAM, caller, 60_000)]) == 5
    assert bench.value("phi3_first_token_prediction_error_seconds_count") == 1


@pytest.mark.parametrize("body", [CHAT, CHAT | {"temperature": 1}, CHAT | {"n": 2}])
async def test_who_is_refused_for_a_deadline_is_not_parsed(
    parts: MakeParts, body: dict[str, Any]
) -> None:
    class Reading(EchoEngine):
        parsed = 0

        def parse(self, operation: Operation, body: Mapping[str, Any], request_id: str) -> Job:
            self.parsed += 1
            return super().parse(operation, body, request_id)

    engine = Reading()
    bench = Bench(parts, engine).opened()
    learn_half_a_second(bench)
    with pytest.raises(Unavailable) as caught:
        await whole(bench.answer(body, slo_ttft_ms=100))
    assert (caught.value.code, engine.parsed) == ("deadline_unmeetable", 0)
    await whole(bench.answer(body, slo_ttft_ms=60_000))
    assert engine.parsed == 1


async def test_who_wants_to_go_last_has_no_deadline_but_its_own(bench: Bench) -> None:
    learn_half_a_second(bench)
    caller = Caller("acme", "k1", slo_ttft_ms=100)
    call = Call(caller, "id-1", is_idle=True)
    assert await whole(bench.pipeline.answer(Operation.CHAT, CHAT, call))
    call = Call(caller, "id-2", slo_ttft_ms=100, is_idle=True)
    with pytest.raises(Unavailable) as caught:
        await whole(bench.pipeline.answer(Operation.CHAT, CHAT, call))
    assert caught.value.code == "deadline_unmeetable"


async def test_waiting_work_reaches_the_engine_with_its_order(parts: MakeParts) -> None:
    class Listening(EchoEngine):
        orders: list[int]

        def run(self, job: Job) -> AsyncGenerator[bytes, None]:
            self.orders.append(job.priority)
            return super().run(job)

    engine = Listening()
    engine.orders = []
    bench = Bench(parts, engine).opened()
    await whole(bench.answer())
    await whole(bench.answer(caller=Caller("acme", "k1", priority=1)))
    await whole(bench.answer(slo_ttft_ms=10))
    normal, important, urgent = engine.orders
    assert important < urgent < normal

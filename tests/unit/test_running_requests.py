"""Every request that runs is counted once, and a drain ends them all."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from phi3_bento.caller import Caller
from phi3_bento.core import whole
from phi3_bento.errors import (
    EngineFailure,
    InvalidRequest,
    Unavailable,
)
from phi3_bento.tables import usage
from tests.unit.bench import CHAT, STREAM, Bench
from tests.unit.settling import settle


async def test_a_drain_lets_running_answers_finish_and_takes_no_new_ones(bench: Bench) -> None:
    bench.engine.word_s = 0.01
    running = bench.started(STREAM)
    await settle()
    drain = asyncio.create_task(bench.pipeline.drain(30))
    await settle()
    assert not drain.done()
    with pytest.raises(Unavailable, match="shutting down") as caught:
        await whole(bench.answer())
    assert caught.value.headers
    assert not bench.pipeline.health().is_ready
    assert len(await running) == 5
    await settle()
    assert drain.done()
    assert bench.outcomes() == {"ok": 1, "service_unavailable": 1}


@pytest.mark.parametrize("limit_s", [0, 30])
async def test_a_drain_without_running_answers_is_done_at_once(
    bench: Bench, limit_s: float
) -> None:
    await whole(bench.answer())
    drain = asyncio.create_task(bench.pipeline.drain(limit_s))
    await settle()
    assert drain.done()
    assert bench.outcomes() == {"ok": 1}


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_a_drain_cuts_off_what_takes_longer_and_says_so(
    bench: Bench, body: dict[str, Any]
) -> None:
    bench.engine.word_s = 60
    running = [bench.started(body), bench.started(body)]
    await settle()
    assert bench.in_flight == 2
    await bench.pipeline.drain(0)
    results = await asyncio.gather(*running, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable, Unavailable]
    assert "shutting down" in str(results[0])
    assert (bench.engine.running, bench.in_flight) == (0, 0)
    assert bench.outcomes() == {"cut_off": 2}


async def test_who_is_cut_off_can_still_tell_the_client(bench: Bench) -> None:
    """The task goes on after the failure: a stream sends an error event and its end."""
    bench.engine.word_s = 60

    async def serve() -> str:
        try:
            await whole(bench.answer())
        except Unavailable:
            await asyncio.sleep(0)
        return "told"

    task = asyncio.create_task(serve())
    await settle()
    await bench.pipeline.drain(0)
    assert await task == "told"
    assert task.cancelling() == 0


async def test_every_request_that_was_let_in_has_one_row(bench: Bench) -> None:
    caller = Caller(tenant="acme", key_id="k1")
    await whole(bench.answer(caller=caller))
    pieces = bench.answer(STREAM)
    await anext(pieces)
    await anext(pieces)
    await pieces.aclose()
    bench.engine.enqueue(EngineFailure("It broke."))
    with pytest.raises(EngineFailure):
        await whole(bench.answer())
    with pytest.raises(InvalidRequest):
        await whole(bench.answer({}))
    first, *others = await bench.rows()
    assert (first["tenant"], first["key_id"], first["request_id"]) == ("acme", "k1", "id-1")
    assert (first["operation"], first["model"]) == ("chat", "phi3-echo")
    assert (first["prompt_tokens"], first["completion_tokens"], first["outcome"]) == (3, 3, "ok")
    assert 0 <= first["ttft_ms"] <= first["duration_ms"]
    counted = {row["outcome"]: row["completion_tokens"] for row in others}
    assert counted == {"aborted": 1, "engine_failure": 0}
    assert len(others) == 2


async def test_the_row_is_written_before_the_answer_ends(bench: Bench) -> None:
    pieces = bench.answer(STREAM)
    async for _ in pieces:
        pass
    async with bench.parts.database.connect() as connection:
        assert len((await connection.execute(select(usage))).all()) == 1

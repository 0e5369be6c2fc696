"""The pipeline answers, counts and ends every request, whatever becomes of it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from phi3_bento.core import Job, Operation, State, whole
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.errors import (
    DeadlineExceeded,
    EngineFailure,
    InvalidRequest,
    ModelNotFound,
    Phi3Error,
    Unavailable,
)
from phi3_bento.pipeline import Pipeline
from phi3_bento.usage.metrics import Metrics

CHAT = {"messages": [{"role": "user", "content": "one two three"}]}
STREAM = CHAT | {"stream": True}


class Bench:
    """A pipeline over an echo engine, and what its metrics say."""

    def __init__(self, engine: EchoEngine | None = None, *, limit_s: float = 30) -> None:
        self.registry = CollectorRegistry()
        self.engine = engine or EchoEngine()
        self.pipeline = Pipeline(
            metrics=Metrics(self.registry), max_choices=2, first_piece_limit_s=limit_s
        )

    def opened(self) -> "Bench":
        self.pipeline.open(self.engine)
        return self

    def answer(self, body: object = CHAT) -> AsyncGenerator[bytes, None]:
        return self.pipeline.answer(Operation.CHAT, body, "id-1")

    def started(self, body: object = CHAT) -> "asyncio.Task[list[bytes]]":
        """The answer, read by a task of its own as the HTTP layer does."""

        async def read() -> list[bytes]:
            return [piece async for piece in self.answer(body)]

        return asyncio.create_task(read())

    def outcomes(self) -> dict[str, float]:
        return {
            sample.labels["outcome"]: sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "phi3_requests_total"
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    @property
    def in_flight(self) -> float | None:
        return self.value("phi3_requests_in_flight")


@pytest.fixture
def bench() -> Bench:
    return Bench().opened()


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_before_the_engine_is_there_requests_are_told_to_come_back() -> None:
    bench = Bench()
    with pytest.raises(Unavailable, match="starts") as caught:
        await whole(bench.answer())
    assert int(caught.value.headers["retry-after"]) >= 1
    assert bench.pipeline.health().state is State.STARTING
    with pytest.raises(Unavailable):
        _ = bench.pipeline.card
    assert bench.outcomes() == {"service_unavailable": 1}


async def test_after_a_failed_start_the_reason_is_told() -> None:
    bench = Bench()
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


async def test_an_engine_that_gives_no_answer_has_failed() -> None:
    bench = Bench(SilentEngine()).opened()
    with pytest.raises(EngineFailure):
        await whole(bench.answer())
    assert bench.outcomes() == {"engine_failure": 1}


async def test_an_answer_that_does_not_begin_in_time_is_given_up() -> None:
    bench = Bench(EchoEngine(word_s=60), limit_s=0.02).opened()
    with pytest.raises(DeadlineExceeded, match=r"0\.02 s"):
        await whole(bench.answer(STREAM))
    assert (bench.engine.running, bench.outcomes()) == (0, {"deadline_exceeded": 1})


async def test_an_answer_that_began_in_time_may_take_longer() -> None:
    bench = Bench(EchoEngine(word_s=0.02), limit_s=0.1).opened()
    body = {"messages": [{"role": "user", "content": "word " * 10}], "stream": True}
    assert len([piece async for piece in bench.answer(body)]) == 12


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

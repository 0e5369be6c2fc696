"""An engine that ends, or stands still, is replaced; one that does so too often is given up."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from phi3_bento import keeper
from phi3_bento.engine.base import Engine
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.engine.state import Health, State
from phi3_bento.errors import StartFailure, Unavailable
from phi3_bento.keeper import EngineKeeper, Restarts
from tests.unit.bench import CHAT, Bench, MakeParts

DEAD = Health(State.DEAD, "The engine's process has ended.")
STALLED = Health(State.STALLED, "It made no step.")
KEPT = CHAT | {"temperature": 0}


def test_restarts_come_at_once_then_later_and_then_not_at_all() -> None:
    restarts = Restarts(4, within_s=100)
    assert [restarts.next_delay_s(now) for now in (0, 1, 2, 3, 4)] == [0, 1, 2, 4, None]
    assert restarts.next_delay_s(101.5) == 2, "the first two are forgotten"


def test_no_restart_is_allowed_by_zero() -> None:
    assert Restarts(0).next_delay_s(0) is None


class Kept:
    """A bench whose engine is looked after."""

    def __init__(self, parts: MakeParts, *, most: int = 5, replace_after_s: float = 0.0) -> None:
        self.bench = Bench(parts)
        self.engines: list[EchoEngine] = []
        self.failing: list[Exception] = []
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.restarted: list[str] = []
        self._keeper = EngineKeeper(
            self.bench.pipeline,
            self._start,
            restarts=Restarts(most),
            replace_after_s=replace_after_s,
            on_restart=self.restarted.append,
        )
        self.task = asyncio.create_task(self._keeper.run())

    async def _start(self) -> Engine:
        await self.may_start.wait()
        if self.engines and self.failing:
            raise self.failing.pop()
        engine = EchoEngine()
        self.engines.append(engine)
        self.bench.pipeline.open(engine, self.bench.parts.gate(engine.card))
        return engine

    @property
    def state(self) -> State:
        return self.bench.pipeline.health().state

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(keeper, "CHECK_S", 0.001)
    yield


async def test_a_dead_engine_is_closed_and_another_answers(parts: MakeParts) -> None:
    kept = Kept(parts)
    await kept.until(lambda: kept.state is State.READY)
    kept.engines[0].state = DEAD
    await kept.until(lambda: len(kept.engines) == 2 and kept.state is State.READY)
    assert kept.engines[0].state.state is State.CLOSED
    assert kept.restarted == ["dead"]
    assert [piece async for piece in kept.bench.answer()]
    assert (kept.engines[0].started, kept.engines[1].started) == (0, 1)
    kept.task.cancel()


async def test_meanwhile_kept_answers_are_given_and_others_told_when_to_come_back(
    parts: MakeParts,
) -> None:
    kept = Kept(parts)
    await kept.until(lambda: kept.state is State.READY)
    first = [piece async for piece in kept.bench.answer(KEPT)]
    kept.may_start.clear()
    kept.engines[0].state = DEAD
    await kept.until(lambda: kept.engines[0].state.state is State.CLOSED)
    assert kept.state is State.STARTING
    assert kept.bench.pipeline.health().is_alive
    again = [piece async for piece in kept.bench.answer(KEPT)]
    assert len(again) == len(first)
    with pytest.raises(Unavailable, match="started again") as caught:
        _ = [piece async for piece in kept.bench.answer(CHAT | {"max_tokens": 1})]
    assert int(caught.value.headers["retry-after"]) >= 1
    kept.task.cancel()
    rows = await kept.bench.rows()
    assert [row["cache_status"] for row in rows] == ["miss", "hit"], "a refusal has no row"


async def test_a_stalled_engine_gets_its_time_and_may_go_on(parts: MakeParts) -> None:
    kept = Kept(parts, replace_after_s=3600)
    await kept.until(lambda: kept.state is State.READY)
    kept.engines[0].state = STALLED
    await asyncio.sleep(0.05)
    kept.engines[0].state = Health(State.READY)
    await asyncio.sleep(0.05)
    assert len(kept.engines) == 1
    kept.task.cancel()


async def test_a_stalled_engine_is_replaced_after_its_time(parts: MakeParts) -> None:
    kept = Kept(parts)
    await kept.until(lambda: kept.state is State.READY)
    kept.engines[0].state = STALLED
    await kept.until(lambda: len(kept.engines) == 2)
    assert kept.restarted == ["stalled"]
    kept.task.cancel()


async def test_an_engine_that_ends_too_often_is_given_up(parts: MakeParts) -> None:
    kept = Kept(parts, most=1)
    await kept.until(lambda: kept.state is State.READY)
    kept.engines[0].state = DEAD
    await kept.until(lambda: len(kept.engines) == 2)
    kept.engines[1].state = DEAD
    with pytest.raises(StartFailure, match="too often"):
        await kept.task


async def test_a_restart_that_fails_is_tried_again(parts: MakeParts) -> None:
    kept = Kept(parts)
    await kept.until(lambda: kept.state is State.READY)
    kept.failing = [RuntimeError("no memory")]
    kept.engines[0].state = DEAD
    await kept.until(lambda: len(kept.engines) == 2)
    kept.task.cancel()


async def test_what_the_first_start_raises_stops_the_service(parts: MakeParts) -> None:
    kept = Kept(parts)
    kept.task.cancel()

    async def fail() -> Engine:
        raise StartFailure("The model does not fit.")

    with pytest.raises(StartFailure, match="does not fit"):
        await EngineKeeper(kept.bench.pipeline, fail, restarts=Restarts(5), replace_after_s=0).run()


async def test_an_engine_that_comes_while_the_service_ends_opens_nothing(parts: MakeParts) -> None:
    kept = Kept(parts)
    await kept.until(lambda: kept.state is State.READY)
    await kept.bench.pipeline.drain(0)
    kept.engines[0].state = DEAD
    await kept.until(lambda: len(kept.engines) == 2)
    assert kept.state is State.CLOSED
    kept.task.cancel()

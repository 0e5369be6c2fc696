"""Work ends with its client."""

import asyncio

import pytest
from starlette.types import Message

from phi3_bento.errors import EngineFailure
from phi3_bento.responses import (
    ClientGone,
    run_while_connected,
)
from tests.unit.clients import Client, assert_nothing_goes_on


async def test_work_that_ends_gives_its_result_and_the_watch_ends(client: Client) -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await run_while_connected(client.receive, work()) == "done"
    await assert_nothing_goes_on()


async def test_a_failure_of_the_work_is_passed_on_and_the_watch_ends(client: Client) -> None:
    async def work() -> None:
        raise EngineFailure("It broke.")

    with pytest.raises(EngineFailure):
        await run_while_connected(client.receive, work())
    await assert_nothing_goes_on()


@pytest.mark.parametrize("last_words", [None, EngineFailure("It broke while it was stopped.")])
async def test_a_hang_up_cancels_the_work_before_it_is_told(
    client: Client, last_words: Exception | None
) -> None:
    ends: list[str] = []

    async def work() -> None:
        try:
            client.gone.set()
            await asyncio.sleep(60)
        finally:
            ends.append("stopped")
            if last_words:
                raise last_words

    with pytest.raises(ClientGone):
        await run_while_connected(client.receive, work())
    assert ends == ["stopped"]
    await assert_nothing_goes_on()


async def test_who_is_cancelled_cancels_the_work(client: Client) -> None:
    ends: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ends.append("stopped")

    task = asyncio.create_task(run_while_connected(client.receive, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends == ["stopped"]
    await assert_nothing_goes_on()


async def test_what_is_left_of_the_body_does_not_look_like_a_hang_up() -> None:
    messages: list[Message] = [{"type": "http.request", "body": b""}]

    async def receive() -> Message:
        return messages.pop() if messages else await asyncio.Future()

    async def work() -> str:
        await asyncio.sleep(0.01)
        return "done"

    assert await run_while_connected(receive, work()) == "done"

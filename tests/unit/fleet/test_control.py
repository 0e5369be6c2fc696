"""How another terminal speaks with a running fleet."""

import asyncio
import stat
from pathlib import Path

import pytest

from phi3_bento.errors import StartFailure
from phi3_bento.fleet.control import Message, ask, listening, socket_file
from phi3_bento.startup import Say


async def handle(request: Message, say: Say) -> Message:
    if request["do"] == "fail":
        raise StartFailure("There is no replica 7.")
    say("on it")
    return {"status": request["do"]}


async def test_a_request_is_answered_and_told_about(tmp_path: Path) -> None:
    said: list[str] = []
    async with listening(tmp_path, handle):
        answer = await asyncio.to_thread(ask, tmp_path, {"do": "something"}, said.append)
    assert answer["status"] == "something"
    assert said == ["on it"]


async def test_a_failure_comes_as_its_sentence(tmp_path: Path) -> None:
    async with listening(tmp_path, handle):
        with pytest.raises(StartFailure, match=r"^There is no replica 7\.$"):
            await asyncio.to_thread(ask, tmp_path, {"do": "fail"})
        with pytest.raises(StartFailure, match="does not understand"):
            await asyncio.to_thread(ask, tmp_path, {"nothing": 1})


async def test_only_this_user_may_speak(tmp_path: Path) -> None:
    async with listening(tmp_path, handle):
        assert stat.S_IMODE(socket_file(tmp_path).stat().st_mode) == 0o600


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    socket_file(tmp_path).touch()
    async with listening(tmp_path, handle):
        assert (await asyncio.to_thread(ask, tmp_path, {"do": "x"}))["ok"]
    assert not socket_file(tmp_path).exists()


def test_without_a_fleet_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match="No fleet runs"):
        ask(tmp_path / "fleet", {"do": "status"})


async def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match="too long"):
        async with listening(tmp_path / ("x" * 120), handle):
            pass

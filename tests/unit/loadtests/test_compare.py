"""Contestants are asked the same, and their figures are set side by side."""

import asyncio

import pytest

from loadtests.compare.__main__ import table
from loadtests.compare.contestants import Contestant
from loadtests.compare.texts import TEXTS, continuation
from loadtests.compare.timing import Shape, rate, streams
from tests.support import EchoServer, wait_for

SHAPE = Shape(words=12, tokens=8)


async def test_streams_are_timed_from_the_first_piece_to_the_last(echo: EchoServer) -> None:
    echo.engine.word_s = 0.01
    timed = await streams(Contestant("echo", echo.url, echo.engine.card.name), SHAPE, requests=3)
    assert timed.first_s > 0
    assert 0.01 <= timed.gap_s < 1


async def test_every_request_is_asked_once_and_none_is_like_another(echo: EchoServer) -> None:
    contestant = Contestant("echo", echo.url, echo.engine.card.name)
    assert await rate(contestant, SHAPE, at_once=3, requests=10) > 0

    def counted() -> bool:  # metrics are told in batches
        labels = {"operation": "chat", "outcome": "ok", "fault": "none"}
        return echo.metric("phi3_requests_total", **labels) == 10

    await asyncio.to_thread(wait_for, counted, "ten answers are counted")
    assert echo.metric("phi3_cache_requests_total", result="hit") == 0


def test_a_ratio_is_of_the_same_round() -> None:
    results = {"phi3-bento": {"answers/s": [10.0, 30.0]}, "other": {"answers/s": [20.0, 20.0]}}
    text = table(results).markdown()
    assert "| answers/s | 20 | 20 | 1.00 (0.50–1.50) |" in text


def test_no_two_prompts_are_alike() -> None:
    for text in TEXTS.values():
        assert text(1, 12, 40) != text(2, 12, 40)
        assert text(1, 12, 40) == text(1, 12, 40)


def hinted(name: str) -> float:
    """Of the answer's tokens, how many stand in the prompt."""
    *prompt, last = TEXTS[name](7, 300, 100)
    assert isinstance(last, int)
    answer = continuation(last, 100)
    return sum(token in prompt for token in answer) / len(answer)


def test_as_much_of_an_answer_stands_in_its_prompt_as_is_said() -> None:
    assert hinted("copied") == 1
    assert hinted("extraction") == pytest.approx(0.73, abs=0.05)
    assert hinted("misleading") == pytest.approx(0.25, abs=0.05)

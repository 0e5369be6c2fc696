"""Every question of a file is asked once at idle priority; what goes wrong is named by its line."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from phi3_bento.cache.service_client import ServiceClient
from phi3_bento.cache.warming import Problem, Progress, Question, Warming, read_questions
from phi3_bento.errors import StartFailure
from tests.support import wait_for_async

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]


def read(tmp_path: Path, *lines: Any) -> list[Question | Problem]:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines)
    )
    return list(read_questions(path))


@pytest.mark.parametrize(
    ("line", "path", "body"),
    [
        ({"messages": MESSAGES}, CHAT, {"messages": MESSAGES, "temperature": 0}),
        ({"prompt": "Hi"}, COMPLETION, {"prompt": "Hi", "temperature": 0}),
        ({"body": {"messages": MESSAGES}}, CHAT, {"messages": MESSAGES, "temperature": 0}),
        (
            {"path": COMPLETION, "body": {"prompt": "Hi", "seed": 1}},
            COMPLETION,
            {"prompt": "Hi", "seed": 1},
        ),
        (
            {"messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}},
            CHAT,
            {"messages": MESSAGES, "temperature": 0},
        ),
        (
            {"messages": MESSAGES, "temperature": 0.7, "seed": 3},
            CHAT,
            {"messages": MESSAGES, "temperature": 0.7, "seed": 3},
        ),
    ],
)
def test_a_line_becomes_a_request_whose_answer_is_kept(
    tmp_path: Path, line: Any, path: str, body: dict[str, Any]
) -> None:
    assert read(tmp_path, b"", line) == [Question(2, path, body)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "it is not JSON"),
        (b'"\xff"', "it is not JSON"),
        ([], "it has neither 'messages' nor 'prompt'"),
        ({}, "it has neither"),
        ({"body": []}, "it has neither"),
        ({"path": "/tokenize", "body": {"prompt": "x"}}, "'path' is none of /v1/chat/completions"),
        ({"path": ["x"], "body": {"prompt": "x"}}, "'path' is none of"),
        ({"messages": MESSAGES, "temperature": 0.7}, "would not come out the same again"),
        ({"prompt": "x", "echo": True}, "'echo' asks for more"),
    ],
)
def test_a_bad_line_is_named_and_does_not_stop_the_others(
    tmp_path: Path, line: Any, reason: str
) -> None:
    good = {"prompt": "x"}
    first, bad, last = read(tmp_path, good, line, good)
    assert isinstance(bad, Problem)
    assert bad.line == 2
    assert reason in bad.reason
    assert isinstance(first, Question)
    assert isinstance(last, Question)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match=r"none.jsonl cannot be read: No such file"):
        list(read_questions(tmp_path / "none.jsonl"))


def said(status: int, message: str = "No.", **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": {"message": message}}, status, headers=names)


def kept(status: str = "fwd=miss; stored") -> Response:
    return JSONResponse({}, headers={"cache-status": f"phi3; {status}"})


class Scripted:
    """A service that answers as told, to test what a real one does in bad times."""

    def __init__(self, *answers: Response) -> None:
        self.asked: list[tuple[str, Any, str | None]] = []
        self.most_at_once = 0
        self._at_once = 0
        self._answers = iter(answers)
        self.api = FastAPI()
        self.api.add_api_route("/v1/{path:path}", self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        priority = request.headers.get("x-priority")
        self.asked.append((request.url.path, await request.json(), priority))
        await asyncio.sleep(0.005)
        self._at_once -= 1
        return next(self._answers, kept())

    def client(self) -> ServiceClient:
        service = ServiceClient("http://127.0.0.1:1", "key")
        service.options["transport"] = httpx.ASGITransport(app=self.api)
        return service


def questions(count: int) -> list[Question]:
    return [Question(number + 1, CHAT, {"number": number}) for number in range(count)]


async def warm(service: Scripted, count: int = 1, *, concurrency: int = 1) -> Progress:
    progress = Progress(count)
    warming = Warming(service.client(), progress, most_attempts=3)
    await warming.run(questions(count), concurrency=concurrency)
    return progress


async def test_every_question_is_asked_once_at_idle_priority_and_hits_are_told_apart() -> None:
    service = Scripted(kept("hit; ttl=60"), kept(), kept("fwd=miss; collapsed"))
    progress = await warm(service, 3)
    assert (progress.hits, progress.made, progress.failed, progress.done) == (1, 2, 0, 3)
    assert service.asked == [(CHAT, {"number": number}, "idle") for number in range(3)]


async def test_few_are_asked_at_once() -> None:
    service = Scripted()
    progress = await warm(service, 20, concurrency=3)
    assert progress.made == 20
    assert service.most_at_once == 3
    assert sorted(body["number"] for _, body, _ in service.asked) == list(range(20))


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: said(429, retry_after="0", retry_after_ms="1"),
        lambda: said(503, retry_after="0"),
        lambda: said(504, retry_after_ms="0"),
    ],
)
async def test_who_is_refused_for_now_asks_again_when_told(
    refusal: Callable[[], Response],
) -> None:
    progress = await warm(Scripted(refusal(), refusal(), kept()))
    assert (progress.made, progress.retries, progress.failed) == (1, 2, 0)
    progress = await warm(Scripted(*(refusal() for _ in range(3))), 2)
    assert (progress.made, progress.retries, progress.failed) == (1, 2, 1)
    assert progress.problems == [Problem(1, "No.")]


async def test_what_is_refused_for_good_fails_alone_with_what_the_service_says() -> None:
    service = Scripted(
        said(400, "messages is missing."), said(429, x_should_retry="false"), Response("x", 500)
    )
    progress = await warm(service, 4)
    assert progress.problems == [
        Problem(1, "messages is missing."),
        Problem(2, "No."),
        Problem(3, "status 500."),
    ]
    assert (progress.made, progress.failed, progress.retries) == (1, 3, 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: said(401, "Wrong key."), "Wrong key. Name a key with PHI3_API_KEY"),
        (lambda: said(403, "Lacks the scope."), "Lacks the scope."),
        (lambda: kept("fwd=bypass"), "its cache is off"),
        (lambda: JSONResponse({}), "its cache is off"),
    ],
)
async def test_where_no_answer_would_be_kept_nothing_more_is_asked(
    answer: Callable[[], Response], why: str
) -> None:
    service = Scripted(answer())
    with pytest.raises(StartFailure, match=why):
        await warm(service, 50)
    assert len(service.asked) == 1


async def test_a_service_that_goes_away_fails_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("phi3_bento.cache.warming.asyncio.sleep", sleep)
    progress = Progress(1)
    warming = Warming(ServiceClient("http://127.0.0.1:9", None), progress, most_attempts=3)
    await warming.run(questions(1), concurrency=1)
    assert (progress.failed, slept) == (1, [1.0, 2.0])
    assert "No service answers at http://127.0.0.1:9" in progress.problems[0].reason


async def test_a_run_that_is_stopped_has_counted_what_is_through() -> None:
    service, progress = Scripted(), Progress(1000)
    warming = Warming(service.client(), progress, most_attempts=3)
    task = asyncio.create_task(warming.run(questions(1000), concurrency=2))

    async def some_are_through() -> bool:
        return progress.done >= 5

    await wait_for_async(some_are_through, "five are through")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 5 <= progress.made < 1000
    assert len(service.asked) - progress.made <= 2


def test_only_the_first_hundred_problems_are_remembered() -> None:
    progress = Progress(1000)
    for number in range(1000):
        progress.fail(Problem(number, "No."))
    assert (progress.failed, len(progress.problems)) == (1000, 100)


@pytest.mark.parametrize("url", ["", "localhost:11403", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StartFailure, match="is not an address such as"):
        ServiceClient(url, None)


@pytest.mark.parametrize("key", ["", "two words", "ключ", "a\nb"])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(StartFailure) as caught:
        ServiceClient("http://127.0.0.1:1", key)
    assert not key or key not in caught.value.message

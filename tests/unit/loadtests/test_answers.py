"""What an answer says, whole and streamed."""

import json

import pytest

from loadtests.answers import Answer, StreamReader, cache_result, read_answer

USAGE = {"prompt_tokens": 220, "completion_tokens": 1}


@pytest.mark.parametrize(
    ("header", "result"),
    [
        ("phi3; hit; ttl=100", "hit"),
        ("phi3; hit; ttl=100; detail=semantic", "hit"),
        ("phi3; fwd=miss; collapsed", "collapsed"),
        ("phi3; fwd=miss; stored", "miss"),
        ("phi3; fwd=request; stored", "miss"),
        ("phi3; fwd=bypass", "bypass"),
        (None, ""),
    ],
)
def test_the_cache_s_part_is_read_from_its_header(header: str | None, result: str) -> None:
    assert cache_result(header) == result


def test_a_chat_tells_its_tokens() -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 192}}
    body = json.dumps({"choices": [], "usage": usage}).encode()
    assert read_answer(200, body) == Answer("ok", 220, 192, 1)


def test_a_decision_tells_its_tokens() -> None:
    body = json.dumps([{"label": "x", "usage": USAGE | {"cached_tokens": 160}}]).encode()
    assert read_answer(200, body) == Answer("ok", 220, 160, 1)


def test_an_error_is_known_by_its_code() -> None:
    body = (
        b'{"error": {"message": "m", "type": "server_error", "param": null, "code": "overloaded"}}'
    )
    assert read_answer(503, body).outcome == "overloaded"


def test_a_decision_that_failed_alone_is_no_answer() -> None:
    body = b'[{"label": "x"}, {"error": {"type": "server_error", "code": "deadline_unmeetable"}}]'
    assert read_answer(200, body).outcome == "deadline_unmeetable"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [(502, b"<html>", "http 502"), (200, b"<html>", "not JSON"), (404, b"{}", "http 404")],
)
def test_what_is_not_ours_is_an_error(status: int, body: bytes, outcome: str) -> None:
    assert read_answer(status, body).outcome == outcome


def read_stream(*documents: object, end: bool = True) -> tuple[Answer, list[float]]:
    reader = StreamReader()
    lines = [b"data: " + json.dumps(document).encode() for document in documents]
    lines = [b": keep-alive", b"", *lines, *([b"data: [DONE]"] if end else [])]
    for now, line in enumerate(lines):
        reader.take(line + b"\n", float(now))
    return reader.answer(), reader.token_times


def piece(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def test_tokens_of_a_stream_are_timed_when_they_come() -> None:
    usage = {"choices": [], "usage": USAGE}
    answer, times = read_stream(piece(""), piece("one"), piece(" two"), usage)
    assert answer == Answer("ok", 220, 0, 1)
    assert times == [3, 4]


def test_a_stream_without_its_end_is_broken() -> None:
    assert read_stream(piece("one"), end=False)[0].outcome == "broken stream"
    assert read_stream()[0].outcome == "broken stream"


def test_a_stream_with_an_error_is_that_error() -> None:
    error = {"error": {"message": "m", "type": "server_error", "code": "engine_failure"}}
    assert read_stream(piece("one"), error)[0].outcome == "engine_failure"

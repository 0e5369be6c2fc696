"""What BentoML says of an error, its client reads in OpenAI's form."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from phi3_bento.admission.reply import FAILURE_KEY
from phi3_bento.errors import PermissionDenied, Unavailable
from phi3_bento.phi3_error import Phi3Error
from tests.unit.admission.doors import LIMIT, NATIVE, answering, bearer, error_of, request

DETAIL = {"error": "1 validation error", "detail": [{"loc": ["items", 0], "msg": "too long"}]}


@pytest.mark.parametrize(
    ("status", "body", "message", "param", "code"),
    [
        (400, DETAIL, "items.0: too long", "items.0", None),
        (400, [{"error": "Invalid JSON"}], "Invalid JSON", None, None),
        (400, {"error": "no detail", "detail": []}, "no detail", None, None),
        (400, {"detail": [{"loc": [], "msg": "bad"}]}, "bad", None, None),
        (404, {"error": "nothing here"}, "nothing here", None, "not_found"),
        (415, [{"error": "send JSON"}], "send JSON", None, "unsupported_media_type"),
        (405, b"Method Not Allowed", "Method Not Allowed", None, "method_not_allowed"),
    ],
)
async def test_an_error_of_bentoml_is_said_in_openai_s_form(
    status: int, body: Any, message: str, param: str | None, code: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await request(answering(status, raw, chunk=7), NATIVE, headers=bearer())
    assert response.status_code == status
    assert error_of(response) == {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    assert int(response.headers["content-length"]) == len(response.content)


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (405, "method_not_allowed")])
async def test_a_wrong_path_or_method_anywhere_is_told_in_openai_s_form(
    status: int, code: str
) -> None:
    """BentoML answers what is beside our routes and its operations, and that in plain text."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"No"})

    response = await request(app, "/livez")
    assert (response.status_code, error_of(response)["code"]) == (status, code)


async def test_a_native_body_that_turns_out_too_large_is_no_failure_of_the_service() -> None:
    """BentoML takes whatever comes up while it reads a body for a failure of its own."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await answering()(scope, receive, send)
        except Phi3Error:
            await answering(500)(scope, _emptied, send)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * LIMIT

    response = await request(app, NATIVE, content=chunks(), headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")


async def _emptied() -> Any:
    return {"type": "http.request", "body": b""}


async def test_what_broke_inside_is_not_told() -> None:
    body = b'{"error": "Traceback: secret"}'
    response = await request(answering(500, body), NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (500, "engine_failure")
    assert "secret" not in response.text


async def test_a_full_queue_of_bentoml_stays_503_and_says_when_to_come_back() -> None:
    """Its dispatcher refuses batched requests that would be late."""
    response = await request(answering(503, b"{}"), NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (503, "service_unavailable")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_timeout_of_bentoml_stays_504() -> None:
    response = await request(answering(504, b"{}"), NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    "failure", [Unavailable("The engine starts.", retry_after_s=5), PermissionDenied("Not you.")]
)
async def test_a_failure_that_a_native_operation_left_behind_is_told_as_it_is(
    failure: Phi3Error,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[FAILURE_KEY] = failure
        await answering(failure.status, b'{"error": "An unexpected error"}')(scope, receive, send)

    response = await request(app, NATIVE, headers=bearer())
    assert (response.status_code, error_of(response)["message"]) == (
        failure.status,
        failure.message,
    )
    assert failure.headers.items() <= dict(response.headers).items()


async def test_answers_that_are_no_errors_and_paths_that_are_not_native_stay_as_they_are() -> None:
    good = await request(answering(200, b"[1, 2]", chunk=2), NATIVE, headers=bearer())
    other = await request(answering(400, b"[1, 2]"), "/v1/models", headers=bearer())
    assert (good.status_code, good.content, good.headers["x-own"]) == (200, b"[1, 2]", "kept")
    assert (other.status_code, other.content, other.headers["x-own"]) == (400, b"[1, 2]", "kept")


json_bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.fixed_dictionaries({}, optional={"error": inner, "detail": inner, "loc": inner})
    ),
    max_leaves=6,
).map(lambda document: json.dumps(document).encode())


@given(status=st.integers(400, 599), body=st.binary(max_size=50) | json_bodies)
@example(status=499, body=b"")
@example(status=400, body=b'"text"')
@example(status=400, body=b'{"detail": "Not Found"}')
@example(status=400, body=b'{"detail": [{"loc": 7, "msg": "x"}]}')
def test_whatever_a_native_error_looks_like_the_client_reads_openai_s_form(
    status: int, body: bytes
) -> None:
    response = asyncio.run(request(answering(status, body), NATIVE, headers=bearer()))
    assert 400 <= response.status_code < 600
    assert isinstance(error_of(response)["message"], str)

"""What a request says in its headers: deadline, order, id."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from phi3_bento.admission.door import current_call
from tests.unit.admission.doors import GENERATED, KEY, answering, bearer, error_of, request


@pytest.mark.parametrize("slo", ["0", "-1", "1.5", "soon", "600001", "9" * 50, "٣"])
async def test_a_deadline_that_is_no_number_of_milliseconds_is_refused(slo: str) -> None:
    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"x-slo-ttft-ms", slo.encode())]
    response = await request(answering(), headers=headers)
    assert (response.status_code, error_of(response)["param"]) == (400, "x-slo-ttft-ms")


@pytest.mark.parametrize("priority", ["high", "IDLE", "", "-1", "idle, high"])
async def test_a_priority_can_only_be_lowered(priority: str) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-priority": priority}
    response = await request(answering(), headers=headers)
    assert (response.status_code, error_of(response)["param"]) == (400, "x-priority")


@pytest.mark.parametrize(("headers", "is_idle"), [({"x-priority": "idle"}, True), ({}, False)])
async def test_a_request_may_want_to_go_last(headers: dict[str, str], is_idle: bool) -> None:
    seen: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_call().is_idle)
        await answering()(scope, receive, send)

    await request(app, headers={"authorization": f"Bearer {KEY}", **headers})
    assert seen == [is_idle]


@pytest.mark.parametrize("given_id", ["a", "req_1.2:3-4", "x" * 128])
async def test_a_plain_request_id_is_kept(given_id: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_call().request_id)
        await answering()(scope, receive, send)

    response = await request(app, headers={**bearer(), "x-request-id": given_id})
    assert response.headers["x-request-id"] == given_id
    assert seen == [given_id]


@given(given_id=st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=140))
@example(given_id="x" * 128)
@example(given_id="x" * 129)
@example(given_id="valid-1\n")
def test_a_request_id_is_kept_if_it_is_short_and_plain_and_replaced_otherwise(
    given_id: str,
) -> None:
    headers = {**bearer(), "x-request-id": given_id}
    answered = asyncio.run(request(answering(), headers=headers)).headers["x-request-id"]
    if 0 < len(given_id) <= 128 and all(char.isalnum() or char in "._:-" for char in given_id):
        assert answered == given_id
    else:
        assert GENERATED.fullmatch(answered)

"""Every failure becomes OpenAI's JSON, small, with the headers that belong to it."""

import json
from collections.abc import Iterator
from http import HTTPStatus

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phi3_bento import errors, phi3_error
from phi3_bento.errors import InvalidApiKey, InvalidRequest, ModelNotFound, Unavailable
from phi3_bento.phi3_error import Phi3Error, to_openai


def tree(base: type[Phi3Error] = Phi3Error) -> Iterator[type[Phi3Error]]:
    yield base
    for child in base.__subclasses__():
        yield from tree(child)


MODULES = (phi3_error.__name__, errors.__name__)
OURS = sorted({error for error in tree() if error.__module__ in MODULES}, key=str)
SENT = [error for error in OURS if error not in (errors.StartFailure, ModelNotFound)]


@given(
    error=st.sampled_from(SENT),
    message=st.text(max_size=5000),
    param=st.none() | st.text(max_size=5000),
)
@example(error=InvalidRequest, message="x" * 10**6, param="x" * 10**6)
def test_every_failure_is_openai_json_of_a_limited_size(
    error: type[Phi3Error], message: str, param: str | None
) -> None:
    document = json.loads(orjson.dumps(to_openai(error(message, param=param))))
    assert set(document) == {"error"}
    assert set(document["error"]) == {"message", "type", "param", "code"}
    assert message.startswith(document["error"]["message"])
    assert len(document["error"]["message"]) == min(len(message), 1000)
    assert document["error"]["param"] is None or len(document["error"]["param"]) <= 200


@pytest.mark.parametrize("error", OURS)
def test_every_failure_stands_in_the_drawn_tree_with_its_status(error: type[Phi3Error]) -> None:
    (line,) = (
        line.split("──")[-1]
        for line in (errors.__doc__ or "").splitlines()
        if error.__name__ in line.replace("── ", " ").split()
    )
    if error not in (Phi3Error, errors.StartFailure):
        assert f" {int(error.status)} " in f"{line} "


@pytest.mark.parametrize("error", SENT)
def test_a_client_s_mistake_has_another_type_than_a_failure_of_the_server(
    error: type[Phi3Error],
) -> None:
    is_mistake = HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
    assert (error.type != "server_error") == is_mistake


@given(seconds=st.floats(allow_nan=False))
def test_a_client_is_never_told_to_wait_longer_than_it_would(seconds: float) -> None:
    headers = Unavailable("Not now.", retry_after_s=seconds).headers
    wait_s, wait_ms = int(headers["retry-after"]), int(headers["retry-after-ms"])
    assert 0 <= wait_s <= 120
    assert wait_ms <= wait_s * 1000 < wait_ms + 1000


def test_a_short_wait_is_not_rounded_down_to_none() -> None:
    headers = Unavailable("Not now.", retry_after_s=0.2).headers
    assert headers == {"retry-after": "1", "retry-after-ms": "200"}


def test_without_a_wait_there_are_no_headers() -> None:
    assert Unavailable("Never again.").headers == {}


def test_a_missing_key_names_the_scheme() -> None:
    headers = InvalidApiKey("Who?", retry_after_s=1).headers
    assert headers["www-authenticate"] == "Bearer"
    assert headers["retry-after"] == "1"


def test_an_unknown_model_names_itself_and_the_served_one() -> None:
    error = to_openai(ModelNotFound("gpt-4" + "x" * 10_000, "phi-3-mini"))["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'gpt-4x" in error["message"]
    assert "'phi-3-mini'" in error["message"]


def test_a_code_of_its_own_replaces_the_class_s_code_for_this_error_alone() -> None:
    assert to_openai(Unavailable("x", code="engine_dead"))["error"]["code"] == "engine_dead"
    assert to_openai(Unavailable("x"))["error"]["code"] == "service_unavailable"
    assert to_openai(InvalidRequest("x"))["error"]["code"] is None

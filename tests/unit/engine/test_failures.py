"""An engine's words about a bad request become our errors, and no more is told than should be."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from phi3_bento.engine.failures import failure_from_status, failure_from_validation
from phi3_bento.errors import ContextLengthExceeded, EngineFailure, InvalidRequest, Unavailable
from phi3_bento.phi3_error import MAX_PARAM_CHARACTERS, to_openai


class Message(BaseModel):
    role: str


class Body(BaseModel):
    temperature: float = Field(0, ge=0)
    messages: list[Message] = []
    logit_bias: dict[str, float] = {}


def failure(body: object) -> InvalidRequest:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(body)
    return failure_from_validation(caught.value)


def test_a_wrong_value_is_named_by_its_path() -> None:
    error = failure({"messages": [{"role": "user"}, {"role": 7}]})
    assert error.param == "messages.1.role"
    assert error.message.startswith("messages.1.role: ")


def test_the_value_itself_is_not_repeated() -> None:
    assert "secret" not in failure({"temperature": "secret"}).message


def test_a_wrong_body_has_no_parameter() -> None:
    error = failure([])
    assert error.param is None
    assert error.message


def test_a_long_name_that_the_client_chose_does_not_make_a_long_error() -> None:
    error = to_openai(failure({"logit_bias": {"x" * 100_000: "y"}}))["error"]
    assert len(error["param"]) == MAX_PARAM_CHARACTERS
    assert len(str(error)) < 2000


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000.",
        "max_tokens exceeds the model's context length (4096)",
    ],
)
def test_a_prompt_over_the_context_has_its_own_code(message: str) -> None:
    error = failure_from_status(400, message, "messages")
    assert type(error) is ContextLengthExceeded
    assert (error.message, error.param) == (message, "messages")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_client_s_mistake_is_told_in_the_engine_s_words(status: int) -> None:
    error = failure_from_status(status, "top_p must be in (0, 1].", "top_p")
    assert type(error) is InvalidRequest
    assert (error.message, error.param) == ("top_p must be in (0, 1].", "top_p")


@pytest.mark.parametrize("status", [None, 500, 501, 502])
def test_what_broke_inside_the_engine_is_not_told(status: int | None) -> None:
    error = failure_from_status(status, "CUDA error at /home/secret", None)
    assert type(error) is EngineFailure
    assert "secret" not in error.message


def test_an_engine_that_cannot_now_says_when_to_come_back() -> None:
    error = failure_from_status(503, "The engine is busy.", None)
    assert type(error) is Unavailable
    assert int(error.headers["retry-after"]) >= 1

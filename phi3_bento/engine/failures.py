"""Turn an engine's words about a bad request into our errors."""

from http import HTTPStatus

from pydantic import ValidationError

from phi3_bento.errors import ContextLengthExceeded, EngineFailure, InvalidRequest, Unavailable
from phi3_bento.phi3_error import Phi3Error

_CONTEXT_WORDS = ("maximum context length", "context length (")


def failure_from_validation(error: ValidationError) -> InvalidRequest:
    """The first thing that pydantic found, named by its path in the body.

    Of the unions in OpenAI's schema pydantic reports every branch; the first is the commonest.
    """
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    return InvalidRequest(
        f"{path}: {problem['msg']}" if path else problem["msg"], param=path or None
    )


def failure_from_status(status: int | None, message: str, param: str | None) -> Phi3Error:
    """The error for an HTTP status that an engine gave, with its message for 4xx only."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable(message, retry_after_s=1)
    if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return EngineFailure("The engine failed on this request.")
    if any(words in message for words in _CONTEXT_WORDS):
        return ContextLengthExceeded(message, param=param)
    return InvalidRequest(message, param=param)

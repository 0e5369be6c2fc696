"""A failure with an HTTP status, and the one function that turns it into OpenAI's JSON.

`to_openai` serves JSON bodies and stream events alike. What can fail stands in `errors.py`.
"""

from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar

MAX_MESSAGE_CHARACTERS = 1000
"""Error messages are cut here: an error that echoes its input has grown to megabytes elsewhere."""

MAX_PARAM_CHARACTERS = 200
"""A parameter's path can hold names that the client chose."""

MAX_RETRY_AFTER_S = 120
"""The OpenAI client does not retry when it is told to wait longer than this."""


class Phi3Error(Exception):
    """A failure with an HTTP status and OpenAI's type and code."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    type: ClassVar[str] = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.retry_after_s = retry_after_s

    @property
    def is_ours(self) -> bool:
        """The service has failed, and not the client: it counts against availability."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to this failure, lower case."""
        if self.retry_after_s is None:
            return {}
        wait_s = min(max(self.retry_after_s, 0.0), MAX_RETRY_AFTER_S)
        return {
            "retry-after": str(ceil(wait_s)),
            "retry-after-ms": str(ceil(wait_s * 1000)),
        }


def to_openai(error: Phi3Error) -> dict[str, Any]:
    """The body `{"error": {"message", "type", "param", "code"}}` of a failure."""
    return {
        "error": {
            "message": error.message[:MAX_MESSAGE_CHARACTERS],
            "type": error.type,
            "param": error.param and error.param[:MAX_PARAM_CHARACTERS],
            "code": error.code,
        }
    }

"""Every way a request can fail.

    Phi3Error
    ├── InvalidRequest            400  the body, a value, or the prompt cannot be served
    │   └── ContextLengthExceeded 400  the prompt and max_tokens do not fit the context
    ├── InvalidApiKey             401  no key, or not one of ours
    ├── PermissionDenied          403  a known caller who may not do this
    ├── NotFound                  404  no such route
    │   └── ModelNotFound         404  no such model
    ├── MethodNotAllowed          405
    ├── RequestTimeout            408  the request did not arrive in time
    ├── BodyTooLarge              413
    ├── UnsupportedMediaType      415
    ├── KeyReused                 422  an Idempotency-Key came with another body before
    ├── HeadTooLarge              431
    ├── RateLimited               429  a key has used what it may, for now
    ├── EngineFailure             500  the engine failed on a valid request
    ├── Unavailable               503  not now: starting, draining, engine dead
    │   ├── Overloaded            503  as many requests wait as may
    │   ├── DeadlineUnmeetable    503  the first token cannot come in the time the request allows
    │   └── LedgerUnavailable     503  usage can be recorded nowhere
    ├── DeadlineExceeded          504  the answer did not come in time
    ├── NotCached                 504  only the cache was asked, and it has no answer
    └── StartFailure              -    the service cannot start; never sent to a client

Inside the service a failure is raised, never returned.
"""

from http import HTTPStatus

from phi3_bento.phi3_error import Phi3Error


class InvalidRequest(Phi3Error):
    """The body, one of its values, or the prompt cannot be served."""

    status = HTTPStatus.BAD_REQUEST
    type = "invalid_request_error"


class ContextLengthExceeded(InvalidRequest):
    """The prompt, or the prompt with `max_tokens`, does not fit the model's context."""

    code = "context_length_exceeded"


class InvalidApiKey(Phi3Error):
    """No API key was sent, or not one of ours."""

    status = HTTPStatus.UNAUTHORIZED
    type = "invalid_request_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "www-authenticate": "Bearer"}


class PermissionDenied(Phi3Error):
    """The caller is known, and may not do this."""

    status = HTTPStatus.FORBIDDEN
    type = "permission_error"
    code = "permission_denied"


class NotFound(Phi3Error):
    """There is no such route."""

    status = HTTPStatus.NOT_FOUND
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """This service does not serve the model that was asked for."""

    code = "model_not_found"

    def __init__(self, name: str, served: str) -> None:
        super().__init__(
            f"The model '{name[:100]}' does not exist. This service serves '{served}'.",
            param="model",
        )


class MethodNotAllowed(Phi3Error):
    """The route exists, and not for this HTTP method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    type = "invalid_request_error"
    code = "method_not_allowed"


class RequestTimeout(Phi3Error):
    """The request's head or body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    type = "invalid_request_error"
    code = "request_timeout"


class BodyTooLarge(Phi3Error):
    """The request body is larger than `PHI3_MAX_BODY_BYTES`."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    type = "invalid_request_error"
    code = "request_too_large"


class UnsupportedMediaType(Phi3Error):
    """The request body is not JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    type = "invalid_request_error"
    code = "unsupported_media_type"


class KeyReused(Phi3Error):
    """The `Idempotency-Key` was used before, with another request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    type = "invalid_request_error"
    code = "idempotency_key_reused"


class HeadTooLarge(Phi3Error):
    """The headers are too many, or too large."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    type = "invalid_request_error"
    code = "headers_too_large"


class RateLimited(Phi3Error):
    """A limit of the key is used up. `retry_after_s` None: no waiting will help."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        limit: str = "other",
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after_s=retry_after_s)
        self.limit = limit
        """Which one: a word for metrics and logs."""

    @property
    def headers(self) -> dict[str, str]:
        never = {"x-should-retry": "false"} if self.retry_after_s is None else {}
        return {**super().headers, **never}


class EngineFailure(Phi3Error):
    """The engine failed while it worked on a valid request."""

    code = "engine_failure"


class Unavailable(Phi3Error):
    """The service cannot answer now: it starts, drains, is full, or its engine is dead."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "service_unavailable"


class Overloaded(Unavailable):
    """As many requests are being answered and wait as may."""

    code = "overloaded"


class DeadlineUnmeetable(Unavailable):
    """The first token cannot come in the time that the request, or its key, allows."""

    code = "deadline_unmeetable"


class LedgerUnavailable(Unavailable):
    """Usage can be recorded neither in the database nor in the journal."""

    code = "ledger_unavailable"


class DeadlineExceeded(Phi3Error):
    """The answer did not begin in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "deadline_exceeded"


class NotCached(Phi3Error):
    """`Cache-Control: only-if-cached` was asked for, and the answer is not in the cache."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "not_cached"

    @property
    def is_ours(self) -> bool:
        return False

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "x-should-retry": "false"}


class StartFailure(Phi3Error):
    """The service cannot start; the message says why and what to do."""

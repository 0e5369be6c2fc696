"""What BentoML's error bodies say, as one of our failures."""

from http import HTTPStatus
from typing import Any

import orjson

from phi3_bento.errors import (
    DeadlineExceeded,
    EngineFailure,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    UnsupportedMediaType,
)
from phi3_bento.phi3_error import Phi3Error


def native_failure(status: int, body: bytes) -> Phi3Error:
    """The failure that BentoML's body `{"error": …, "detail": […]}`, or a list of it, speaks of."""
    classes: dict[int, type[Phi3Error]] = {
        HTTPStatus.NOT_FOUND: NotFound,
        HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: UnsupportedMediaType,
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable("The service has more requests than it can answer.", retry_after_s=1)
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return DeadlineExceeded("The answer did not come in time.")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return EngineFailure("The service failed on this request; its log says why.")
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = body.decode(errors="replace") or "The request failed."
    document = _first(document)
    if not isinstance(document, dict):
        document = {"error": document}
    detail = _first(document.get("detail"))
    if not isinstance(detail, dict):
        detail = {"msg": detail}
    location = detail.get("loc")
    path = ".".join(map(str, location)) if isinstance(location, list) else ""
    message = str(detail.get("msg") or document.get("error"))
    failure = classes.get(status, InvalidRequest)
    return failure(f"{path}: {message}" if path else message, param=path or None)


def _first(value: Any) -> Any:
    """The first item of a list; anything else as it is."""
    return next(iter(value), None) if isinstance(value, list) else value

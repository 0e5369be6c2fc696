"""The page's files: open to everybody, never stale, and nothing in them from elsewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests.support import REPOSITORY, EchoServer, echo_server

STATIC = REPOSITORY / "phi3_bento/page/static"
FILES = sorted(path.name for path in STATIC.iterdir())
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "frame-ancestors 'none'",
    "form-action 'none'",
    "base-uri 'none'",
}


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoServer]:
    """A service that answers nobody without a key."""
    with echo_server(tmp_path_factory.mktemp("closed"), api_key="a-key-of-sixteen-signs") as server:
        yield server


@pytest.mark.parametrize("path", ["/ui", *(f"/ui/{name}" for name in FILES)])
def test_every_file_is_open_guarded_and_asked_for_again(closed: EchoServer, path: str) -> None:
    got = httpx.get(closed.url + path)
    assert got.status_code == 200
    assert set(got.headers["content-security-policy"].split("; ")) > POLICY
    assert "unsafe" not in got.headers["content-security-policy"]
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["referrer-policy"] == "no-referrer"
    assert got.headers["cache-control"] == "no-cache"
    etag = got.headers["etag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        again = httpx.get(closed.url + path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    changed = httpx.get(closed.url + path, headers={"if-none-match": '"other"'})
    assert changed.content == got.content


def test_a_head_has_the_headers_and_no_body(closed: EchoServer) -> None:
    got, head = httpx.get(f"{closed.url}/ui"), httpx.head(f"{closed.url}/ui")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "content-security-policy"):
        assert head.headers[name] == got.headers[name]


def test_a_slash_too_many_leads_back_also_behind_a_prefix(closed: EchoServer) -> None:
    got = httpx.get(f"{closed.url}/ui/")
    assert (got.status_code, got.headers["location"]) == (308, "../ui")
    assert httpx.get(f"{closed.url}/ui/", follow_redirects=True).url == f"{closed.url}/ui"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ui/nothing.js", 404),
        ("GET", "/ui/%2e%2e/serving.py", 404),
        ("GET", "/ui/../settings.py", 401),
        ("GET", "/ui/a/b", 404),
        ("POST", "/ui", 405),
        ("GET", "/uix", 401),
        ("GET", "/UI", 401),
    ],
)
def test_nothing_else_is_there_or_open(
    closed: EchoServer, method: str, path: str, status: int
) -> None:
    got = httpx.request(method, closed.url + path)
    assert got.status_code == status
    assert set(got.json()["error"]) == {"message", "type", "param", "code"}


def test_the_page_names_files_that_exist_and_no_address_outside() -> None:
    for name in FILES:
        text = (STATIC / name).read_text()
        assert set(re.findall(r"https?://[^\"'\s]+", text)) <= {"http://www.w3.org/2000/svg"}, name
        for other in re.findall(r"""(?:from|href=|src=)\s*"(?:\./|ui/)([\w.]+)""", text):
            assert other in FILES, f"{name} names {other}"
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script>", index)


def test_nothing_in_the_scripts_can_make_html_of_a_text() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function"
        r"|setHTML|createContextualFragment|localStorage|srcdoc"
    )
    for path in STATIC.glob("*.js"):
        assert not forbidden.search(path.read_text()), path.name


def test_the_wheel_carries_every_file(tmp_path: Path) -> None:
    """And so does the Bento: tests/engine/test_bento.py asks it for the page."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"phi3_bento/page/static/{name}" for name in FILES} <= names

"""Hostile requests: like real ones, and something wrong in any place; strategies for fuzzing."""

import gzip
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.hostile_values import (
    FIELDS,
    Raw,
    counts,
    flags,
    messages,
    prompts,
    ratios,
    sharp_values,
    texts,
    token_lists,
)

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
NATIVE = ("/generate", "/generate_stream", "/classify")
JSON = "application/json"
MAX_PLACES = 60

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Attack:
    """One request."""

    path: str
    content: bytes = b""
    headers: dict[str, str | bytes] = field(default_factory=dict)
    method: str = "POST"
    is_chunked: bool = False
    """Sent without its length."""


def encode(value: Any) -> str:
    """JSON text of `value`, with non-finite numbers, halves of surrogate pairs and `Raw`."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return f"{{{','.join(f'{encode(name)}:{encode(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    return json.dumps(value)


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where in `value` something else could stand, inside first; `()` is the whole."""
    members = value.items() if isinstance(value, dict) else ()
    members = enumerate(value) if isinstance(value, list) else members
    for name, member in members:
        yield from places(member, (*place, name))
    yield place


def replaced(value: Any, place: Place, new: Any) -> Any:
    """A copy of `value` with `new` at `place`."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], new)
    return copy


_item = st.fixed_dictionaries(
    {"text": texts, "labels": st.lists(texts, max_size=4) | st.just(["a", "b"])},
    optional={"instruction": texts},
)
_native = st.fixed_dictionaries(
    {"prompt": texts}, optional={"max_tokens": counts, "temperature": ratios, "system": texts}
)
_BODIES: dict[str, SearchStrategy[dict[str, Any]]] = {
    CHAT: st.fixed_dictionaries({"messages": messages}),
    COMPLETION: st.fixed_dictionaries({"prompt": prompts}),
    "/tokenize": st.fixed_dictionaries({"prompt": texts})
    | st.fixed_dictionaries({"messages": messages}),
    "/detokenize": st.fixed_dictionaries({"tokens": token_lists}),
    "/generate": _native,
    "/generate_stream": _native,
    "/classify": st.fixed_dictionaries({"items": st.lists(_item, max_size=3)}),
}
PATHS = tuple(_BODIES)


def _broken(content: bytes, place: int, piece: bytes) -> bytes:
    place %= len(content) + 1
    return content[:place] + piece + content[place:]


def _form(content: bytes, _: int) -> bytes:
    part = b'--x\r\ncontent-disposition: form-data; name="prompt"; filename="a"\r\n\r\n%b\r\n--x--'
    return part % content


DISGUISES: dict[str, Callable[[bytes, int], bytes]] = {
    "plain": lambda content, _: content,
    "cut": lambda content, place: content[: place % (len(content) + 1)],
    "twice": lambda content, _: content * 2,
    "byte order mark": lambda content, _: b"\xef\xbb\xbf" + content,
    "utf-16": lambda content, _: content.decode().encode("utf-16"),
    "utf-32": lambda content, _: content.decode().encode("utf-32"),
    "invalid utf-8": lambda content, place: _broken(content, place, b"\xff\xfe"),
    "surrogate bytes": lambda content, place: _broken(content, place, b"\xed\xa0\x80"),
    "nul": lambda content, place: _broken(content, place, b"\0"),
    "line feed": lambda content, place: _broken(content, place, b"\n\r\v"),
    "quote": lambda content, place: _broken(content, place, b'"'),
    "comma": lambda content, place: _broken(content, place, b","),
    "escape": lambda content, place: _broken(content, place, b"\\u"),
    "spaces": lambda content, _: b" " * 100_000 + content + b"\n" * 100_000,
    "no json": lambda content, _: content.replace(b'"', b"'"),
    "gzip": lambda content, _: gzip.compress(content, mtime=0),
    "form": _form,
    "pickle": lambda content, _: pickle.dumps({"prompt": content}),
    "nothing": lambda _, __: b"",
    "too large": lambda content, _: content + b" " * 1_100_000,
}
CONTENT_TYPES: tuple[str | bytes, ...] = (
    *("application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=utf-16"),
    *("application/json; charset=nope", "application/json;", "application/jsonx", "", "/", ";"),
    *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "image/png"),
    *("multipart/form-data; boundary=x", "multipart/form-data; boundary=", "text/event-stream"),
    *("application/vnd.bentoml+pickle", "Application/Vnd.BentoML+Pickle", "a" * 5000),
    *("application/vnd.bentoml+arrow", "application/problem+json", "日本語".encode(), b"\xff"),
)
# No small x-slo-ttft-ms and no x-priority that is valid: what has no time or place is refused by
# 503, rightly.
HEADERS: dict[str, tuple[str | bytes, ...]] = {
    "x-request-id": ("", "a" * 128, "a" * 129, "a b", "../x", b"\xff\xfe", "é".encode(), '"{}'),
    "x-slo-ttft-ms": ("", "0", "-1", "1e5", "600000", "600001", "٣".encode(), "9" * 4000, "1 0"),
    "x-priority": ("", "high", "Idle", "idle, idle", b"\xff", "9" * 4000),
    "authorization": ("", "Bearer", "Bearer  x", b"Bearer \xff", "Basic eDp5", "bearer p3_a_b"),
    "accept": ("", "text/event-stream", "image/png", "*/*;q=x", "application/vnd.bentoml+pickle"),
    "accept-encoding": ("identity;q=0", "br, gzip", "nope"),
    "content-encoding": ("gzip", "br", "nope", ""),
    "cookie": ("a=b;" * 500, b"\xff=\xfe", ";;=="),
    "origin": ("null", "http://127.0.0.1:1", "x"),
    "traceparent": ("00-0-0-0", f"00-{'1' * 32}-{'1' * 16}-01", "x" * 3000),
    "idempotency-key": ("", "x" * 5000, b"\xff"),
    "cache-control": ("no-store", "max-age=x", "only-if-cached"),
    "x-forwarded-for": ("10.0.0.1", "x, y", ""),
    "host": ("", "localhost", "example.org", "[::1", "127.0.0.1:99999", b"\xff"),
    "expect": ("100-continue", "x"),
    "upgrade": ("h2c", "websocket"),
    "bentoml-payload-type": ("x",),
    "x-bentoml-task-id": ("x",),
}


METHODS = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST", "TRACE")
WAYS = (
    *("", "/", "//", "/..", "/%2e%2e/x", "/%00", "/%ff", "/%ed%a0%80", "/a%2Fb", "/x" * 1000, ";a"),
    *("?", "?x", "?%ff=%00", "?a=1&a=2", "?since=0001-01-01T00:00:00%2b23:59", "?since=9999w"),
    *("?since=9999-12-31T23:59:59-23:59", "?since=2026-02-30", "?since=%d9%a3d", "?since=0h"),
    *("?by=%00", "?by=day&tenant=%00%ff", "?tenant=" + "x" * 9000, "?by=key&by=day"),
)


@st.composite
def bodies(draw: st.DrawFn, path: str) -> Any:
    """A body for `path`, real in most places and hostile in up to three."""
    body: Any = draw(_BODIES[path])
    if path in (CHAT, COMPLETION, "/tokenize"):
        names = draw(st.lists(st.sampled_from(tuple(FIELDS)), max_size=4, unique=True))
        body = {name: draw(FIELDS[name]) for name in names} | body
        if draw(flags):
            body["stream"] = True
    for _ in range(draw(st.sampled_from((1, 0, 0, 2, 3)))):
        place = draw(st.sampled_from(list(places(body))[-MAX_PLACES:]))
        body = replaced(body, place, draw(sharp_values))
    if isinstance(body, dict) and draw(st.sampled_from((False, False, False, True))):
        name = draw(texts | st.sampled_from(tuple(body) or ("x",)))
        # The same name may stand there already: JSON allows it, and the last one counts.
        body = body | {Raw(encode(name)): draw(sharp_values)}
    return body


@st.composite
def attacks(draw: st.DrawFn, path: str, tame: Callable[[Any], Any] = lambda body: body) -> Attack:
    """A request to `path`; `tame` may take out of its body what would only cost time."""
    content = encode(tame(draw(bodies(path)))).encode()
    headers: dict[str, str | bytes] = {"content-type": JSON}
    if draw(st.integers(0, 9)) == 9:
        disguise = draw(st.sampled_from(tuple(DISGUISES)))
        content = DISGUISES[disguise](content, draw(st.integers(0, 400)))
    if draw(st.integers(0, 9)) == 9:
        headers["content-type"] = draw(st.sampled_from(CONTENT_TYPES))
    if draw(st.integers(0, 4)) == 4:
        name = draw(st.sampled_from(tuple(HEADERS)))
        headers[name] = draw(st.sampled_from(HEADERS[name]))
    return Attack(path, content, headers, is_chunked=draw(st.integers(0, 19)) == 19)


def walks(paths: tuple[str, ...]) -> SearchStrategy[Attack]:
    """Requests by any method to, and to somewhere near, one of `paths`."""
    address = st.tuples(st.sampled_from(paths), st.sampled_from(WAYS)).map("".join)
    return st.builds(
        lambda method, path: Attack(path, method=method), st.sampled_from(METHODS), address
    )

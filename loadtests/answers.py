"""Read an answer of the service: whole or streamed, complete or not; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from loadtests.records import OK

_DATA = b"data: "
_END = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says of itself."""

    outcome: str = OK
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


def cache_result(header: str | None) -> str:
    """`hit`, `collapsed`, `miss` or `bypass` from a Cache-Status (RFC 9211); empty without one."""
    if not header:
        return ""
    words = set(re.split(r"[;\s]+", header))
    for result in ("hit", "collapsed"):
        if result in words:
            return result
    return "bypass" if "fwd=bypass" in words else "miss"


def read_answer(status: int, body: bytes) -> Answer:
    """An answer that came whole."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Answer(f"http {status}" if status != 200 else "not JSON")
    if status != 200:
        return Answer(_code(document) or f"http {status}")
    # `classify` answers with a list, in which items can fail alone.
    items = document if isinstance(document, list) else [document]
    failed = next((code for code in map(_code, items) if code), None)
    return _counted(items[0] if items else {}, failed or OK)


def _code(document: Any) -> str | None:
    error = document.get("error") if isinstance(document, dict) else None
    if not error:
        return None
    return str(error.get("code") or error.get("type")) if isinstance(error, dict) else str(error)


def _counted(document: Mapping[str, Any], outcome: str) -> Answer:
    usage = document.get("usage") or {}
    details = usage.get("prompt_tokens_details") or usage
    return Answer(
        outcome,
        usage.get("prompt_tokens") or 0,
        details.get("cached_tokens") or 0,
        usage.get("completion_tokens") or 0,
    )


@dataclass(slots=True)
class StreamReader:
    """Takes the lines of a stream with the time of each, and tells what it was."""

    token_times: list[float] = field(default_factory=list)
    _usage: Mapping[str, Any] = field(default_factory=dict)
    _failure: str | None = None
    _ended: bool = False

    def take(self, line: bytes, now: float) -> None:
        """One line of server-sent events that arrived at `now`; comments and blanks are nothing."""
        if not line.startswith(_DATA):
            return
        data = line[len(_DATA) :].strip()
        if data == _END:
            self._ended = True
            return
        document = orjson.loads(data)
        self._failure = self._failure or _code(document)
        if document.get("usage"):
            self._usage = document
        if any(choice["delta"].get("content") for choice in document.get("choices", ())):
            self.token_times.append(now)

    def answer(self) -> Answer:
        """What came. A stream that was cut short, or had no token, is not complete."""
        complete = self._ended and self.token_times
        return _counted(self._usage, self._failure or (OK if complete else "broken stream"))

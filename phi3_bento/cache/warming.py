"""Ask a service every question of a file once, so that its answers are kept.

A question is asked at idle priority: it waits behind everything else. What is kept already comes
back as a hit, so that a second run goes on where the first was stopped.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import orjson

from phi3_bento.cache.policy import Directives, why_not_cached
from phi3_bento.cache.service_client import ServiceClient, message_of
from phi3_bento.core import Operation
from phi3_bento.errors import StartFailure
from phi3_bento.phi3_error import MAX_RETRY_AFTER_S

CHAT_PATH, COMPLETION_PATH = "/v1/chat/completions", "/v1/completions"
ANSWER_LIMIT_S = 660.0
"""More than the service itself lets an answer take to begin."""

_OPERATIONS = {CHAT_PATH: Operation.CHAT, COMPLETION_PATH: Operation.COMPLETION}
_TRY_AGAIN = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and the line that it stands in."""

    line: int
    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line has no kept answer."""

    line: int
    reason: str


@dataclass(slots=True)
class Progress:
    """How far it has got; a line is one of made, hits and failed."""

    lines: int
    made: int = 0
    hits: int = 0
    failed: int = 0
    retries: int = 0
    problems: list[Problem] = field(default_factory=list)
    """The first hundred."""

    @property
    def done(self) -> int:
        """Lines that are through."""
        return self.made + self.hits + self.failed

    def fail(self, problem: Problem) -> None:
        """Count a line that has failed."""
        self.failed += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"done": self.done}


def read_questions(path: Path) -> Iterator[Question | Problem]:
    """The questions of a file of JSON lines, and what is wrong with the others; blank lines none.

    A line is the body of a chat (`messages`) or a completion (`prompt`), or `{"path", "body"}`.
    Without temperature and seed it is greedy. Raises `StartFailure` for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _question(number, line)
    except OSError as error:
        raise StartFailure(f"{path} cannot be read: {error.strerror}.") from error


def _question(number: int, line: bytes) -> Question | Problem:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Problem(number, f"it is not JSON: {error}.")
    path: object = CHAT_PATH
    body = document
    if isinstance(document, dict) and "body" in document:
        path, body = document.get("path", CHAT_PATH), document["body"]
    elif isinstance(document, dict) and "messages" not in document:
        path = COMPLETION_PATH
    if not isinstance(path, str) or path not in _OPERATIONS:
        return Problem(number, f"'path' is none of {', '.join(_OPERATIONS)}.")
    if not isinstance(body, dict) or not {"messages", "prompt"} & body.keys():
        return Problem(number, "it has neither 'messages' nor 'prompt'.")
    return _checked(number, path, body)


def _checked(number: int, path: str, body: Mapping[str, Any]) -> Question | Problem:
    # How an answer is sent does not matter to who keeps it.
    asked = {
        name: value for name, value in body.items() if name not in ("stream", "stream_options")
    }
    if asked.get("temperature") is None and asked.get("seed") is None:
        asked["temperature"] = 0
    reason = why_not_cached(_OPERATIONS[path], asked, Directives())
    return Problem(number, reason) if reason else Question(number, path, asked)


class Warming:
    """One run over many questions. `on_done` hears of each line that is through."""

    def __init__(
        self,
        service: ServiceClient,
        progress: Progress,
        *,
        most_attempts: int,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._service = service
        self._progress = progress
        self._most_attempts = most_attempts
        self._on_done = on_done

    async def run(self, questions: Iterable[Question], *, concurrency: int) -> None:
        """Ask them all, `concurrency` at once.

        Raises `StartFailure` where the key is refused, or the service keeps no answers.
        """
        waiting = iter(questions)
        async with httpx.AsyncClient(**self._service.options, timeout=ANSWER_LIMIT_S) as client:

            async def work() -> None:
                for question in waiting:
                    await self._warm(client, question)
                    self._on_done()

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(concurrency):
                        group.create_task(work())
            except* StartFailure as failures:
                raise failures.exceptions[0] from None

    async def _warm(self, client: httpx.AsyncClient, question: Question) -> None:
        for attempt in range(1, self._most_attempts + 1):
            is_last = attempt == self._most_attempts
            try:
                response = await client.post(
                    question.path, json=question.body, headers={"x-priority": "idle"}
                )
            except httpx.TransportError as error:
                if is_last:
                    self._fail(question, self._service.unreachable(error).message)
                    return
                wait_s = float(min(2 ** (attempt - 1), 30))
            else:
                self._service.check_key(response)
                if is_last or not _is_worth_another(response):
                    self._note(question, response)
                    return
                wait_s = _wait_s(response)
            self._progress.retries += 1
            await asyncio.sleep(wait_s)

    def _note(self, question: Question, response: httpx.Response) -> None:
        status = response.headers.get("cache-status", "")
        if not response.is_success:
            self._fail(question, message_of(response))
        elif "; hit" in status:
            self._progress.hits += 1
        elif "bypass" in status or not status:
            raise StartFailure("The service keeps no answers: its cache is off (PHI3_CACHE).")
        else:
            self._progress.made += 1

    def _fail(self, question: Question, reason: str) -> None:
        self._progress.fail(Problem(question.line, reason))


def _is_worth_another(response: httpx.Response) -> bool:
    refused_for_good = response.headers.get("x-should-retry") == "false"
    return response.status_code in _TRY_AGAIN and not refused_for_good


def _wait_s(response: httpx.Response) -> float:
    """What the service asks for; a second where it does not say."""
    for name, seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError):
            return min(max(float(response.headers[name]) * seconds, 0.0), MAX_RETRY_AFTER_S)
    return 1.0

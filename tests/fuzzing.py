"""Send hostile requests to a service, and judge its answers."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import requests
from hypothesis import HealthCheck, Phase, settings

from tests.hostile import NATIVE, Attack
from tests.support import Service

ANSWER_LIMIT_S = 20.0
MAX_MESSAGE_CHARACTERS = 1000
MAX_ERROR_BYTES = 8000
"""A message of 1000 characters, all of them escaped, and what stands around it."""

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
"""How many times as many inputs as in CI; above 1 they are others at every run."""

FUZZING = settings(
    derandomize=FACTOR == 1,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A failure of a long run names the input; looking for a simpler one could take hours.
    phases=tuple(phase for phase in Phase if FACTOR == 1 or phase is not Phase.shrink),
)
"""In CI the same inputs every time, however long they take to make."""


@dataclass(frozen=True)
class Reply:
    """What of an answer is judged."""

    path: str
    status: int
    content_type: str
    body: bytes

    @property
    def is_stream(self) -> bool:
        """A stream in OpenAI's form; BentoML's is bare text."""
        is_native = self.path.startswith(NATIVE)
        return not is_native and self.content_type.startswith("text/event-stream")


@dataclass
class Fuzzer:
    """A service under attack, and how it answered."""

    service: Service
    client: httpx.Client
    log_start: int = 0
    """Where in the service's log the attacks begin."""
    statuses: Counter[int] = field(default_factory=Counter)
    streams: int = 0
    hung: str | None = None

    @property
    def tried(self) -> int:
        """Inputs so far."""
        return self.statuses.total()

    def tracebacks(self) -> int:
        """What the service logged of failures; of refusals vLLM logs some, behind a prefix."""
        return self.service.output.read_text()[self.log_start :].count("\nTraceback")

    def send(self, attack: Attack) -> int:
        """The status of the answer, which is a sound one."""

        def ask() -> Reply:
            content = iter([attack.content]) if attack.is_chunked else attack.content
            response = self.client.request(
                attack.method, attack.path, content=content, headers=attack.headers
            )
            kind = response.headers.get("content-type", "")
            return Reply(attack.path, response.status_code, kind, response.content)

        return self.judge(repr(attack), ask)

    def judge(self, attack: str, ask: Callable[[], Reply]) -> int:
        """The status of what `ask` returns; an AssertionError that holds `attack` if unsound."""
        # Hypothesis looks for a simpler input, and would wait as long for each.
        assert self.hung is None, f"no answer within {ANSWER_LIMIT_S:g} s to {self.hung}"
        try:
            reply = ask()
        except (httpx.TimeoutException, requests.Timeout):
            self.hung = attack
            raise AssertionError(f"no answer within {ANSWER_LIMIT_S:g} s to {attack}") from None
        except (httpx.TransportError, requests.ConnectionError) as error:
            raise AssertionError(f"no whole answer ({error!r}) to {attack}") from None
        self.statuses[reply.status] += 1
        self.streams += reply.is_stream
        flaw = flaw_of(reply)
        assert flaw is None, f"{flaw}: {reply.status} {reply.body[-2000:]!r} to {attack}"
        return reply.status


def flaw_of(reply: Reply) -> str | None:
    """What is wrong with an answer, whatever it answers; None for a sound one."""
    if reply.status >= 500 and not (reply.status == 504 and b'"not_cached"' in reply.body):
        return "the service failed"  # of what only-if-cached finds nothing, RFC 9111 wants 504
    if reply.status >= 400:
        return _flaw_of_refusal(reply.body)
    if reply.is_stream:
        return _flaw_of_stream(reply.body)
    if reply.content_type.startswith("application/json") and reply.body:
        document = json.loads(reply.body)
        kind = document.get("object", "") if isinstance(document, dict) else ""
        return "a piece of a stream, as a whole answer" if kind.endswith(".chunk") else None
    return None


def _flaw_of_refusal(body: bytes) -> str | None:
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError):
        return "no error object"
    if set(error) != {"message", "type", "param", "code"}:
        return "another error object than OpenAI's"
    if not isinstance(error["type"], str) or not isinstance(error["param"], str | None):
        return "a type or a param that is no text"
    if not error["message"] or len(error["message"]) > MAX_MESSAGE_CHARACTERS:
        return "no message, or a long one"
    return "an error that is long" if len(body) > MAX_ERROR_BYTES else None


def _flaw_of_stream(body: bytes) -> str | None:
    if not body.endswith(b"data: [DONE]\n\n"):
        return "a stream without its end"
    for event in body.decode().split("\n\n")[:-2]:
        data = event.removeprefix("data: ")
        if data == event and not event.startswith(":"):
            return "no event"
        if data != event and json.loads(data).get("error", {}).get("type") == "server_error":
            return "the service failed in the middle of a stream"
    return None


@contextmanager
def fuzzer(service: Service, key: str | None = None) -> Iterator[Fuzzer]:
    """A fuzzer of `service` over connections that stay open, with `key` where it is given."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=service.url, headers=headers, timeout=ANSWER_LIMIT_S) as client:
        yield Fuzzer(service, client, log_start=len(service.output.read_text()))

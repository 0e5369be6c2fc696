"""The nouns of a load test: a scenario, what is asked of it, and the requests that it makes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from loadtests.judgement import Threshold
from loadtests.prompts import first_new
from loadtests.records import Record
from loadtests.tables import Table
from phi3_bento.caller import Quota

CHAT_PATH = "/v1/chat/completions"
CLASSIFY_PATH = "/classify"
DEFAULT_TENANT = "load"
PLENTY = Quota(*[2**31 - 1] * 4)
"""Every limit is counted, and none is reached."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for."""

    rate: float
    """Requests a second, on average."""
    seconds: float
    seed: int = 0
    """Runs of different seeds share no new text."""

    def random(self) -> Random:
        """Draws the same for the same seed."""
        return Random(self.seed)

    @property
    def first_new(self) -> int:
        """The number of the first text that nobody has asked before."""
        return first_new(self.seed)


@dataclass(frozen=True, slots=True)
class Shot:
    """One request, and when it is to start."""

    at_s: float
    """Seconds from the start of the load."""
    name: str
    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    tenant: str = DEFAULT_TENANT
    comes_back: bool = False
    """When it is refused, it is sent once more, at the time that the refusal names."""

    @property
    def is_streamed(self) -> bool:
        """The answer comes piece by piece."""
        return self.body.get("stream") is True


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of load, and what the service promises under it."""

    name: str
    summary: str
    rate: float
    minutes: float
    shots: Callable[[Load], Iterable[Shot]]
    """The requests, ascending by time."""
    warm: Callable[[Load], Sequence[Shot]]
    """Requests before the load, whose answers and times do not count; `at_s` has no meaning."""
    thresholds: tuple[Threshold, ...]
    figures: Callable[[Sequence[Record], Load], dict[str, float]] = lambda records, load: {}
    """Figures of this scenario alone."""
    tables: Callable[[Sequence[Record], Load], list[Table]] = lambda records, load: []
    """Tables of this scenario alone, for the report."""
    tenants: Mapping[str, Quota] = field(default_factory=lambda: {DEFAULT_TENANT: PLENTY})
    lag_limit_ms: float | None = None
    """How late the client may dispatch, p99; None: as `judgement.lag_limit_ms` has it."""


def chat(text: str, *, max_tokens: int, system: str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a chat; greedy unless `more` says otherwise."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    return {"messages": messages, "max_tokens": max_tokens, "temperature": 0, **more}

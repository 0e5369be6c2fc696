"""Ask a replica how it is: ready or not, how loaded, what its caches were good for."""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

PROBE_LIMIT_S = 2.0
METRICS_LIMIT_S = 5.0
_STARTING_CODES = ("engine_starting",)


class Condition(StrEnum):
    """What a replica's probe says."""

    READY = "ready"
    STARTING = "starting"
    UNWELL = "unwell"
    """It gives no answer, or says that its engine stalls or is dead."""


@dataclass(frozen=True, slots=True)
class Health:
    """A probe's answer."""

    condition: Condition
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """A replica's `/load`."""

    running: int = 0
    waiting: int = 0
    in_flight: int = 0

    @property
    def is_idle(self) -> bool:
        """Nothing is being answered."""
        return not (self.running or self.in_flight)


@dataclass(frozen=True, slots=True)
class Hits:
    """What a replica's caches were good for since it started; shares are None of nothing."""

    answered: int = 0
    cache_share: float | None = None
    """Of requests for an answer that may be kept."""
    prefix_share: float | None = None
    """Of prompt tokens that came to the engine: those that its KV cache held."""


class Probe:
    """Asks one replica, with a key of all scopes. No method raises."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"},
            timeout=PROBE_LIMIT_S,
            # A proxy that the environment names knows nothing of a process on this machine.
            trust_env=False,
        )

    async def health(self) -> Health:
        """How it is."""
        try:
            response = await self._client.get("/v1/health/ready")
        except httpx.HTTPError as error:
            return Health(Condition.UNWELL, f"no answer ({type(error).__name__})")
        if response.status_code == HTTPStatus.OK:
            return Health(Condition.READY)
        failure = _object(response).get("error", {})
        starts = failure.get("code") in _STARTING_CODES
        condition = Condition.STARTING if starts else Condition.UNWELL
        return Health(condition, str(failure.get("message", f"status {response.status_code}")))

    async def load(self) -> Load | None:
        """How loaded it is; None without an answer."""
        try:
            body = _object(await self._client.get("/load"))
            return Load(int(body["server_load"]), int(body["waiting"]), int(body["in_flight"]))
        except (httpx.HTTPError, KeyError, TypeError, ValueError):
            return None

    async def hits(self) -> Hits | None:
        """What its caches were good for; None without an answer."""
        try:
            response = await self._client.get("/metrics", timeout=METRICS_LIMIT_S)
            return read_hits(response.text) if response.is_success else None
        except (httpx.HTTPError, ValueError):
            return None

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def read_hits(exposition: str) -> Hits:
    """The figures in a replica's `/metrics`. Raises `ValueError` for another text."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            label = sample.labels.get("result") or sample.labels.get("kind") or ""
            name = f"{sample.name}:{label}" if sample.name in _LABELLED else sample.name
            sums[name] = sums.get(name, 0.0) + sample.value
    hit, shared, missed = (sums.get(f"{_CACHE}:{result}", 0.0) for result in _RESULTS)
    prompt, cached = (sums.get(f"{_TOKENS}:{kind}", 0.0) for kind in ("prompt", "cached"))
    return Hits(
        answered=int(sums.get("phi3_requests_total", 0.0)),
        cache_share=_share(hit + shared, hit + shared + missed),
        prefix_share=_share(cached, prompt),
    )


_CACHE = "phi3_cache_requests_total"
_TOKENS = "phi3_tokens_total"
_LABELLED = (_CACHE, _TOKENS)
_RESULTS = ("hit", "collapsed", "miss")


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

"""vllm-router: its process, and the list of replicas that it sends requests to."""

import os
import sys
from collections.abc import Sequence
from http import HTTPStatus
from importlib.util import find_spec
from typing import Literal

import httpx

from phi3_bento.errors import StartFailure
from phi3_bento.fleet.child import Child
from phi3_bento.fleet.layout import Layout

Policy = Literal["cache_aware", "power_of_two", "consistent_hash", "round_robin", "random"]
POLICIES: tuple[Policy, ...] = (
    *("cache_aware", "power_of_two", "consistent_hash"),
    *("round_robin", "random"),
)

BALANCE_ABOVE = 4
"""cache_aware leaves affinity for balance where one replica has this many requests more.

The router's own 64 is more than a replica works on at once: a hot prefix would never spread.
"""

REQUEST_LIMIT_S = 3600
_RETRIES = 5
_FIRST_BACKOFF_MS = 50
_ASK_LIMIT_S = 10.0


def check_installed() -> None:
    """Raise `StartFailure` where the router is missing."""
    if find_spec("vllm_router") is None:
        raise StartFailure("A fleet needs vllm-router: make install-fleet")


def router_command(
    layout: Layout, policy: Policy, urls: Sequence[str], *, origins: Sequence[str], max_body: int
) -> list[str]:
    """The router's command line.

    Its circuit breaker is off: it takes the replicas' deliberate 503 and 504 for failures, and a
    few of them would close the whole fleet for a minute. The supervisor takes out what is not well.
    """
    return [
        *(sys.executable, "-m", "vllm_router.launch_router"),
        *("--host", "127.0.0.1", "--port", str(layout.port)),
        *("--prometheus-host", "127.0.0.1"),
        *("--prometheus-port", str(layout.router_metrics_port)),
        *("--policy", policy, "--balance-abs-threshold", str(BALANCE_ABOVE)),
        *("--disable-circuit-breaker", "--retry-max-retries", str(_RETRIES)),
        *("--retry-initial-backoff-ms", str(_FIRST_BACKOFF_MS), "--retry-backoff-multiplier", "2"),
        *("--health-check-endpoint", "/v1/health/ready", "--health-check-interval-secs", "2"),
        *("--worker-startup-timeout-secs", "5", "--worker-startup-check-interval", "1"),
        *("--request-timeout-secs", str(REQUEST_LIMIT_S), "--max-payload-size", str(max_body)),
        *("--log-level", "warning"),
        *("--cors-allowed-origins", *(origins or (layout.url,))),
        *("--worker-urls", *urls),
    ]


def router_environment() -> dict[str, str]:
    """This process's environment, with a proxy that leads nowhere for all but 127.0.0.1.

    Whoever reaches the router may name it a replica; so it cannot be one elsewhere, which would
    get questions and keys.
    """
    nowhere = "http://127.0.0.1:9"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    proxies = {name: nowhere for upper in names for name in (upper, upper.lower())}
    return {**os.environ, **proxies, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


class Router:
    """The running router. Its list of replicas is read and changed over HTTP."""

    def __init__(self, layout: Layout, process: Child) -> None:
        self.process = process
        self._client = httpx.AsyncClient(base_url=layout.url, timeout=_ASK_LIMIT_S, trust_env=False)

    async def is_ready(self) -> bool:
        """It listens, and knows a replica that is well."""
        try:
            return (await self._client.get("/readiness")).status_code == HTTPStatus.OK
        except httpx.HTTPError:
            return False

    async def urls(self) -> set[str]:
        """The replicas that it knows. Raises `httpx.HTTPError`."""
        response = await self._client.get("/list_workers")
        response.raise_for_status()
        return set(response.json()["urls"])

    async def add(self, url: str) -> None:
        """Send requests there too. Raises `httpx.HTTPError`."""
        await self._client.post("/add_worker", params={"url": url})

    async def remove(self, url: str) -> None:
        """Send no more requests there; those that run go on. Raises `httpx.HTTPError`."""
        await self._client.post("/remove_worker", params={"url": url})

    async def close(self) -> None:
        """Close the connections to it; the process goes on."""
        await self._client.aclose()

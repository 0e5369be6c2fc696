"""Run the client, locust, in a process of its own; and warm the service before."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from loadtests.records import Run
from loadtests.scenario import Load, Scenario, Shot

WARM_CONNECTIONS = 16
WARM_TRIES = 5
WARM_TIMEOUT_S = 300.0
DRAIN_S = 180.0
"""What a run may take beyond its load: start, last answers, writing."""
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_LAST_LINES = 2000
_SHOWN_BODY = 200


class LoadFailure(Exception):
    """No result came; the message says why."""


def play(scenario: Scenario, load: Load, url: str, keys: Mapping[str, str]) -> Run:
    """Send the scenario's load to `url`, and return what became of it. Raises `LoadFailure`."""
    with tempfile.TemporaryDirectory(prefix="phi3-load-client-") as directory:
        records, key_file = Path(directory, "records.json"), Path(directory, "keys.json")
        key_file.write_text(json.dumps(dict(keys)))
        command = [
            *(sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless"),
            *("--users", "1", "--host", url, "--loglevel", "WARNING", "--only-summary"),
            *("--exit-code-on-error", "0", "--scenario", scenario.name),
            *("--shots-per-s", str(load.rate), "--seconds", str(load.seconds)),
            *("--seed", str(load.seed), "--keys", str(key_file), "--records", str(records)),
        ]
        output = _run(command, load.seconds + DRAIN_S)
        if not records.exists():
            raise LoadFailure(f"The client ended without a result:\n{output[-_LAST_LINES:]}")
        return Run.read(records)


def _run(command: list[str], limit_s: float) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        raise LoadFailure(f"The client did not end within {limit_s:g} s.") from slow
    return done.stdout


async def warm(url: str, keys: Mapping[str, str], shots: Sequence[Shot]) -> Counter[str]:
    """Send `shots`, a few at a time and the refused ones again.

    How often each failure was the last word, by status and body; empty where all were answered.
    """
    queue = iter(shots)
    failures: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=WARM_TIMEOUT_S) as client:

        async def connection() -> None:
            for shot in queue:
                response = await _until_answered(client, shot, keys[shot.tenant])
                if response.status_code != 200:
                    failures[f"{response.status_code} {response.text[:_SHOWN_BODY]}"] += 1

        await asyncio.gather(*(connection() for _ in range(WARM_CONNECTIONS)))
    return failures


async def _until_answered(client: httpx.AsyncClient, shot: Shot, key: str) -> httpx.Response:
    headers = {**shot.headers, "authorization": f"Bearer {key}"}
    for attempt in range(WARM_TRIES):
        response = await client.post(shot.path, json=dict(shot.body), headers=headers)
        if response.status_code == 200:
            break
        await asyncio.sleep(2.0**attempt / 4)
    return response

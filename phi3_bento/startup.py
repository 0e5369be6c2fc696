"""Follow a service's start from outside, by its probes: ready, failed, or gone."""

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from phi3_bento.errors import StartFailure

Say = Callable[[str], None]

_POLL_S = 0.3
_START_LIMIT_S = 900.0

# A proxy that the environment names knows nothing of a service on this machine.
_direct = build_opener(ProxyHandler({}))


def wait_until_ready(
    address: str,
    child: "subprocess.Popen[bytes]",
    stopping: Sequence[int],
    *,
    log_file: Path,
    say: Say,
) -> str | None:
    """The served model's name once it answers; None when a signal came first.

    `say` hears each step of the start.

    Raises `StartFailure` when `child` ends, says that it has failed, or takes too long.
    """
    deadline, told = monotonic() + _START_LIMIT_S, ""
    while monotonic() < deadline:
        if stopping:
            return None
        if child.poll() is not None:
            raise StartFailure(
                f"BentoML ended with code {child.returncode} before the service was ready. Its "
                f"last words: {_last_words(log_file)}"
            )
        status, body = _get(address, "/v1/health/ready")
        if status == HTTPStatus.OK:
            return _served_name(address)
        message = str(body.get("error", {}).get("message", told))
        if message != told:
            say(message)
            told = message
        status, body = _get(address, "/v1/health/live")
        if status == HTTPStatus.SERVICE_UNAVAILABLE and "error" in body:
            raise StartFailure(str(body["error"].get("message")))
        sleep(_POLL_S)
    raise StartFailure(f"The service was not ready after {_START_LIMIT_S:.0f} s; see its log.")


def needs_key(address: str) -> bool:
    """The service answers nobody without a key."""
    return _get(address, "/v1/models")[0] == HTTPStatus.UNAUTHORIZED


def _get(address: str, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a GET; status 0 while nothing listens."""
    try:
        with _direct.open(address + path, timeout=5) as response:
            return response.status, _object(response.read())
    except HTTPError as error:
        return error.code, _object(error.read())
    except (OSError, HTTPException):
        return 0, {}


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object; empty for anything else."""
    with suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return {}


def _served_name(address: str) -> str:
    return str(_get(address, "/version")[1].get("model"))


def _last_words(log_file: Path) -> str:
    try:
        lines = log_file.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "(see above)"
    return said_in(lines[-1]) if lines else "(nothing)"


def said_in(line: str) -> str:
    """What a line of the log says, in whatever format."""
    record = _object(line.encode())
    return str(record.get("message", line))

"""A running service, asked over HTTP by the command line; what fails becomes a sentence."""

import re
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from phi3_bento.errors import StartFailure

ANSWER_LIMIT_S = 60.0


class ServiceClient:
    """One service and the key that it is asked with. All methods raise `StartFailure`."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StartFailure(f"'{url}' is not an address such as http://127.0.0.1:11403.")
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise StartFailure("The API key has signs that no key has; is it the right file?")
        self.options: dict[str, Any] = {
            "base_url": url,
            "headers": {"authorization": f"Bearer {key}"} if key else {},
            # A proxy that the environment names knows nothing of a service on this machine.
            "trust_env": not _is_local(parts.hostname),
        }
        """What an HTTP client for this service is made with."""
        self._url = url

    def check_ready(self) -> None:
        """Return if the service answers requests now."""
        self.ask("GET", "/v1/health/ready")

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """The JSON of a good answer; None where it has no body."""
        try:
            with httpx.Client(**self.options, timeout=ANSWER_LIMIT_S) as client:
                response = client.request(method, path, **request)
        except httpx.TransportError as error:
            raise self.unreachable(error) from error
        self.check_key(response)
        if not response.is_success:
            raise StartFailure(f"The service at {self._url} says: {message_of(response)}")
        try:
            return response.json() if response.content else None
        except ValueError:
            raise StartFailure(
                f"What answers at {self._url} is not phi3-bento. Name the service with --url."
            ) from None

    def check_key(self, response: httpx.Response) -> None:
        """Raise where the key is the reason why there is no good answer."""
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise StartFailure(
                f"The service at {self._url} says: {message_of(response)} Name a key with "
                "PHI3_API_KEY or --key-file."
            )

    def unreachable(self, error: httpx.TransportError) -> StartFailure:
        """There is nobody, or nobody answers in time."""
        why = str(error) or type(error).__name__
        return StartFailure(
            f"No service answers at {self._url} ({why}). Start it with 'phi3-bento serve', or name "
            "another with --url."
        )


def message_of(response: httpx.Response) -> str:
    """What a bad answer says, in a sentence."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}."


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Name the caller: the service's API key, or a person at this very machine."""

import hmac
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address

from phi3_bento.errors import InvalidApiKey, PermissionDenied


@dataclass(frozen=True, slots=True)
class KeyGuard:
    """Lets a request in by its key or, where no key is set, by where it came in."""

    api_key: str | None

    def check(self, authorization: str | None, local_address: str | None) -> None:
        """Pass, or raise `InvalidApiKey` or `PermissionDenied`.

        `authorization` is the header; `local_address` the address on which the connection came in.
        Without a key only a loopback address serves. This holds also where something other than
        our settings chose the address to listen on, as `bentoml serve --host` does.
        """
        if self.api_key is None:
            if not _is_loopback(local_address):
                raise PermissionDenied(
                    "This service has no API key and answers this machine alone. Start it with "
                    "PHI3_API_KEY set to serve other machines."
                )
            return
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not _is_equal(key.strip(), self.api_key):
            raise InvalidApiKey(
                "The API key is missing or wrong. Send it as 'Authorization: Bearer <key>'."
            )


def _is_equal(given: str, expected: str) -> bool:
    """Compare in a time that depends on neither content: of digests, which are of one length."""
    digests = (
        sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected)
    )
    return hmac.compare_digest(*digests)


def _is_loopback(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address).is_loopback
    except ValueError:
        return False

"""API keys as their owners hold them: `p3_<key id>_<secret>`, and how one is recognised."""

import hmac
import re
import secrets
from hashlib import sha256
from ipaddress import ip_address

from phi3_bento.secret import derive

KEY_ID_CHARACTERS = 10
SECRET_BYTES = 32

MISSING_OR_WRONG = "The API key is missing or wrong. Send it as 'Authorization: Bearer <key>'."
CLOSED_TO_OTHERS = (
    "This service has no API key and answers this machine alone. Create one with 'phi3-bento keys "
    "create', or start it with PHI3_API_KEY set, to serve other machines."
)

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_TOKEN = re.compile(rf"p3_([{_BASE32}]{{{KEY_ID_CHARACTERS}}})_[A-Za-z0-9_-]{{32,128}}")


def new_token() -> str:
    """A new key; its secret half cannot be guessed."""
    key_id = "".join(secrets.choice(_BASE32) for _ in range(KEY_ID_CHARACTERS))
    return f"p3_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"


def key_id_of(token: str) -> str | None:
    """The public name within a key; None for what has not the form of a key of ours."""
    match = _TOKEN.fullmatch(token)
    return match[1] if match else None


def digest_of(token: str, secret: bytes) -> str:
    """What is stored of a key, in hex: without the deployment's secret it proves nothing."""
    return derive(secret, "key", token).hex()


def bearer_token(authorization: str | None) -> str | None:
    """The key in an `Authorization` header; None where it holds no bearer key."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def is_equal(given: str, expected: str) -> bool:
    """Compare in a time that depends on neither content: of digests, which are of one length."""
    digests = (
        sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected)
    )
    return hmac.compare_digest(*digests)


def is_loopback(address: str | None) -> bool:
    """The connection came in on an address that only this machine can reach."""
    try:
        return address is not None and ip_address(address).is_loopback
    except ValueError:
        return False

"""One kept answer, and the seal that binds it to its key wherever it is stored.

A sealed entry is an HMAC-SHA256, a version byte, three big-endian doubles and the body. The HMAC's
key is derived from the deployment's secret and the entry's key, so that an entry that was changed,
cut short, put under another key or written by another deployment is told from a true one.
"""

import hmac
import struct
from dataclasses import dataclass
from enum import StrEnum

from phi3_bento.secret import derive

OVERHEAD_BYTES = 768
"""What an entry takes in memory beside its body: objects, its key, its places in the cache."""

_PURPOSE = "cache"
_VERSION = 3
_HEADER = struct.Struct(">Bddd")
_SEAL_BYTES = 32


class TamperedEntry(Exception):
    """What was to be unsealed is not what was sealed under this key with this secret."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer, and how long it may be given."""

    body: bytes
    """Opaque here."""
    created_at: float
    """Unix time in seconds."""
    ttl_s: float
    engine_ms: float
    """Milliseconds of the engine's work that a hit saves."""

    def age_s(self, now: float) -> float:
        """Seconds since it was made, at the Unix time `now`; 0 by a clock that is behind."""
        return max(0.0, now - self.created_at)

    def is_fresh(self, now: float) -> bool:
        """It may be given at the Unix time `now`."""
        return self.age_s(now) < self.ttl_s

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.body) + OVERHEAD_BYTES


class Tier(StrEnum):
    """Where an answer was found; the value is the metrics label."""

    MEMORY = "memory"
    STORE = "store"
    WARM = "warm"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class Found:
    """An entry, and where it was."""

    entry: Entry
    tier: Tier


def seal(entry: Entry, key: str, secret: bytes) -> bytes:
    """The entry as bytes that only `unseal` with the same key and secret takes."""
    header = _HEADER.pack(_VERSION, entry.created_at, entry.ttl_s, entry.engine_ms)
    content = header + entry.body
    return _seal_of(content, key, secret) + content


def unseal(sealed: bytes, key: str, secret: bytes) -> Entry:
    """The entry that was sealed. Raises `TamperedEntry` for anything else."""
    content = sealed[_SEAL_BYTES:]
    if not hmac.compare_digest(sealed[:_SEAL_BYTES], _seal_of(content, key, secret)):
        raise TamperedEntry("the seal does not fit")
    # What fits was sealed by us, and may yet be of another version's format.
    if len(content) < _HEADER.size or content[0] != _VERSION:
        raise TamperedEntry("the format is unknown")
    _, created_at, ttl_s, engine_ms = _HEADER.unpack_from(content)
    return Entry(content[_HEADER.size :], created_at, ttl_s, engine_ms)


def wrap(entry: Entry, scope: str, key: str, secret: bytes) -> bytes:
    """The sealed entry with its scope in front; the seal covers the scope as well."""
    return scope.encode() + b"\n" + seal(entry, f"{scope}/{key}", secret)


def unwrap(wrapped: bytes, key: str, secret: bytes) -> tuple[Entry, str]:
    """The entry and its scope. Raises `TamperedEntry` for what is not of `wrap`."""
    scope, _, sealed = wrapped.partition(b"\n")
    name = scope.decode("latin-1")
    return unseal(sealed, f"{name}/{key}", secret), name


def _seal_of(content: bytes, key: str, secret: bytes) -> bytes:
    return hmac.digest(derive(secret, _PURPOSE, key), content, "sha256")

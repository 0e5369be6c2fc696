"""The Protocol of the cache's second tier: bytes by key, beyond this process's memory."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


class StoreFailure(Exception):
    """A store did not do what it was asked; the message says why. Nothing else is raised."""


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How much a store keeps."""

    entries: int
    bytes: int
    """What was put, or the room that it takes: whichever the store can tell at once."""


class Store(Protocol):
    """Keeps bytes for a while. What it gives may be old or foreign: the reader checks.

    Keys are hexadecimal, of at most 64 characters; scopes are hexadecimal. Nothing is opened
    before the first call. Every method may be called by many tasks at once, may be cancelled at any
    moment, and raises `StoreFailure` where the store is broken or closed; a later call tries again.
    """

    async def get(self, key: str) -> bytes | None:
        """What was put last under `key`; None: nothing, or its time is over."""

    async def put(self, key: str, sealed: bytes, *, ttl_s: float, scope: str) -> None:
        """Keep `sealed` for `ttl_s` seconds, instead of what was there; 0 or less: keep nothing.

        The store may forget anything earlier, to stay within its size.
        """

    async def clear(self, scope: str | None) -> int:
        """Forget what was put with `scope`, or everything (None); returns how many there were."""

    def entries(self, scope: str | None) -> AsyncGenerator[tuple[str, bytes], None]:
        """Yield key and bytes of what was put with `scope`, or of everything (None), in any order.

        Others may ask and put meanwhile; what they put may be missing, and Redis may then give an
        entry twice.
        """
        ...

    async def size(self) -> StoreSize:
        """How much is kept, of all scopes."""

    async def close(self) -> None:
        """Close files and connections. Safe to call twice."""

"""What the bodies of all requests together may take in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from phi3_bento.errors import Overloaded, UnsupportedMediaType

MAX_BODIES_BYTES = 64 * 2**20
"""Of all requests that are being answered together; one may be as large as it is allowed to be."""


@dataclass(slots=True)
class Share:
    """What one request has received of what all may hold."""

    bodies: "Bodies"
    taken: int = 0

    def take(self, size: int) -> None:
        """Raises `Overloaded` where all of them together are too large."""
        self.taken += size
        self.bodies.held += size
        if self.bodies.held > self.bodies.limit and size:
            raise Overloaded("The bodies of all requests are too large together.", retry_after_s=1)


@dataclass(slots=True)
class Bodies:
    """Bytes of the bodies of all requests that are being answered."""

    limit: int
    held: int = 0

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One request's share; given back at its end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held -= share.taken


def check_encoding(encoding: str | None) -> None:
    """Raise `UnsupportedMediaType` for a packed body: a small one may unpack to a large one."""
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("Send the body without Content-Encoding.")

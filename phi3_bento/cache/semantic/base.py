"""The Protocol of the store of vectors, and what goes into it and comes out."""

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from phi3_bento.cache.base import StoreFailure

DIMENSIONS = 384
MAX_SEALED_BYTES = 65_536

Vector = NDArray[np.float32]
"""The embedding of one text: `DIMENSIONS` numbers, of length 1."""

_HEXADECIMAL = re.compile(r"[0-9a-f]{1,64}")


class NotEmbeddableError(ValueError):
    """A text whose vector would stand for less than the text; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One question that has an answer in the exact cache.

    `partition`, `scope` and `key` are hexadecimal, of at most 64 characters.
    """

    partition: str
    """Everything that two questions must share to be compared at all."""
    scope: str
    """Whose it is; what `clear` forgets together."""
    key: str
    """The key of the answer in the exact cache."""
    sealed: bytes
    """The question, for its owner alone to read: at most `MAX_SEALED_BYTES`."""
    vector: Vector


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A row that was found. The store may have been tampered with: its reader checks `sealed`."""

    key: str
    sealed: bytes
    similarity: float
    """The cosine between both vectors: 1 is the same text, about 0 has nothing in common."""


class VectorStore(Protocol):
    """Keeps rows for a while, and finds those nearest to a vector.

    It compares with every row of the partition, and with no other's: a partition holds few rows,
    and an approximate index would miss some of them. Nothing is opened before the first call. Every
    method may be called by many tasks at once, may be cancelled at any moment, and raises
    `StoreFailure`, and nothing else, where the store is broken or closed or a value is not as
    promised; a later call tries again.
    """

    async def add(self, row: Row, ttl_s: float) -> None:
        """Keep `row` for `ttl_s` seconds, instead of what had its key; 0 or less: keep nothing.

        When there are too many rows, the oldest go.
        """

    async def nearest(self, partition: str, vector: Vector, limit: int) -> list[Neighbour]:
        """The `limit` rows of `partition` that are most similar, best first; none that is over."""

    async def remove(self, key: str) -> None:
        """Forget the row of `key`; without one, nothing happens."""

    async def clear(self, scope: str | None) -> int:
        """Forget the rows of `scope`, or all (None); returns how many there were."""

    async def count(self) -> int:
        """Rows that are kept, those whose time is over among them until they are removed."""

    async def close(self) -> None:
        """Close files and connections. Safe to call twice."""


def check_row(row: Row) -> None:
    """Raise `StoreFailure` unless the row is as its class promises."""
    check_names(row.partition, row.scope, row.key)
    check_vector(row.vector)
    if len(row.sealed) > MAX_SEALED_BYTES:
        raise StoreFailure(f"A row may hold {MAX_SEALED_BYTES} sealed bytes, not more.")


def check_names(*names: str) -> None:
    """Raise `StoreFailure` unless each is a partition, a scope or a key."""
    if not all(_HEXADECIMAL.fullmatch(name) for name in names):
        raise StoreFailure("Partitions, scopes and keys are 1 to 64 hexadecimal digits.")


def check_vector(vector: Vector) -> None:
    """Raise `StoreFailure` unless it is a vector of length 1."""
    is_vector = vector.shape == (DIMENSIONS,) and vector.dtype == np.float32
    # A length that is not a number is no length near 1 either.
    if not (is_vector and abs(float(np.linalg.norm(vector)) - 1.0) < 1e-3):
        raise StoreFailure(f"A vector is {DIMENSIONS} numbers of type float32, and of length 1.")

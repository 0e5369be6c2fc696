"""What a search for a question that means the same has found."""

from dataclasses import dataclass

from phi3_bento.cache.semantic.base import Vector


@dataclass(frozen=True, slots=True)
class Twin:
    """An earlier question that means the same."""

    key: str
    """Of its answer in the exact cache."""
    similarity: float


@dataclass(frozen=True, slots=True)
class Search:
    """What was found for a question, and why no more."""

    twins: tuple[Twin, ...] = ()
    """Most similar first."""
    vector: Vector | None = None
    nearest: float | None = None
    """The similarity of the nearest question, whether it was a twin or not."""
    refused_by: str | None = None
    """What refused the nearest question: `similarity`, or a guard. None: nothing did."""


NO_SEARCH = Search()

"""The store of vectors, chosen by its URL: an own SQLite file, or PostgreSQL with pgvector."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from phi3_bento.cache.semantic.base import VectorStore
from phi3_bento.cache.semantic.postgresql_vectors import PostgresqlVectors
from phi3_bento.cache.semantic.sqlite_vectors import SqliteVectors
from phi3_bento.errors import StartFailure

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgres", "postgresql", "postgresql+asyncpg")


def open_vectors(url: str, *, cap_rows: int) -> VectorStore:
    """The store of `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Opens nothing yet. Raises `StartFailure` for another URL; its message never holds the URL, and
    with it a password.
    """
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return SqliteVectors(Path(url.removeprefix(_SQLITE)), cap_rows)
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in _POSTGRESQL and parts.hostname and parts.port != 0:
            return PostgresqlVectors(url, cap_rows)
    raise StartFailure(
        "The URL of the semantic cache's vectors cannot be used: write sqlite:///PATH or "
        "postgresql://USER:PASSWORD@HOST/NAME."
    )

"""Stores of vectors are chosen by URL; what each says when its place is not fit for it."""

from pathlib import Path

import asyncpg
import pytest

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.semantic import postgresql_vectors, vector_file
from phi3_bento.cache.semantic.postgresql_vectors import PostgresqlVectors
from phi3_bento.cache.semantic.sqlite_vectors import SqliteVectors
from phi3_bento.cache.semantic.vectors import open_vectors
from phi3_bento.errors import StartFailure
from tests.contracts.test_vectors import (
    CAP_ROWS,
    DIRECTION,
    HOUR_S,
    PARTITION,
    keys_in,
    row_of,
    vectors,
)
from tests.servers import new_database


async def test_a_store_is_chosen_by_its_url(tmp_path: Path, pgvector_url: str) -> None:
    path = tmp_path / "new" / "vectors.db"
    url = await new_database(pgvector_url)
    for each, kind in (
        (f"sqlite:///{path}", SqliteVectors),
        (url, PostgresqlVectors),
        (url.replace("postgresql:", "postgres:"), PostgresqlVectors),
        (url.replace("postgresql:", "postgresql+asyncpg:"), PostgresqlVectors),
    ):
        store = open_vectors(each, cap_rows=CAP_ROWS)
        assert isinstance(store, kind)
        assert not path.exists()
        await store.add(row_of(1), HOUR_S)
        assert await keys_in(store) == [1]
        await store.close()
        path.unlink(missing_ok=True)


def modes_in(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    store = open_vectors(f"sqlite:///{tmp_path}/vectors.db", cap_rows=CAP_ROWS)
    await store.add(row_of(1), HOUR_S)
    modes = modes_in(tmp_path)
    await store.close()
    assert {name: mode for name, mode in modes.items() if not name.endswith(".lock")} == {
        "vectors.db": 0o600,
        "vectors.db-wal": 0o600,
        "vectors.db-shm": 0o600,
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///",
        "memory://",
        "redis://u:pass@h:1/0",
        "mysql://u:pass@h/n",
        "postgresql://",
        "postgresql://u:pass@h:port/n",
        "postgresql://u:pass@[h/n",
    ],
)
def test_another_url_stops_the_start_without_telling_its_password(url: str) -> None:
    with pytest.raises(StartFailure, match="sqlite:///PATH or postgresql://") as caught:
        open_vectors(url, cap_rows=CAP_ROWS)
    assert "pass" not in str(caught.value).replace("PASSWORD", "")


async def test_a_postgresql_without_pgvector_is_told_what_to_install(postgresql_url: str) -> None:
    store = open_vectors(await new_database(postgresql_url), cap_rows=CAP_ROWS)
    for _ in range(2):
        with pytest.raises(StoreFailure, match="install pgvector on the server"):
            await store.count()
    await store.close()


async def test_a_failure_does_not_tell_the_password(pgvector_url: str) -> None:
    server = pgvector_url.replace("postgres@", "nobody:hunter%2B2@")
    store = open_vectors(server + "?sslmode=hunter%2B2", cap_rows=CAP_ROWS)
    with pytest.raises(StoreFailure, match="sslmode") as caught:
        await store.count()
    await store.close()
    assert "hunter" not in str(caught.value)


async def test_a_table_that_was_dropped_costs_one_failure(pgvector_url: str) -> None:
    url = await new_database(pgvector_url)
    store = open_vectors(url, cap_rows=CAP_ROWS)
    await store.add(row_of(1), HOUR_S)
    connection = await asyncpg.connect(url)
    await connection.execute("DROP TABLE phi3_vectors; DROP EXTENSION vector")
    await connection.close()
    with pytest.raises(StoreFailure):
        await store.add(row_of(2), HOUR_S)
    await store.add(row_of(3), HOUR_S)
    assert await keys_in(store) == [3]
    await store.close()


async def test_a_search_in_sqlite_reads_its_own_partition_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "vectors.db"
    store = SqliteVectors(path, CAP_ROWS)
    await store.add(row_of(1), HOUR_S)
    await store.close()
    connection = vector_file.VectorConnection(path, 0.1)
    values = (PARTITION, vector_file.bytes_of(DIRECTION), 0.0, 5)
    query = f"EXPLAIN QUERY PLAN {vector_file._NEAREST}"
    plan = connection.run(lambda opened: opened.execute(query, values).fetchall())
    connection.close()
    tables = [step[3] for step in plan if step[3].startswith(("SEARCH", "SCAN"))]
    assert "SEARCH vectors USING PRIMARY KEY (partition=?)" in tables
    assert not any(step.startswith(("SCAN vectors", "SCAN entries")) for step in tables)


async def test_a_search_in_postgresql_reads_its_own_partition_and_no_other(
    pgvector_url: str,
) -> None:
    url = await new_database(pgvector_url)
    store = PostgresqlVectors(url, CAP_ROWS)
    for number, vector in enumerate(vectors(500)):
        await store.add(row_of(number, vector, partition=f"{number % 100:02x}"), HOUR_S)
    await store.close()
    connection = await asyncpg.connect(url)
    query = f"EXPLAIN {postgresql_vectors._NEAREST}"
    plan = await connection.fetch(query, "0a", DIRECTION.tolist(), 0.0, 5)
    await connection.close()
    text = "\n".join(line for (line,) in plan)
    assert "on phi3_vectors_partition" in text
    assert "Seq Scan" not in text

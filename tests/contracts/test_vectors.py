"""One suite for the stores of vectors: SQLite with sqlite-vec, and PostgreSQL with pgvector."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.semantic.base import DIMENSIONS, MAX_SEALED_BYTES, Row, Vector, VectorStore
from phi3_bento.cache.semantic.postgresql_vectors import PostgresqlVectors
from phi3_bento.cache.semantic.sqlite_vectors import SqliteVectors
from tests.contracts.limiters import Clock
from tests.servers import new_database

CAP_ROWS = 100_000
ACME, GLOBEX = "acce", "91b3"
PARTITION, OTHER = "0a", "0b"
HOUR_S = 3600.0

Make = Callable[..., VectorStore]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Make]:
    """Makes stores over the same rows, and closes them."""
    kind: Callable[..., VectorStore] = SqliteVectors
    place: Any = tmp_path / "new" / "vectors.db"
    if request.param == "postgresql":
        kind = PostgresqlVectors
        place = await new_database(request.getfixturevalue("pgvector_url"))
    async with AsyncExitStack() as stack:

        def make(cap_rows: int = CAP_ROWS) -> VectorStore:
            store = kind(place, cap_rows, clock)
            stack.push_async_callback(store.close)
            return store

        yield make


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Random directions."""
    numbers = np.random.default_rng(seed).standard_normal((count, DIMENSIONS))
    return (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float32)


(DIRECTION,) = vectors(1)


def row_of(number: int, vector: Vector = DIRECTION, partition: str = PARTITION) -> Row:
    return Row(partition, ACME, f"{number:064x}", b"sealed %d" % number, vector)


async def keys_in(store: VectorStore, partition: str = PARTITION, limit: int = 1000) -> list[int]:
    return sorted(int(each.key, 16) for each in await store.nearest(partition, DIRECTION, limit))


async def test_the_most_similar_rows_come_first_with_their_cosine(make: Make) -> None:
    store, all_vectors = make(), vectors(1000)
    await asyncio.gather(
        *(store.add(row_of(n, vector), HOUR_S) for n, vector in enumerate(all_vectors))
    )
    close_by = all_vectors[7] + 0.2 * all_vectors[8]
    for asked in (*vectors(5, seed=1), close_by / np.linalg.norm(close_by)):
        cosines = all_vectors @ asked
        best = np.argsort(-cosines)[:10]
        found = await store.nearest(PARTITION, asked, 10)
        assert [int(each.key, 16) for each in found] == list(best)
        assert [each.similarity for each in found] == pytest.approx(cosines[best], abs=1e-5)
        assert [each.sealed for each in found] == [b"sealed %d" % n for n in best]


async def test_what_is_the_same_has_similarity_one_and_the_opposite_minus_one(make: Make) -> None:
    store = make()
    await store.add(row_of(1, DIRECTION), HOUR_S)
    await store.add(row_of(2, -DIRECTION), HOUR_S)
    found = await store.nearest(PARTITION, DIRECTION, 5)
    assert [each.similarity for each in found] == pytest.approx([1, -1], abs=1e-6)


async def test_nothing_is_near_in_an_empty_store(make: Make) -> None:
    store = make()
    assert await store.nearest(PARTITION, DIRECTION, 5) == []
    assert await store.count() == 0
    assert await store.clear(None) == 0
    await store.remove("01")


@pytest.mark.parametrize("limit", [-1, 0, 1, 2, 5])
async def test_no_more_come_than_were_asked_for(make: Make, limit: int) -> None:
    store = make()
    for number in range(3):
        await store.add(row_of(number), HOUR_S)
    assert len(await store.nearest(PARTITION, DIRECTION, limit)) == min(max(limit, 0), 3)


async def test_a_row_ends_with_its_time(make: Make, clock: Clock) -> None:
    store = make()
    await store.add(row_of(1), 10)
    await store.add(row_of(2), 30)
    await store.add(row_of(3), float("inf"))
    assert await keys_in(store) == [1, 2, 3]
    clock.ahead_s += 10
    assert await keys_in(store) == [2, 3]
    clock.ahead_s += 20
    assert await keys_in(store) == [3]


async def test_rows_that_are_over_do_not_stand_in_the_way_of_others(
    make: Make, clock: Clock
) -> None:
    store = make()
    for number in range(20):
        await store.add(row_of(number), 10)
    await store.add(row_of(20, vectors(1, seed=2)[0]), 30)
    clock.ahead_s += 10
    assert [each.key for each in await store.nearest(PARTITION, DIRECTION, 1)] == [row_of(20).key]


@pytest.mark.parametrize("ttl_s", [0, -1, float("-inf"), float("nan")])
async def test_without_time_nothing_is_kept_and_what_was_there_goes(
    make: Make, ttl_s: float
) -> None:
    store = make()
    await store.add(row_of(1), HOUR_S)
    await store.add(row_of(1), ttl_s)
    await store.add(row_of(2), ttl_s)
    assert await store.count() == 0


async def test_a_row_takes_the_place_of_the_one_with_its_key(make: Make, clock: Clock) -> None:
    store, elsewhere = make(), vectors(1, seed=3)[0]
    await store.add(row_of(1), 10)
    await store.add(replace(row_of(1, elsewhere), sealed=b"new", scope=GLOBEX), HOUR_S)
    clock.ahead_s += 10
    (found,) = await store.nearest(PARTITION, elsewhere, 5)
    assert (found.key, found.sealed) == (row_of(1).key, b"new")
    assert found.similarity == pytest.approx(1, abs=1e-6)
    await store.add(row_of(1, partition=OTHER), HOUR_S)
    assert await keys_in(store) == []
    assert await keys_in(store, OTHER) == [1]
    assert await store.count() == 1
    assert await store.clear(GLOBEX) == 0
    assert await store.clear(ACME) == 1


async def test_what_is_removed_is_gone(make: Make) -> None:
    store = make()
    for number in range(3):
        await store.add(row_of(number), HOUR_S)
    await store.remove(row_of(1).key)
    await store.remove(row_of(1).key)
    assert await keys_in(store) == [0, 2]
    assert await store.count() == 2


async def test_clear_forgets_one_scope_or_all(make: Make) -> None:
    store = make()
    for number in range(1200):
        scope = GLOBEX if number % 4 == 0 else ACME
        await store.add(replace(row_of(number), scope=scope), HOUR_S)
    await store.add(replace(row_of(1200, partition=OTHER), scope=GLOBEX), HOUR_S)
    assert await store.clear(GLOBEX) == 301
    assert await keys_in(store, limit=2000) == [n for n in range(1200) if n % 4]
    assert await keys_in(store, OTHER) == []
    assert await store.clear(GLOBEX) == 0
    assert await store.clear(None) == 900
    assert await store.count() == 0


async def test_of_too_many_rows_the_oldest_go(make: Make, clock: Clock) -> None:
    store = make(cap_rows=20)
    for number in range(50):
        clock.ahead_s += 1
        await store.add(row_of(number, partition=f"{number % 3:02x}"), HOUR_S)
        assert await store.count() <= 20
    for each in range(3):
        kept = [number for number in range(30, 50) if number % 3 == each]
        assert await keys_in(store, f"{each:02x}") == kept


async def test_a_row_that_was_added_again_is_young(make: Make, clock: Clock) -> None:
    store = make(cap_rows=3)
    for number in (0, 1, 2, 0, 3, 4):
        clock.ahead_s += 1
        await store.add(row_of(number), HOUR_S)
    assert await keys_in(store) == [0, 3, 4]


async def test_a_full_store_holds_hardly_more_than_its_cap(make: Make, clock: Clock) -> None:
    store, cap = make(cap_rows=320), 320
    for number in range(1000):
        clock.ahead_s += 1
        await store.add(row_of(number), HOUR_S)
    assert cap <= await store.count() <= cap + cap // 32
    assert set(range(1000 - cap, 1000)) <= set(await keys_in(store))


async def test_rows_that_are_over_are_removed_in_time(make: Make, clock: Clock) -> None:
    store = make(cap_rows=64)
    for number in range(40):
        await store.add(row_of(number), 10)
    clock.ahead_s += 10
    for number in range(40, 45):
        await store.add(row_of(number), 10)
    assert await store.count() == 5


async def test_a_later_store_finds_the_rows_of_an_earlier_one(make: Make) -> None:
    first = make()
    await first.add(row_of(1), HOUR_S)
    await first.close()
    assert await keys_in(make()) == [1]


async def test_two_stores_that_begin_at_once_share_all_rows(make: Make) -> None:
    stores = [make() for _ in range(4)]
    rows = [row_of(number, vector) for number, vector in enumerate(vectors(200))]
    await asyncio.gather(*(stores[number % 4].add(row, HOUR_S) for number, row in enumerate(rows)))
    for store in stores:
        assert await keys_in(store) == list(range(200))


async def test_many_that_add_one_key_leave_one_row(make: Make) -> None:
    stores = [make(cap_rows=10) for _ in range(3)]
    adds = [store.add(row_of(number % 5), HOUR_S) for store in stores for number in range(50)]
    await asyncio.gather(*adds)
    assert await keys_in(stores[0]) == list(range(5))
    assert await stores[0].count() == 5


async def test_several_that_clear_and_add_at_once_all_come_through(make: Make) -> None:
    stores = [make(cap_rows=40) for _ in range(3)]
    for round_number in range(5):
        adds = [
            stores[number % 3].add(row_of(1000 * round_number + number), HOUR_S)
            for number in range(60)
        ]
        await asyncio.gather(*adds, *(store.clear(ACME) for store in stores))
    await stores[0].clear(None)
    assert await stores[1].count() == 0


class Model:
    """What a store does, in a dictionary and with numpy."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rows: dict[str, tuple[Row, float]] = {}

    def add(self, row: Row, ttl_s: float) -> None:
        self.rows[row.key] = (row, self._clock() + ttl_s)

    def clear(self, scope: str | None) -> None:
        self.rows = {k: v for k, v in self.rows.items() if scope not in (None, v[0].scope)}

    def near(self, partition: str) -> dict[bytes, float]:
        """Each row that may be found, by its sealed bytes, and how similar it is."""
        return {
            row.sealed: float(row.vector @ DIRECTION)
            for row, expires_at in self.rows.values()
            if row.partition == partition and expires_at > self._clock()
        }


def random_row(random: np.random.Generator) -> Row:
    (vector,) = vectors(1, seed=int(random.integers(2**32)))
    partition = str(random.choice([PARTITION, OTHER, "ff" * 32]))
    scope, key = str(random.choice([ACME, GLOBEX])), f"{random.integers(30):02x}"
    return Row(partition, scope, key, random.bytes(16), vector)


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_done_a_partition_shows_its_own_fresh_rows_and_no_other(
    make: Make, clock: Clock, seed: int
) -> None:
    random = np.random.default_rng(seed)
    store, model = make(), Model(clock)
    for _ in range(150):
        row, choice = random_row(random), random.random()
        if choice < 0.75:
            ttl_s = float(random.choice([100, 1000]))
            await store.add(row, ttl_s)
            model.add(row, ttl_s)
        elif choice < 0.9:
            await store.remove(row.key)
            model.rows.pop(row.key, None)
        elif choice < 0.92:
            await store.clear(row.scope)
            model.clear(row.scope)
        else:
            clock.ahead_s += 60
        found = await store.nearest(row.partition, DIRECTION, 100)
        near = model.near(row.partition)
        assert {each.sealed: each.similarity for each in found} == pytest.approx(near, abs=1e-5)
        similarities = [each.similarity for each in found]
        assert similarities == sorted(similarities, reverse=True)


async def test_a_call_that_is_given_up_harms_no_later_one(make: Make) -> None:
    store = make()
    for turns in range(25):
        calls = [
            asyncio.create_task(store.add(row_of(1), HOUR_S)),
            asyncio.create_task(store.nearest(PARTITION, DIRECTION, 5)),
            asyncio.create_task(store.clear(GLOBEX)),
            asyncio.create_task(store.count()),
        ]
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await store.add(row_of(0), HOUR_S)
        assert await keys_in(store) in ([0], [0, 1])
        assert await store.count() in (1, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"partition": ""},
        {"partition": "0a" * 33},
        {"scope": "acme' OR 1"},
        {"key": "ff\0"},
        {"key": "FF"},
        {"key": "\ud800"},
        {"sealed": bytes(MAX_SEALED_BYTES + 1)},
        {"vector": np.zeros(DIMENSIONS, np.float32)},
        {"vector": DIRECTION[:-1]},
        {"vector": DIRECTION.astype(np.float64)},
        {"vector": np.stack([DIRECTION])},
        {"vector": np.full(DIMENSIONS, np.nan, np.float32)},
    ],
    ids=str,
)
async def test_what_is_no_row_is_refused(make: Make, wrong: dict[str, Any]) -> None:
    store = make()
    with pytest.raises(StoreFailure):
        await store.add(replace(row_of(1), **wrong), HOUR_S)
    if "vector" in wrong:
        with pytest.raises(StoreFailure):
            await store.nearest(PARTITION, wrong["vector"], 5)
    if "partition" in wrong:
        with pytest.raises(StoreFailure):
            await store.nearest(wrong["partition"], DIRECTION, 5)
    if "key" in wrong:
        with pytest.raises(StoreFailure):
            await store.remove(wrong["key"])
    assert await store.count() == 0


async def test_the_largest_row_is_kept_as_it_is(make: Make) -> None:
    store, sealed = make(), secrets.token_bytes(MAX_SEALED_BYTES)
    names = {"partition": "f" * 64, "scope": "e" * 64, "key": "d" * 64}
    await store.add(replace(row_of(1), sealed=sealed, **names), HOUR_S)
    (found,) = await store.nearest("f" * 64, DIRECTION, 5)
    assert (found.key, found.sealed) == ("d" * 64, sealed)


async def test_a_closed_store_says_so_and_may_be_closed_again(make: Make) -> None:
    store, unused = make(), make()
    await store.add(row_of(1), HOUR_S)
    for each in (store, unused, store):
        await each.close()
    for call in (store.count(), unused.add(row_of(1), HOUR_S), store.nearest("00", DIRECTION, 1)):
        with pytest.raises(StoreFailure, match="closed"):
            await call
    assert await keys_in(make()) == [1]

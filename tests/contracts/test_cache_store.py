"""One suite for the cache's second tier over every store: SQLite and Redis."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from phi3_bento.cache.store import RedisStore, SqliteStore, Store, StoreFailure, open_store
from phi3_bento.errors import StartFailure
from tests.support import wait_for_async

CAP_BYTES = 2**24
ACME, GLOBEX = "acce", "91b3"

Make = Callable[[], Store]


def key_of(number: int) -> str:
    return f"{number:064x}"


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str
) -> AsyncIterator[Make]:
    """Makes stores that share what they keep, as processes do."""
    prefix = f"test:{secrets.token_hex(4)}:"
    async with AsyncExitStack() as stack:

        def make() -> Store:
            store: Store
            if request.param == "sqlite":
                store = SqliteStore(tmp_path / "cache.db", CAP_BYTES)
            else:
                store = RedisStore(redis_url, prefix)
            stack.push_async_callback(store.close)
            return store

        yield make


async def put(store: Store, key: str, sealed: bytes, scope: str = ACME) -> None:
    await store.put(key, sealed, ttl_s=60, scope=scope)


@pytest.mark.parametrize(
    "sealed", [b"", b"\n", b"a\nb\n", bytes(range(256)), secrets.token_bytes(300_000)]
)
async def test_what_was_put_comes_back_byte_for_byte(make: Make, sealed: bytes) -> None:
    store, other = make(), make()
    assert await store.get(key_of(1)) is None
    await put(store, key_of(1), sealed)
    assert await store.get(key_of(1)) == sealed
    assert await other.get(key_of(1)) == sealed
    assert await store.get(key_of(2)) is None


async def test_the_last_put_of_a_key_counts(make: Make) -> None:
    store, other = make(), make()
    await put(store, key_of(1), b"first")
    await put(other, key_of(1), b"second", GLOBEX)
    assert await store.get(key_of(1)) == b"second"
    assert await store.clear(ACME) == 0
    assert await store.clear(GLOBEX) == 1
    assert await other.get(key_of(1)) is None


async def test_an_entry_is_gone_when_its_time_is_over(make: Make) -> None:
    store = make()
    await store.put(key_of(1), b"brief", ttl_s=0.05, scope=ACME)
    await put(store, key_of(2), b"lasting")

    async def is_gone() -> bool:
        return await store.get(key_of(1)) is None

    await wait_for_async(is_gone, "the entry is gone")
    assert await store.get(key_of(2)) == b"lasting"


@pytest.mark.parametrize("ttl_s", [0.0, -1.0])
async def test_a_put_without_time_removes_the_key(make: Make, ttl_s: float) -> None:
    store = make()
    await put(store, key_of(1), b"one")
    await put(store, key_of(2), b"two")
    await store.put(key_of(1), b"", ttl_s=ttl_s, scope="")
    assert await store.get(key_of(1)) is None
    assert await store.get(key_of(2)) == b"two"


@pytest.mark.parametrize("ttl_s", [1e300, float("inf")])
async def test_an_endless_time_is_a_long_time(make: Make, ttl_s: float) -> None:
    store = make()
    await store.put(key_of(1), b"one", ttl_s=ttl_s, scope=ACME)
    assert await store.get(key_of(1)) == b"one"


async def test_a_scope_is_cleared_whole_and_alone(make: Make) -> None:
    store, other = make(), make()
    for number in range(1300):
        await put(store, key_of(number), b"%d" % number, GLOBEX if number % 13 == 0 else ACME)
    # A scope that begins as another does is another.
    await put(store, key_of(5000), b"longer", ACME + "00")
    assert await other.clear("ff") == 0
    assert await other.clear(ACME) == 1200
    left = [number for number in range(1300) if await store.get(key_of(number)) is not None]
    assert left == list(range(0, 1300, 13))
    assert await store.get(key_of(5000)) == b"longer"
    assert await store.clear(None) == 101
    assert await other.clear(None) == 0


async def read(store: Store, scope: str | None) -> dict[str, bytes]:
    return {key: sealed async for key, sealed in store.entries(scope)}


async def test_the_entries_of_a_scope_are_read_whole_and_alone(make: Make) -> None:
    store, other = make(), make()
    assert await read(store, None) == {}
    everything = {key_of(number): b"%d\n" % number for number in range(700)}
    for number, (key, sealed) in enumerate(everything.items()):
        await put(store, key, sealed, GLOBEX if number % 7 == 0 else ACME)
    await put(store, key_of(5000), b"longer", ACME + "00")
    await store.put(key_of(5001), b"brief", ttl_s=0.001, scope=ACME)
    await asyncio.sleep(0.01)
    acme = {key: sealed for key, sealed in everything.items() if int(sealed) % 7}
    assert await read(other, ACME) == acme
    assert await read(other, None) == everything | {key_of(5000): b"longer"}
    assert await read(other, "ff") == {}


async def test_large_entries_are_read_as_they_are(make: Make) -> None:
    store = make()
    large = {key_of(number): secrets.token_bytes(700_000) for number in range(5)}
    for key, sealed in large.items():
        await put(store, key, sealed)
    assert await read(store, ACME) == large


async def test_others_may_ask_put_and_clear_while_the_entries_are_read(make: Make) -> None:
    store, other = make(), make()
    for number in range(300):
        await put(store, key_of(number), b"%d" % number)
    entries = store.entries(ACME)
    key, sealed = await anext(entries)
    assert await store.get(key) == sealed
    await put(other, key_of(1000), b"more")
    rest = {key: sealed async for key, sealed in entries}
    assert len(rest | {key: sealed}) >= 300
    entries = store.entries(ACME)
    await anext(entries)
    await other.clear(None)
    await entries.aclose()
    assert await read(store, None) == {}


async def test_the_size_counts_what_is_kept(make: Make) -> None:
    store = make()
    assert (await store.size()).entries == 0
    for number in range(20):
        await put(store, key_of(number), b"x" * 1000, GLOBEX if number % 2 else ACME)
    size = await make().size()
    assert size.entries == 20
    assert 20_000 <= size.bytes < 200_000
    await store.clear(ACME)
    assert (await store.size()).entries == 10


async def test_many_may_ask_and_put_at_once(make: Make) -> None:
    store, other = make(), make()
    puts = [
        put(other if number % 2 else store, key_of(number), b"%d" % number) for number in range(200)
    ]
    await asyncio.gather(*puts)
    found = await asyncio.gather(*(store.get(key_of(number)) for number in range(200)))
    assert found == [b"%d" % number for number in range(200)]


async def test_a_call_that_is_given_up_harms_no_later_one(make: Make) -> None:
    store = make()
    await put(store, key_of(0), b"0")
    for turns in range(12):
        calls = [
            asyncio.create_task(put(store, key_of(1), b"1" * 5000)),
            asyncio.create_task(store.get(key_of(0))),
            asyncio.create_task(store.clear(GLOBEX)),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await store.get(key_of(0)) == b"0"
        assert await store.get(key_of(1)) in (None, b"1" * 5000)
    await put(store, key_of(1), b"one")
    assert await store.get(key_of(1)) == b"one"


async def test_a_closed_store_says_so_and_may_be_closed_again(make: Make) -> None:
    store, unused = make(), make()
    await put(store, key_of(1), b"one")
    for each in (store, unused, store):
        await each.close()
    calls = (store.get(key_of(1)), put(unused, key_of(1), b""), store.clear(None), store.size())
    for call in (*calls, anext(store.entries(None))):
        with pytest.raises(StoreFailure, match="closed"):
            await call
    assert await make().get(key_of(1)) == b"one"


async def test_a_store_is_chosen_by_its_url(tmp_path: Path, redis_url: str) -> None:
    assert open_store("memory://", cap_bytes=CAP_BYTES) is None
    path = tmp_path / "new" / "cache.db"
    for url, kind in ((f"sqlite:///{path}", SqliteStore), (redis_url, RedisStore)):
        store = open_store(url, cap_bytes=CAP_BYTES)
        assert isinstance(store, kind)
        assert not path.parent.exists()
        await store.close()
    store = open_store(f"sqlite:///{path}", cap_bytes=CAP_BYTES)
    assert store is not None
    await put(store, key_of(1), b"one")
    await store.close()
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob("*.db")} == {
        "cache.db": 0o600
    }


@pytest.mark.parametrize(
    "url", ["", "sqlite:///", "postgresql://u:pass@h/n", "memory", "redis://u:pass@h:port/0"]
)
def test_another_url_stops_the_start_without_telling_its_password(url: str) -> None:
    with pytest.raises(StartFailure, match="PHI3_CACHE_URL") as caught:
        open_store(url, cap_bytes=CAP_BYTES)
    assert "pass" not in str(caught.value)

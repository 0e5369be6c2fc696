"""What only the SQLite store does: a cap on its size, a corrupt file, several processes."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from phi3_bento.cache.sqlite_rows import BATCH_ROWS
from phi3_bento.cache.store import USED_GRAIN_S, SqliteStore, StoreFailure

SCOPE = "aa"
MEGABYTE = 2**20
START = 1_800_000_000.0

Make = Callable[..., SqliteStore]


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
async def make(path: Path, clock: Clock) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        def make(cap_bytes: int = 64 * MEGABYTE) -> SqliteStore:
            store = SqliteStore(path, cap_bytes, clock)
            stack.push_async_callback(store.close)
            return store

        yield make


def key_of(number: int) -> str:
    return f"{number:064x}"


async def put(store: SqliteStore, number: int, size: int = 1000, ttl_s: float = 86_400) -> None:
    await store.put(key_of(number), bytes(size), ttl_s=ttl_s, scope=SCOPE)


async def there(store: SqliteStore, numbers: range) -> list[int]:
    return [number for number in numbers if await store.get(key_of(number)) is not None]


def bytes_of(path: Path) -> int:
    """The file and its log."""
    return sum(file.stat().st_size for file in (path, path.with_name(path.name + "-wal")))


def size_of(path: Path) -> int:
    return path.stat().st_size


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def spoil(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.with_name(path.name + "-wal").write_bytes(b"nor is this a log")


def scramble(path: Path) -> None:
    """Spoil all but the first page: the schema, which is read when the file is opened."""
    size = size_of(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def rows_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


@pytest.mark.parametrize("large", [20_000, 50_000])
@pytest.mark.parametrize("cap_bytes", [MEGABYTE, 4 * MEGABYTE])
async def test_files_stay_under_the_cap_and_the_newest_stay_in_them(
    make: Make, path: Path, clock: Clock, cap_bytes: int, large: int
) -> None:
    store, count, largest = make(cap_bytes), 5000, 0
    for number in range(count):
        clock.now += 1
        await put(store, number, size=large if number % 20 == 0 else number * 7919 % 3000)
        largest = max(largest, bytes_of(path))
    assert cap_bytes / 2 < largest <= cap_bytes
    kept = await there(store, range(count))
    assert kept == list(range(kept[0], count))
    assert len(kept) * 2000 > cap_bytes / 4


async def test_an_entry_too_large_for_the_cap_is_not_kept_and_pushes_nothing_out(
    make: Make,
) -> None:
    store = make(MEGABYTE)
    await put(store, 1)
    await put(store, 2)
    await put(store, 2, size=100_000)
    assert await there(store, range(5)) == [1]


async def test_what_was_used_outlives_what_was_not(make: Make, clock: Clock) -> None:
    store = make(MEGABYTE)
    await put(store, 0)
    await put(store, 1)
    for number in range(2, 2000):
        clock.now += USED_GRAIN_S / 50
        await put(store, number)
        assert await store.get(key_of(0)) is not None
    assert await there(store, range(50)) == [0]


async def test_hits_do_not_write(make: Make, path: Path, clock: Clock) -> None:
    store = make()
    await put(store, 1)
    before = path.with_name("cache.db-wal").stat()
    for _ in range(50):
        clock.now += USED_GRAIN_S
        assert await store.get(key_of(1)) is not None
    after = path.with_name("cache.db-wal").stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


async def test_what_is_over_is_removed_in_small_batches(
    make: Make, path: Path, clock: Clock
) -> None:
    store = make()
    for number in range(100):
        await put(store, number, ttl_s=10)
    clock.now += 10
    assert await there(store, range(100)) == []
    assert rows_of(path) == 100
    await put(store, 1000)
    assert rows_of(path) == 101 - BATCH_ROWS
    for number in range(1001, 1004):
        await put(store, number)
    assert rows_of(path) == 4


async def test_a_file_above_a_lowered_cap_is_emptied_and_shrinks(
    make: Make, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = make()
    for number in range(1000):
        await put(store, number, size=4000)
    await store.close()
    smaller = make(MEGABYTE)
    await put(smaller, 1)
    await smaller.close()
    assert size_of(path) < MEGABYTE
    assert "larger than it may be" in caplog.text


@pytest.mark.parametrize(
    "content", [b"this is no database " * 1000, b"SQLite format 3\0" + b"x" * 9000]
)
async def test_a_file_that_is_no_database_is_moved_aside(
    make: Make, path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    spoil(path, content)
    store = make()
    assert await store.get(key_of(1)) is None
    await put(store, 1)
    assert await there(store, range(3)) == [1]
    assert content_of(path.with_name("cache.db.corrupt")) == content
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "corrupt" in caplog.text


async def test_a_file_that_is_found_corrupt_later_costs_one_failure_and_its_content(
    make: Make, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    for number in range(500):
        await put(first, number)
    await first.close()
    store, other = make(), make()
    assert await there(other, range(500, 501)) == []
    size = size_of(path)
    scramble(path)
    with pytest.raises(StoreFailure, match="malformed"):
        await store.get(key_of(1))
    assert await store.get(key_of(1)) is None
    await put(store, 1)
    # Who still has the old file open finds the new one.
    assert await there(other, range(3)) == [1]
    await put(other, 2)
    assert await there(store, range(3)) == [1, 2]
    assert size_of(path.with_name("cache.db.corrupt")) == size
    assert caplog.text.count("is corrupt") == 1


async def test_a_file_that_somebody_removed_is_begun_anew(make: Make, path: Path) -> None:
    store = make()
    await put(store, 1)
    for file in path.parent.glob("cache.db*"):
        file.unlink()
    assert await there(store, range(3)) == []
    await put(store, 2)
    assert await there(store, range(3)) == [2]


async def test_a_place_that_cannot_be_written_is_a_failure_until_it_can(
    tmp_path: Path, clock: Clock
) -> None:
    occupied = tmp_path / "occupied"
    occupied.touch()
    store = SqliteStore(occupied / "cache.db", MEGABYTE, clock)
    for _ in range(2):
        with pytest.raises(StoreFailure):
            await store.get(key_of(1))
        with pytest.raises(StoreFailure):
            await put(store, 1)
    occupied.unlink()
    await put(store, 1)
    assert await there(store, range(3)) == [1]
    await store.close()


async def test_while_somebody_else_writes_reading_goes_on(make: Make, path: Path) -> None:
    store = make()
    await put(store, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(put(store, 2))
        assert await there(store, range(3)) == [1]
        with pytest.raises(StoreFailure, match="locked"):
            await waiting
        other.execute("ROLLBACK")
    await put(store, 2)
    assert await there(store, range(3)) == [1, 2]


WRITER = """
import asyncio, sys
from pathlib import Path
from phi3_bento.cache.store import SqliteStore

async def write(path, first, last):
    store = SqliteStore(Path(path), 64 * 2**20)
    for number in range(first, last):
        await store.put(f"{number:064x}", bytes(1000), ttl_s=1e9, scope="aa")
        assert await store.get(f"{number:064x}") == bytes(1000)
    sys.stdout.write("written\\n")
    sys.stdout.flush()
    sys.stdin.read()
    assert await store.get(f"{last:064x}") == bytes(1000)
    await store.close()

asyncio.run(write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


async def test_two_processes_share_one_file(make: Make, path: Path) -> None:
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(path), "0", "300"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    store = make()
    for number in range(300, 600):
        await put(store, number)
    assert other.stdout is not None
    assert await other.stdout.readline() == b"written\n"
    assert await there(store, range(600)) == list(range(600))
    await other.communicate(b"")
    assert other.returncode == 0
    assert await store.clear(SCOPE) == 600

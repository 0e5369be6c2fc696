"""The files under the SQLite stores: kept under their size, and begun anew when corrupt."""

import fcntl
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from phi3_bento.cache.base import StoreFailure
from phi3_bento.cache.sqlite_rows import PAGE_BYTES, SCHEMA, Size

logger = logging.getLogger("bentoml.phi3")

READ_LOCK_WAIT_S = 0.2
WRITE_LOCK_WAIT_S = 2.0
_OPEN_LOCK_WAIT_S = 2.0
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Database(Protocol):
    """What the connections of every SQLite library have in common."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any, /
    ) -> object: ...
    def close(self) -> object: ...


D = TypeVar("D", bound=Database)
T = TypeVar("T")


class FileConnection(Generic[D]):
    """One connection to a file, for one thread; opens itself, again after a failure.

    A SQLite library is given by its error, `connect` and `code_of`.
    """

    library_error: ClassVar[type[Exception]]

    def __init__(self, path: Path, lock_wait_s: float) -> None:
        self._path = path
        self._lock_wait_s = lock_wait_s
        self._connection: D | None = None
        self._inode: int | None = None

    def connect(self) -> D:
        """A new connection to `_path`, where the tables are made if they are missing."""
        raise NotImplementedError

    def code_of(self, error: Exception) -> int:
        """SQLite's primary result code; 0 for an error that SQLite did not make."""
        raise NotImplementedError

    def run(self, work: Callable[[D], T]) -> T:
        """The result of `work`, all of which is done or nothing. Raises `StoreFailure`."""
        try:
            return self._run(work)
        except self.library_error as error:
            raise StoreFailure(f"SQLite: {error}") from error
        except OSError as error:
            self.close()
            raise StoreFailure(str(error)) from error

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, work: Callable[[D], T]) -> T:
        connection = self._current() or self._open()
        try:
            with connection:
                return work(connection)
        except self.library_error as error:
            self._give_up(error)
            raise

    def _current(self) -> D | None:
        """The connection, if the file that it was opened for is still in its place."""
        return self._connection if _inode_of(self._path) == self._inode else None

    def _give_up(self, error: Exception) -> None:
        """A lock passes; after anything else the file is opened anew, a corrupt one moved aside."""
        code = self.code_of(error)
        if code in _LOCKED:
            return
        self.close()
        if code in _CORRUPT:
            with _locked(self._path):
                # Another thread or process may have moved it by now, and begun a new one.
                if _inode_of(self._path) == self._inode:
                    _move_aside(self._path, error)

    def _open(self) -> D:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._path):
            try:
                connection = self._connect()
            except self.library_error as error:
                if self.code_of(error) not in _CORRUPT:
                    raise
                _move_aside(self._path, error)
                connection = self._connect()
            self._connection, self._inode = connection, _inode_of(self._path)
        return connection

    def _connect(self) -> D:
        # Answers are their owner's alone to read.
        self._path.touch(mode=0o600)
        return self.connect()


class Connection(FileConnection[sqlite3.Connection]):
    """The connection of the exact cache, by Python's own library."""

    library_error = sqlite3.Error

    def __init__(self, path: Path, size: Size, lock_wait_s: float) -> None:
        super().__init__(path, lock_wait_s)
        self._size = size

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._lock_wait_s, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in self._pragmas():
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(SCHEMA)
            _empty_if_too_large(connection, self._path, self._size)
            connection.execute(f"PRAGMA max_page_count = {self._size.pages}")
        except BaseException:
            connection.close()
            raise
        return connection

    def code_of(self, error: Exception) -> int:
        return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF

    def _pragmas(self) -> Sequence[str]:
        return (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            "secure_delete = FAST",  # ON, as some builds have it, writes every page that is freed
            f"wal_autocheckpoint = {self._size.wal_pages}",
            f"journal_size_limit = {self._size.wal_pages * PAGE_BYTES}",
        )


def _empty_if_too_large(connection: sqlite3.Connection, path: Path, size: Size) -> None:
    """A file does not shrink by itself when its cap was lowered."""
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    if pages > size.pages:
        logger.warning("The cache %s is larger than it may be now, and is emptied.", path)
        connection.execute("DELETE FROM entries")
        connection.execute("VACUUM")


def _move_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.name}.corrupt")
    logger.warning(
        "The cache %s is corrupt (%s). It is now %s, and a new one is begun.", path, error, aside
    )
    # The log first: left alone, it would be taken for the new file's.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(aside)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all threads and processes that open or move this file. Raises `OSError`."""
    lock = path.with_name(f"{path.name}.lock")
    deadline = monotonic() + _OPEN_LOCK_WAIT_S
    with closing(lock.open("w")) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > deadline:
                    raise
                sleep(0.01)
        yield


def _inode_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None

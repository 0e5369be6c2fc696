"""Rows that the database could not take, on disk until it can: files of JSON lines.

A row is on the disk when `append` returns. A line that a crash cut off was never acknowledged and
is passed over. A process locks the file that it writes, so that no other replays it meanwhile.
"""

import fcntl
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

logger = logging.getLogger("bentoml.phi3")

Row = dict[str, Any]


class Journal:
    """The journal in one directory. Methods block: call them in a thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stream: IO[str] | None = None

    def append(self, rows: list[Row]) -> None:
        """Write `rows` and force them to the disk. Raises `OSError`; may then have a part of them.

        What it has in part is written again by who tries again: a row's id makes it one.
        """
        stream = self._stream or self._open()
        try:
            stream.write("".join(f"{json.dumps(row)}\n" for row in rows))
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            # A line may be there in part: nothing may come after it.
            self.close_file()
            raise

    def close_file(self) -> None:
        """Go on in a new file, so that the present one may be replayed."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with suppress(OSError):
                stream.close()

    def take(self) -> "Taken | None":
        """The oldest file that nobody writes, with its rows; None when there is none."""
        for file in sorted(self._directory.glob("*.jsonl"), key=_age):
            with suppress(OSError):
                stream = file.open(encoding="utf-8")
                if _is_locked(stream):
                    return Taken(file, stream)
                stream.close()
        return None

    def _open(self) -> IO[str]:
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / f"{uuid4().hex}.jsonl"
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode=0o600)
        self._stream = os.fdopen(descriptor, "a", encoding="utf-8")
        _is_locked(self._stream)
        return self._stream


class Taken:
    """A file of the journal that is being replayed, by this process alone."""

    def __init__(self, file: Path, stream: IO[str]) -> None:
        self._file = file
        self._stream = stream

    def rows(self) -> list[Row]:
        """Its rows."""
        parsed = [(line, _parse(line)) for line in self._stream]
        for line, row in parsed:
            if row is None:
                logger.error("A line of %s is not a usage row: %.200r", self._file, line)
        return [row for _, row in parsed if row is not None]

    def remove(self) -> None:
        """All of it is in the database."""
        self._file.unlink(missing_ok=True)
        self._stream.close()

    def give_back(self) -> None:
        """It could not be brought to the database; it stays for the next time."""
        self._stream.close()


def _is_locked(stream: IO[str]) -> bool:
    """Lock the file, until it is closed; False where another process has it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "id" in row else None


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0

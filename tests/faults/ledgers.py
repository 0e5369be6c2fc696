"""What the ledger of a service holds, read from its SQLite file beside the running service."""

import asyncio
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from time import monotonic


def rows(data_dir: Path) -> list[tuple[str, str]]:
    """Request id and outcome of each row, in the order in which they came."""
    with closing(sqlite3.connect(data_dir / "phi3.db", timeout=10)) as connection:
        return list(connection.execute("SELECT request_id, outcome FROM usage ORDER BY rowid"))


async def outcomes_of(
    data_dir: Path, request_ids: Collection[str], limit_s: float = 20
) -> dict[str, str]:
    """Each request's outcome, when all have their row; fails where one has two."""
    deadline = monotonic() + limit_s
    while True:
        found = [row for row in rows(data_dir) if row[0] in set(request_ids)]
        assert len(found) == len(dict(found)), f"counted twice: {found}"
        if len(found) == len(set(request_ids)):
            return dict(found)
        assert monotonic() < deadline, f"{len(found)} rows of {len(set(request_ids))}: {found}"
        await asyncio.sleep(0.1)

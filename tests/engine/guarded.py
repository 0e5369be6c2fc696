"""A service whose callers have keys, and what its ledger says of them."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support import Service


@dataclass
class Guarded:
    """A service that works on one sequence at a time, and its keys."""

    service: Service
    keys: dict[str, str]

    def client(self, key: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        return httpx.Client(base_url=self.service.url, headers=headers, timeout=120)

    def async_client(self, key: str) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        return httpx.AsyncClient(base_url=self.service.url, headers=headers, timeout=120)

    def row(self, request_id: str) -> dict[str, Any]:
        """The one row of a request in the ledger."""
        with closing(sqlite3.connect(self.service.data_dir / "phi3.db")) as connection:
            connection.row_factory = sqlite3.Row
            query = "SELECT * FROM usage WHERE request_id = ?"
            (row,) = connection.execute(query, [request_id]).fetchall()
        return dict(row)

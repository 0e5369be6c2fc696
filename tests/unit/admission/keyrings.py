"""A keyring over a database, whose clock the tests set."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission.key_store import KeyStore
from phi3_bento.admission.keyring import Keyring
from phi3_bento.caller import Caller
from phi3_bento.phi3_error import Phi3Error

SECRET = b"the deployment's secret"
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HERE, ELSEWHERE = "127.0.0.1", "192.0.2.1"
TTL_S, STALE_S = 3.0, 300.0


class Clock:
    """Both clocks of the keyring, as the test sets them."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)


def make_ring(store: KeyStore, clock: Clock, api_key: str | None = None) -> Keyring:
    return Keyring(store, SECRET, api_key=api_key, clock=clock.monotonic, now=clock.now)


async def let_in(ring: Keyring, token: str | None, address: str | None = ELSEWHERE) -> Caller:
    return await ring.authenticate(None if token is None else f"Bearer {token}", address)


async def refused(ring: Keyring, token: str | None, address: str | None = ELSEWHERE) -> Phi3Error:
    with pytest.raises(Phi3Error) as caught:
        await let_in(ring, token, address)
    assert token is None or token not in caught.value.message
    return caught.value


def changed(token: str) -> str:
    """`token` with another last character."""
    return token[:-1] + ("A" if token[-1] != "A" else "B")


@asynccontextmanager
async def broken(engine: AsyncEngine) -> AsyncIterator[None]:
    """While this lasts, the database fails every question about keys."""
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE keys RENAME TO away"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE away RENAME TO keys"))


@contextmanager
def questions(engine: AsyncEngine) -> Iterator[list[str]]:
    """The statements that the database was sent."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine.sync_engine, "before_cursor_execute", note)

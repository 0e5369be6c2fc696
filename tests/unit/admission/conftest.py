"""A keyring over an own database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from phi3_bento.admission.key_store import KeyStore
from phi3_bento.admission.keyring import Keyring
from phi3_bento.database import open_database, upgrade
from tests.unit.admission.keyrings import SECRET, Clock, make_ring


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_database(f"sqlite:///{tmp_path / 'phi3.db'}")
    await upgrade(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def store(engine: AsyncEngine, clock: Clock) -> KeyStore:
    return KeyStore(engine, SECRET, clock=clock.now)


@pytest.fixture
def ring(store: KeyStore, clock: Clock) -> Keyring:
    return make_ring(store, clock)

"""What many tests begin with, and how hypothesis runs: always the same examples, no clock."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import settings
from prometheus_client import CollectorRegistry

from phi3_bento.database import open_database, upgrade
from phi3_bento.parts import Parts, build_parts
from phi3_bento.settings import Settings
from phi3_bento.usage.metrics import Metrics
from tests.unit.bench import Bench, MakeParts
from tests.unit.clients import Client

settings.register_profile("unit", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with all tables and no rows, to be copied."""
    path = tmp_path_factory.mktemp("database") / "phi3.db"

    async def create() -> None:
        engine = open_database(f"sqlite:///{path}")
        await upgrade(engine)
        await engine.dispose()

    asyncio.run(create())
    return path


@pytest.fixture
async def parts(tmp_path: Path, empty_database: Path) -> AsyncIterator[Callable[..., Parts]]:
    """Makes the parts of a service over an own database; the ledger writes."""
    made: list[Parts] = []

    def make(metrics: Metrics | None = None, **changed: object) -> Parts:
        shutil.copy(empty_database, tmp_path / "phi3.db")
        options = Settings(data_dir=tmp_path, engine="echo", **changed)
        made.append(build_parts(options, metrics or Metrics(CollectorRegistry())))
        made[-1].ledger.start()
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
async def bench(parts: MakeParts) -> Bench:
    return Bench(parts).opened()


@pytest.fixture
def client() -> Client:
    return Client()

"""Fixtures: one real engine for the whole session, one BentoML service over the echo engine."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from tests.browser import chromium
from tests.collector import Collector, otlp_collector
from tests.servers import pgvector_programs, postgresql_server, redis_server
from tests.support import EchoServer, Service, bentoml_command, echo_server, running, serve_command


def pytest_collection_finish() -> None:
    """Keep thousands of tests out of the collector's sight: it would stop clients for a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_inherited_settings() -> None:
    """A developer's own PHI3_* variables must not change what is tested."""
    for name in [name for name in os.environ if name.startswith(("PHI3_", "BENTOML_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Takes spans over OTLP, as a real collector does."""
    with otlp_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Service]:
    """`phi3-bento serve` with the demo model on the real vLLM engine, traced to `collector`."""
    settings = {"PHI3_OTLP_ENDPOINT": collector.url}
    with running(serve_command(), tmp_path_factory.mktemp("service"), settings) as service:
        yield service


@pytest.fixture(scope="session")
def echo_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`bentoml serve` over the echo engine: BentoML's whole frame, ready in seconds."""
    directory = tmp_path_factory.mktemp("echo-service")
    with running(bentoml_command(), directory, {"PHI3_ENGINE": "echo"}) as service:
        yield service


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[EchoServer]:
    """The API over a scriptable echo engine in this process."""
    with echo_server(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """A real Chromium; `fresh_page` gives a test a tab of its own."""
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database on a real PostgreSQL."""
    with postgresql_server(tmp_path_factory.mktemp("postgresql")) as url:
        yield url


@pytest.fixture(scope="session")
def pgvector_home() -> Iterator[Path]:
    """The folder of the programs of a PostgreSQL that has pgvector."""
    with pgvector_programs() as programs:
        yield programs


@pytest.fixture(scope="session")
def pgvector_url(tmp_path_factory: pytest.TempPathFactory, pgvector_home: Path) -> Iterator[str]:
    """The URL of an empty database on a real PostgreSQL that has pgvector."""
    with postgresql_server(tmp_path_factory.mktemp("pgvector"), pgvector_home) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url

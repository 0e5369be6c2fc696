"""A real Prometheus reads the running service: every query of the dashboard has data in it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.prometheus import Prometheus, dashboard_queries, prometheus
from tests.support import Service, bentoml_command, running, wait_for

pytestmark = pytest.mark.engine

KEY = "the-key-of-this-test-of-prometheus"
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def semantic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second service, with keys and with the semantic tier, over the echo engine."""
    settings = {
        "PHI3_ENGINE": "echo",
        "PHI3_API_KEY": KEY,
        "PHI3_SEMANTIC_CACHE": "true",
        "PHI3_ECHO_WORD_S": "0.001",
        "PHI3_LOG_REQUESTS": "false",
    }
    directory = tmp_path_factory.mktemp("semantic")
    with running(bentoml_command(), directory, settings) as service:
        yield service


@pytest.fixture(scope="module")
def server(
    service: Service, semantic: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("prometheus")
    with prometheus(directory, {service.url: None, semantic.url: KEY}) as server:
        yield server


def make_traffic(service: Service, semantic: Service) -> None:
    """A moment of everything: hits, misses, streams, decisions, refusals, wrong keys."""
    headers = {"authorization": f"Bearer {KEY}"}
    chat = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4, "temperature": 0}
    new = {"messages": [{"role": "user", "content": f"Hello {uuid4().hex}"}], "max_tokens": 4}
    item = {"text": uuid4().hex, "labels": ["yes", "no"]}

    def post(service: Service, path: str, body: object, **options: object) -> None:
        httpx.post(service.url + path, json=body, timeout=60, **options)  # type: ignore[arg-type]

    with ThreadPoolExecutor(4) as pool:
        for body in (chat, chat, new, {**new, "stream": True}, {**new, "temperature": 3}):
            pool.submit(post, service, PATH, body)
            pool.submit(post, semantic, PATH, body, headers=headers)
        pool.submit(post, service, "/classify", {"items": [item]})
        pool.submit(post, service, "/tokenize", {"prompt": "x"})
        pool.submit(post, semantic, PATH, chat, headers={"authorization": "Bearer wrong"})


def empty(server: Prometheus, queries: dict[str, str]) -> dict[str, str]:
    """Those of the queries that have no data, or none that is a number."""
    return {
        name: query
        for name, query in queries.items()
        if not any(sample["value"][1] != "NaN" for sample in server.query(query))
    }


@pytest.mark.timeout(180)
def test_every_query_of_the_dashboard_has_data(
    server: Prometheus, service: Service, semantic: Service
) -> None:
    queries = dashboard_queries()
    assert len(queries) > 40
    deadline = time.monotonic() + 90
    while (left := empty(server, queries)) and time.monotonic() < deadline:
        make_traffic(service, semantic)
        time.sleep(0.5)
    assert left == {}


def test_both_are_read_with_and_without_a_key(server: Prometheus) -> None:
    wait_for(
        lambda: [target["health"] for target in server.targets()] == ["up", "up"],
        "both targets are read",
    )
    assert len(server.query("phi3_engine_ready == 1")) == 2


def test_rules_work_on_what_is_read_and_no_alert_fires(
    server: Prometheus, service: Service, semantic: Service
) -> None:
    make_traffic(service, semantic)
    wait_for(
        lambda: all(rule["health"] == "ok" for rule in server.rules()), "all rules are evaluated"
    )
    rules = server.rules()
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    wait_for(lambda: all(server.query(name) for name in recorded), "the recorded series")
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    assert firing == []

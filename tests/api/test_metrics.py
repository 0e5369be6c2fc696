"""What /metrics says over HTTP: each family once, up to date, no series of a client's making."""

import asyncio
import re
from collections import Counter
from itertools import islice

import aiohttp
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import EchoServer, Service

CHAT = {"messages": [{"role": "user", "content": "one two three"}]}
ODD_REQUESTS = 10_000
FIRST_ODD_REQUESTS = 300
MOST_NEW_SERIES = 60
"""A histogram or two, where something happened among ten thousand that had not among hundreds."""


def series(service: Service) -> set[str]:
    """Every series at /metrics, without its value."""
    return {
        line.rpartition(" ")[0]
        for line in service.get("/metrics").text.splitlines()
        if not line.startswith("#")
    }


def odd_requests(numbers: range) -> list[tuple[str, str, dict[str, str], dict[str, object] | None]]:
    """Method, path, headers and body, each with something that no other has."""
    kinds = [
        lambda odd: ("GET", f"/{odd}", {}, None),
        lambda odd: ("POST", f"/v1/{odd}/x", {}, {}),
        lambda odd: ("GET", f"/v1/models/{odd}", {}, None),
        lambda odd: ("GET", f"/static_content/{odd}", {}, None),
        lambda odd: ("POST", f"/classify/{odd}", {}, {}),
        lambda odd: ("POST", "/v1/chat/completions", {}, {**CHAT, "model": odd}),
        lambda odd: ("POST", "/tokenize", {"x-request-id": odd}, {"prompt": odd}),
        lambda odd: ("POST", "/v1/chat/completions", {"traceparent": odd}, {**CHAT, "stop": [odd]}),
        lambda odd: ("GET", "/v1/models", {"authorization": f"Bearer {odd}"}, None),
        lambda odd: ("DELETE", f"/admin/{odd}", {}, None),
    ]
    return [kinds[number % len(kinds)](f"odd-{number}") for number in numbers]  # type: ignore[no-untyped-call]


async def send_all(url: str, numbers: range) -> Counter[int]:
    """Send the odd requests over 16 connections; how often each status came."""
    statuses: Counter[int] = Counter()
    requests = iter(odd_requests(numbers))

    async def send_some(session: aiohttp.ClientSession) -> None:
        while portion := list(islice(requests, 20)):
            for method, path, headers, body in portion:
                async with session.request(method, url + path, headers=headers, json=body) as got:
                    statuses[got.status] += 1
                    await got.read()

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(send_some(session) for _ in range(16)))
    return statuses


@pytest.mark.timeout(240)
async def test_ten_thousand_odd_paths_keys_and_ids_make_no_series(echo_service: Service) -> None:
    """In BentoML's frame, whose own metrics have the raw path for a label."""
    await send_all(echo_service.url, range(FIRST_ODD_REQUESTS))
    before = await asyncio.to_thread(series, echo_service)
    statuses = await send_all(
        echo_service.url, range(FIRST_ODD_REQUESTS, FIRST_ODD_REQUESTS + ODD_REQUESTS)
    )
    after = await asyncio.to_thread(series, echo_service)
    assert sum(statuses.values()) == ODD_REQUESTS
    assert statuses[404] >= ODD_REQUESTS / 2, statuses
    assert not [line for line in after if "odd-" in line]
    assert len(after - before) <= MOST_NEW_SERIES


def test_every_family_stands_there_once(echo_service: Service) -> None:
    text = echo_service.get("/metrics").text
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert [name for name, count in Counter(names).items() if count > 1] == []
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {"phi3_requests", "http_requests", "phi3_memory_bytes", "phi3_build_info"} <= families


def test_what_was_answered_is_counted_when_metrics_are_read(echo_service: Service) -> None:
    def answered() -> float:
        found = text_string_to_metric_families(echo_service.get("/metrics").text)
        samples = [sample for family in found for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == "phi3_requests_total")

    before = answered()
    for number in range(5):
        body = {"messages": [{"role": "user", "content": f"count {number}"}]}
        httpx.post(f"{echo_service.url}/v1/chat/completions", json=body).raise_for_status()
        assert answered() == before + number + 1


def test_the_memory_of_the_whole_tree_is_set_against_its_budget(echo_service: Service) -> None:
    found = text_string_to_metric_families(echo_service.get("/metrics").text)
    samples = [sample for family in found for sample in family.samples]
    sizes = {s.labels["process"]: s.value for s in samples if s.name == "phi3_memory_bytes"}
    (budget,) = (s.value for s in samples if s.name == "phi3_memory_budget_bytes")
    assert set(sizes) == {"engine", "worker", "frame", "other", "shared"}
    assert sizes["worker"] > 30e6
    assert sizes["frame"] > 10e6
    assert sum(sizes.values()) < budget <= 8 * 2**30


def test_waiting_requests_are_seen(echo: EchoServer) -> None:
    assert echo.metric("phi3_requests_waiting") == 0
    assert echo.metric("phi3_requests_waiting_limit") == 64
    assert echo.metric("phi3_engine_ready") == 1
    assert echo.metric("phi3_ledger_journal_in_use") == 0

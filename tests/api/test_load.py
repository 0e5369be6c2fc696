"""Load reports: the engine's work, and never a hit of the cache."""

import threading

import httpx

from tests.support import EchoServer, wait_for

CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "one two three"}], "temperature": 0}


def test_load_is_open_and_zero_when_nothing_runs(echo: EchoServer) -> None:
    assert httpx.get(f"{echo.url}/load").json() == {
        "server_load": 0,
        "waiting": 0,
        "in_flight": 0,
    }
    assert httpx.get(f"{echo.url}/get_load").json() == {"load": 0}


def test_a_generation_is_load_and_a_hit_is_none(echo: EchoServer) -> None:
    assert httpx.post(echo.url + CHAT, json=BODY).headers["cache-status"].startswith("phi3; fwd")
    echo.engine.word_s = 0.5
    slow = threading.Thread(
        target=httpx.post, args=(echo.url + CHAT,), kwargs={"json": {**BODY, "temperature": 1}}
    )
    slow.start()
    wait_for(lambda: httpx.get(f"{echo.url}/get_load").json() == {"load": 1}, "the engine works")
    headers = {"endpoint-load-metrics-format": "TEXT"}
    hit = httpx.post(echo.url + CHAT, json=BODY, headers=headers)
    assert hit.headers["cache-status"].startswith("phi3; hit")
    load = dict(
        pair.split("=")
        for pair in hit.headers["endpoint-load-metrics"].split(" ", 1)[1].split(", ")
    )
    assert sum(float(value) for value in load.values()) == 1
    slow.join()


def test_the_header_comes_only_when_it_is_asked_for(echo: EchoServer) -> None:
    assert "endpoint-load-metrics" not in httpx.post(echo.url + CHAT, json=BODY).headers
    headers = {"endpoint-load-metrics-format": "JSON"}
    with httpx.stream(
        "POST", echo.url + CHAT, json={**BODY, "stream": True}, headers=headers
    ) as response:
        assert response.headers["endpoint-load-metrics"].startswith('JSON {"named_metrics"')

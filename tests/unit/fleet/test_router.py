"""How vllm-router is started."""

from pathlib import Path

import pytest

from phi3_bento.fleet.layout import Machine, Wish, lay_out
from phi3_bento.fleet.router import router_command, router_environment

LAYOUT = lay_out(
    Machine((0, 1), 2**35), port=11403, directory=Path(), wish=Wish(2, 2, 2**33, False)
)


def command(*origins: str) -> list[str]:
    urls = [place.url for place in LAYOUT.places]
    return router_command(LAYOUT, "cache_aware", urls, origins=origins, max_body=1000)


def test_pages_of_elsewhere_may_not_ask_unless_they_are_named() -> None:
    """Without any origin vllm-router lets in all."""
    after = command()[command().index("--cors-allowed-origins") + 1]
    assert after == LAYOUT.url
    assert "https://chat.example" in command("https://chat.example")


def test_the_replicas_503_closes_no_circuit() -> None:
    assert "--disable-circuit-breaker" in command()


def test_the_router_reaches_nobody_but_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    environment = router_environment()
    assert environment["http_proxy"] == environment["https_proxy"] == "http://127.0.0.1:9"
    assert environment["NO_PROXY"] == "127.0.0.1"

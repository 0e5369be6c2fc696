"""Hostile bodies through to the real engine: it refuses them or answers, and goes on."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings

from tests.fuzzing import FACTOR, FUZZING, Fuzzer, fuzzer
from tests.hostile import CHAT, COMPLETION, PATHS, Attack, Raw, attacks
from tests.support import Service

pytestmark = pytest.mark.engine

BODIES = dict.fromkeys(PATHS, 50) | {CHAT: 250, COMPLETION: 150}
MAX_TOKENS = 8


@pytest.fixture(scope="module")
def engine_fuzzer(service: Service) -> Iterator[Fuzzer]:
    with fuzzer(service) as attacker:
        yield attacker


def brief(body: Any) -> Any:
    """`body`, with at most `MAX_TOKENS` to generate where it could mean more."""
    if not isinstance(body, dict):
        return body
    body = {name: value for name, value in body.items() if name != Raw('"max_tokens"')}
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(body.get(name), int):
            body[name] = min(body[name], MAX_TOKENS)
    if body.get("max_tokens") is None:
        body["max_tokens"] = MAX_TOKENS
    return body


@pytest.mark.parametrize("path", BODIES)
def test_no_body_makes_the_engine_fail(engine_fuzzer: Fuzzer, path: str) -> None:
    @settings(FUZZING, max_examples=BODIES[path] * FACTOR)
    @given(attack=attacks(path, brief))
    def fuzz(attack: Attack) -> None:
        engine_fuzzer.send(attack)

    fuzz()


def test_the_engine_answers_as_before(engine_fuzzer: Fuzzer) -> None:
    """Runs last: it judges what the tests above have done."""
    assert engine_fuzzer.tried >= sum(BODIES.values())
    assert engine_fuzzer.statuses[200] > 60, "what is refused at once tests little"
    assert engine_fuzzer.streams > 10
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    answer = httpx.post(engine_fuzzer.service.url + CHAT, json=body, timeout=60)
    assert answer.json()["choices"][0]["message"]["content"]
    assert engine_fuzzer.tracebacks() == 0

"""Probabilities that one client asks for are right beside what others ask for in the same steps."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import httpx
import pytest

from tests.support import Service

pytestmark = pytest.mark.engine

NEW_TOKENS = 300
CHAT = {
    "messages": [{"role": "user", "content": "Which port does this service use?"}],
    "temperature": 0,
    "max_tokens": NEW_TOKENS,
    "ignore_eos": True,
}
IMPOSSIBLE = -9999.0
"""What vLLM writes for a token of no probability."""

ANEW = {"cache-control": "no-store"}
ITEM = {"text": "My parcel never came.", "labels": ["billing", "shipping", "praise"]}


def tops(service: Service) -> list[list[str]]:
    """The five most probable tokens at each position of one and the same answer."""
    body = CHAT | {"logprobs": True, "top_logprobs": 5}
    answer = httpx.post(
        f"{service.url}/v1/chat/completions", json=body, headers=ANEW, timeout=120
    ).json()
    positions = answer["choices"][0]["logprobs"]["content"]
    entries = [position["top_logprobs"] for position in positions]
    assert all(len(each) == 5 and each[-1]["logprob"] > IMPOSSIBLE for each in entries)
    return [[entry["token"] for entry in each] for each in entries]


def decide(service: Service) -> dict[str, float]:
    response = httpx.post(
        f"{service.url}/classify", json={"items": [ITEM]}, headers=ANEW, timeout=60
    )
    probabilities: dict[str, float] = response.json()[0]["probabilities"]
    return probabilities


@contextmanager
def decisions_beside(service: Service) -> Iterator[list[dict[str, float]]]:
    """Meanwhile one decision follows the other; what was decided."""
    decided: list[dict[str, float]] = []
    is_over = Event()

    def decide_on() -> None:
        while not is_over.is_set():
            decided.append(decide(service))

    with ThreadPoolExecutor(1) as pool:
        deciding = pool.submit(decide_on)
        try:
            yield decided
        finally:
            is_over.set()
            deciding.result(timeout=60)


def test_decisions_leave_the_most_probable_tokens_of_a_chat_beside_them(service: Service) -> None:
    alone, decision = tops(service), decide(service)
    assert len(alone) == NEW_TOKENS
    with decisions_beside(service) as decided:
        beside = tops(service)
    assert len(decided) > 3, "there were steps with both"
    # In a batch of another size two tokens that are about as probable may change places.
    same = sum(set(one) == set(other) for one, other in zip(alone, beside, strict=True))
    assert same >= 0.95 * NEW_TOKENS
    assert all(each == pytest.approx(decision, abs=0.02) for each in decided)

"""Probabilities that one client asks for are right beside what others ask for in the same steps."""

import math
from concurrent.futures import ThreadPoolExecutor
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

LEAST_DECISIONS = 3
MOST_ANSWERS = 20

ANEW = {"cache-control": "no-store"}
ITEM = {"text": "My parcel never came.", "labels": ["billing", "shipping", "praise"]}


def check_probabilities(service: Service) -> None:
    """Ask for an answer with the five most probable tokens of each position, and look at them."""
    body = CHAT | {"logprobs": True, "top_logprobs": 5}
    answer = httpx.post(
        f"{service.url}/v1/chat/completions", json=body, headers=ANEW, timeout=120
    ).json()
    positions = answer["choices"][0]["logprobs"]["content"]
    assert len(positions) == NEW_TOKENS
    for position in positions:
        logprobs = [entry["logprob"] for entry in position["top_logprobs"]]
        assert len(logprobs) == 5
        assert min(logprobs) > IMPOSSIBLE
        assert position["logprob"] == max(logprobs), "greedy"
        assert sum(map(math.exp, logprobs)) <= 1.0001


def decide(service: Service) -> dict[str, float]:
    response = httpx.post(
        f"{service.url}/classify", json={"items": [ITEM]}, headers=ANEW, timeout=60
    )
    probabilities: dict[str, float] = response.json()[0]["probabilities"]
    return probabilities


def test_no_compiler_is_needed(service: Service) -> None:
    """vLLM would have one build the function that counts ranks, and an image has none."""
    decide(service)
    assert not list((service.data_dir / "torchinductor").rglob("*.so"))


def check_probabilities_beside_decisions(service: Service) -> None:
    """Until several decisions were made beside such answers, one after the other: both are right.

    How many one answer takes in depends on the machine.
    """
    alone = decide(service)
    decided: list[dict[str, float]] = []
    is_over = Event()

    def decide_on() -> None:
        while not is_over.is_set():
            decided.append(decide(service))

    with ThreadPoolExecutor(1) as pool:
        deciding = pool.submit(decide_on)
        try:
            for _ in range(MOST_ANSWERS):
                check_probabilities(service)
                if len(decided) > LEAST_DECISIONS:
                    break
        finally:
            is_over.set()
            deciding.result(timeout=60)
    assert len(decided) > LEAST_DECISIONS, "there were steps with both"
    # In a batch of another size the last bits differ.
    assert all(each == pytest.approx(alone, abs=0.05) for each in decided)


def test_decisions_leave_the_most_probable_tokens_of_a_chat_beside_them(service: Service) -> None:
    check_probabilities(service)
    check_probabilities_beside_decisions(service)

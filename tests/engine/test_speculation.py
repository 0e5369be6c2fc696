"""With tokens guessed ahead: the same answers in fewer steps, and decisions beside them."""

from collections.abc import Iterator

import httpx
import pytest

from tests.engine.test_equality import served_tokens
from tests.engine.test_logprobs import ANEW, CHAT, decide, decisions_beside, tops
from tests.support import Service, running, serve_command

pytestmark = pytest.mark.engine

WORDS = " ".join(f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat"))


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"PHI3_SPECULATIVE_TOKENS": "7"}
    with running(serve_command(), tmp_path_factory.mktemp("guessing"), settings) as service:
        yield service


def accepted(service: Service) -> float:
    """Guessed tokens that the model would have chosen too, so far."""
    name = "vllm:spec_decode_num_accepted_tokens_total"
    lines = service.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_greedy_answers_are_the_same_token_for_token(guessing: Service, service: Service) -> None:
    assert served_tokens(guessing) == served_tokens(service)


def test_an_answer_that_repeats_itself_is_guessed(guessing: Service) -> None:
    before = accepted(guessing)
    forced = {"structured_outputs": {"choice": [f"{WORDS} {WORDS} {WORDS}"]}, "temperature": 0}
    body = {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 100, **forced}
    answer = httpx.post(f"{guessing.url}/v1/chat/completions", json=body, timeout=60).json()
    assert answer["choices"][0]["message"]["content"] == f"{WORDS} {WORDS} {WORDS}"
    assert accepted(guessing) - before > answer["usage"]["completion_tokens"] / 3


def test_decisions_and_probabilities_are_right_beside_guesses(guessing: Service) -> None:
    alone, decision = tops(guessing), decide(guessing)
    with decisions_beside(guessing) as decided:
        beside = tops(guessing)
    assert len(decided) > 3, "there were steps with both"
    same = sum(set(one) == set(other) for one, other in zip(alone, beside, strict=True))
    assert same >= 0.95 * len(alone)
    assert all(each == pytest.approx(decision, abs=0.02) for each in decided)


def test_named_tokens_can_be_asked_for_along_an_answer(guessing: Service, service: Service) -> None:
    body = CHAT | {"logprobs": True, "logprob_token_ids": [5, 9], "max_tokens": 60}
    read = []
    for each in (guessing, service):
        url = f"{each.url}/v1/chat/completions"
        answer = httpx.post(url, json=body, headers=ANEW, timeout=60).json()
        positions = answer["choices"][0]["logprobs"]["content"]
        read.append([[entry["logprob"] for entry in p["top_logprobs"]] for p in positions])
    assert len(read[0]) == 60
    assert all(
        one == pytest.approx(other, abs=0.5) for one, other in zip(read[0], read[1], strict=True)
    )


def test_what_cannot_be_guessed_is_refused_with_its_reason(guessing: Service) -> None:
    body = CHAT | {"logit_bias": {"5": 1}}
    response = httpx.post(f"{guessing.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 400
    assert "logit_bias" in response.json()["error"]["message"]

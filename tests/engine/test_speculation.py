"""With tokens guessed ahead: fewer steps, and what is asked beside them is right.

That answers are right has its test with answers that are known, in `test_chain`.
"""

from collections.abc import Iterator

import httpx
import pytest
from vllm.v1.metrics.stats import SchedulerIterationDetails, SchedulerStats
from vllm.v1.spec_decode.metrics import SpecDecodingStats

from phi3_bento.engine.progress import Progress
from phi3_bento.engine.state import Step
from phi3_bento.engine.vllm_watch import StepClock
from tests.engine.test_logprobs import ANEW, CHAT, check_probabilities_beside_decisions
from tests.support import Service, running, serve_command

pytestmark = pytest.mark.engine

PLACES = 40


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"PHI3_SPECULATIVE_TOKENS": "7"}
    with running(serve_command(), tmp_path_factory.mktemp("guessing"), settings) as service:
        yield service


def guesses(service: Service, which: str) -> float:
    """Tokens that were guessed so far, `draft`, or `accepted`: the model chose them too."""
    return service.metric(f"vllm:spec_decode_num_{which}_tokens_total")


def test_decisions_and_probabilities_are_right_beside_guesses(guessing: Service) -> None:
    before = guesses(guessing, "draft")
    check_probabilities_beside_decisions(guessing)
    assert guesses(guessing, "draft") > before


def test_named_tokens_can_be_asked_for_along_an_answer(guessing: Service, service: Service) -> None:
    """Up to where the two answers part, if they do: in a batch of another size last bits differ."""
    named = {"logprobs": True, "logprob_token_ids": [5, 9]}
    body = CHAT | named | {"max_tokens": PLACES, "return_token_ids": True}
    answers, before = [], guesses(guessing, "draft")
    for each in (guessing, service):
        url = f"{each.url}/v1/chat/completions"
        answers.append(httpx.post(url, json=body, headers=ANEW, timeout=60).json()["choices"][0])
    assert guesses(guessing, "draft") > before
    same = 0
    for one, other in zip(*(answer["logprobs"]["content"] for answer in answers), strict=True):
        if one["token"] != other["token"]:
            break
        same += 1
        read = [[entry["logprob"] for entry in each["top_logprobs"]] for each in (one, other)]
        assert read[0] == pytest.approx(read[1], abs=0.5)
    assert same > PLACES / 4


def test_what_cannot_be_guessed_is_refused_with_its_reason(guessing: Service) -> None:
    body = CHAT | {"logit_bias": {"5": 1}}
    response = httpx.post(f"{guessing.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 400
    assert "logit_bias" in response.json()["error"]["message"]


def test_a_guess_that_is_refused_is_no_work_done() -> None:
    """Of two sequences one had seven guesses, and kept three of them beside its own token."""
    guesses = SpecDecodingStats.new(7)
    guesses.observe_draft(7, 3)
    details = SchedulerIterationDetails(1, 0, 0, 2, 1 + 8, 120.0)
    steps: list[Step] = []
    clock = StepClock(Progress(), steps.append)
    clock.record(SchedulerStats(iteration_details=details, spec_decoding_stats=guesses))
    clock.record(SchedulerStats(iteration_details=details))
    assert steps == [Step(0, 1 + 4, 0.12), Step(0, 1 + 8, 0.12)]

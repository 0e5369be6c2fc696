"""A decision is one question to the model, and its tokens' probabilities are the labels'."""

import json
import math
from collections.abc import AsyncGenerator
from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.core import Job
from phi3_bento.engine.decision import (
    DEFAULT_INSTRUCTION,
    MAX_LABELS,
    DecisionReader,
    DecisionRequest,
    check_labels,
    decision_prompt,
    lettered_prompt,
)
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.errors import InvalidRequest, StartFailure

MANY = [str(number) for number in range(MAX_LABELS + 1)]
PROMPTS = [decision_prompt, lettered_prompt]


def answer(scores: dict[int, float]) -> dict[str, object]:
    """vLLM's answer that gives tokens these log probabilities."""
    top = [
        {"token": f"token_id:{token}", "logprob": score, "bytes": None}
        for token, score in scores.items()
    ]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}


@pytest.mark.parametrize(("prompt", "mark"), [*zip(PROMPTS, ["- good", "A. good"], strict=True)])
def test_the_prompt_lists_the_labels_before_the_text(prompt, mark) -> None:  # type: ignore[no-untyped-def]
    lines = prompt("It rains.", ["good", "bad"], "Judge the weather.").splitlines()
    assert lines[0] == "Judge the weather."
    assert lines.index("Labels:") < lines.index(mark) < lines.index("Text: It rains.")
    assert lines[-1].startswith("Answer with")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_decisions_about_different_texts_share_all_that_stands_before_the_text(prompt) -> None:  # type: ignore[no-untyped-def]
    first, second = (prompt(text, ["good", "bad"]) for text in ("one", "two"))
    before = first.partition("one")[0]
    assert second.startswith(before)
    assert "bad" in before


@pytest.mark.parametrize("instruction", [None, ""])
def test_without_an_instruction_the_best_fit_is_asked_for(instruction: str | None) -> None:
    assert decision_prompt("x", ["a", "b"], instruction).startswith(DEFAULT_INSTRUCTION)


@pytest.mark.parametrize(
    ("text", "labels", "param"),
    [
        ("", ["a", "b"], "text"),
        (" \n", ["a", "b"], "text"),
        ("x", [], "labels"),
        ("x", ["a"], "labels"),
        ("x", MANY, "labels"),
        ("x", ["a", " "], "labels"),
        ("x", ["a", "b", "a"], "labels"),
    ],
)
def test_a_decision_that_has_no_answer_is_refused(text: str, labels: list[str], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_labels(text, labels)
    assert caught.value.param == param


@pytest.mark.parametrize("labels", [["a", "b"], MANY[:-1]])
def test_2_to_26_different_labels_are_a_decision(labels: list[str]) -> None:
    check_labels("x", labels)


async def test_labels_are_read_by_their_first_tokens() -> None:
    reader = await DecisionReader.for_engine(EchoEngine())
    decision = await reader.decision("x", ["yes", "no"])
    assert decision.tokens == {"yes": ord("y"), "no": ord("n")}
    assert decision.body["logprob_token_ids"] == [ord("y"), ord("n")]
    assert decision.body["messages"][0]["content"] == decision_prompt("x", ["yes", "no"])
    assert (decision.body["max_tokens"], decision.body["temperature"]) == (1, 0)


async def test_labels_that_begin_alike_are_told_apart_by_letters() -> None:
    reader = await DecisionReader.for_engine(EchoEngine())
    labels = ["very good", "very bad", "fine"]
    decision = await reader.decision("x", labels, "Judge.")
    assert decision.tokens == {"very good": ord("A"), "very bad": ord("B"), "fine": ord("C")}
    assert decision.body["messages"][0]["content"] == lettered_prompt("x", labels, "Judge.")


async def test_a_decision_without_an_answer_never_reaches_the_engine() -> None:
    reader = await DecisionReader.for_engine(EchoEngine())
    with pytest.raises(InvalidRequest):
        await reader.decision("x", ["only"])


@given(scores=st.lists(st.floats(-1e4, 0), min_size=2, max_size=MAX_LABELS))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_scores(scores: list[float]) -> None:
    tokens = {f"label {number}": 1000 - number for number in range(len(scores))}
    given_answer = answer(dict(zip(tokens.values(), scores, strict=True)))
    probabilities = DecisionRequest({}, tokens).probabilities(given_answer)
    assert list(probabilities) == list(tokens)
    assert sum(probabilities.values()) == pytest.approx(1)
    values = list(probabilities.values())
    ordered = [values[index] for index in sorted(range(len(scores)), key=scores.__getitem__)]
    assert ordered == sorted(ordered)
    assert max(values) == values[scores.index(max(scores))]


def test_probabilities_are_shares_of_what_the_labels_have_together() -> None:
    scores = {5: math.log(0.3), 6: math.log(0.1), 7: math.log(0.6)}
    probabilities = DecisionRequest({}, {"yes": 5, "no": 6}).probabilities(answer(scores))
    assert probabilities == pytest.approx({"yes": 0.75, "no": 0.25})


class ByteEngine(EchoEngine):
    """An engine whose tokenizer begins every reply with the same token."""

    async def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        text = job.payload["messages"][-1]["content"]
        yield json.dumps({"tokens": [1, 2] * len(text)}).encode()


async def test_a_tokenizer_without_tokens_for_letters_stops_the_start() -> None:
    assert len(ascii_uppercase) == MAX_LABELS
    with pytest.raises(StartFailure, match=r"classify.*Phi-3's tokenizer"):
        await DecisionReader.for_engine(ByteEngine())

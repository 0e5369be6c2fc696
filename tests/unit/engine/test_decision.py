"""A decision is one question to the model, and its letters' probabilities are the labels'."""

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
    check_labels,
    decision_prompt,
    label_letters,
    read_letter_tokens,
)
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.errors import InvalidRequest, StartFailure

TOKENS = [319, 350, 315, 360, *range(1000, 1022)]
MANY = [str(number) for number in range(MAX_LABELS + 1)]


def answer(scores: dict[int, float]) -> dict[str, object]:
    """vLLM's answer that gives tokens these log probabilities."""
    top = [
        {"token": f"token_id:{token}", "logprob": score, "bytes": None}
        for token, score in scores.items()
    ]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": top}]}}]}


def test_the_prompt_lists_the_labels_with_letters_before_the_text() -> None:
    prompt = decision_prompt("It rains.", ["good", "bad"], "Judge the weather.")
    lines = prompt.splitlines()
    assert lines[0] == "Judge the weather."
    assert lines.index("A. good") < lines.index("B. bad") < lines.index("Text: It rains.")


def test_decisions_about_different_texts_share_all_that_stands_before_the_text() -> None:
    first, second = (decision_prompt(text, ["good", "bad"]) for text in ("one", "two"))
    before = first.partition("one")[0]
    assert second.startswith(before)
    assert "B. bad" in before


@pytest.mark.parametrize("instruction", [None, ""])
def test_without_an_instruction_the_best_fit_is_asked_for(instruction: str | None) -> None:
    assert decision_prompt("x", ["a", "b"], instruction).startswith(DEFAULT_INSTRUCTION)


def test_there_are_letters_for_26_labels() -> None:
    assert label_letters(MANY[:-1]) == ascii_uppercase
    with pytest.raises(ValueError, match="at most 26"):
        label_letters(MANY)


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
    body = DecisionReader(TOKENS).request("x", labels, None)
    assert body["logprob_token_ids"] == TOKENS[: len(labels)]
    assert (body["max_tokens"], body["temperature"], body["logprobs"]) == (1, 0, True)


@given(scores=st.lists(st.floats(-1e4, 0), min_size=2, max_size=MAX_LABELS))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_scores(scores: list[float]) -> None:
    labels = [f"label {number}" for number in range(len(scores))]
    given_answer = answer(dict(zip(reversed(TOKENS[: len(scores)]), reversed(scores), strict=True)))
    probabilities = DecisionReader(TOKENS).probabilities(given_answer, labels)
    assert list(probabilities) == labels
    assert sum(probabilities.values()) == pytest.approx(1)
    ordered = sorted(range(len(scores)), key=scores.__getitem__)
    values = [probabilities[labels[index]] for index in ordered]
    assert values == sorted(values)
    assert max(values) == probabilities[labels[scores.index(max(scores))]]


def test_probabilities_are_shares_of_what_the_letters_have_together() -> None:
    scores = {TOKENS[0]: math.log(0.3), TOKENS[1]: math.log(0.1), 7: math.log(0.6)}
    probabilities = DecisionReader(TOKENS).probabilities(answer(scores), ["yes", "no"])
    assert probabilities == pytest.approx({"yes": 0.75, "no": 0.25})


async def test_letters_are_read_with_the_engine_s_own_tokenizer() -> None:
    assert await read_letter_tokens(EchoEngine()) == [ord(letter) for letter in ascii_uppercase]


class ByteEngine(EchoEngine):
    """An engine whose tokenizer needs two tokens for a letter."""

    async def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        text = job.payload["messages"][-1]["content"]
        yield json.dumps({"tokens": [1, 2] * len(text)}).encode()


async def test_a_tokenizer_without_tokens_for_letters_stops_the_start() -> None:
    with pytest.raises(StartFailure, match=r"'A'.*classify.*Phi-3's tokenizer"):
        await read_letter_tokens(ByteEngine())

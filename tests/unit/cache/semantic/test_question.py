"""What two requests must share before their last messages are compared at all."""

from typing import Any

import pytest

from phi3_bento.cache.policy import scope_of
from phi3_bento.cache.semantic.question import Question, question_of
from phi3_bento.core import Operation
from phi3_bento.engine.state import ModelCard

CARD = ModelCard("phi3-demo", 4096, 0, "r1")
SCOPE = scope_of(b"secret", "acme")
BODY: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "temperature": 0,
    "max_tokens": 20,
}


def ask(body: dict[str, Any], card: ModelCard = CARD, scope: str = SCOPE) -> Question:
    question = question_of(Operation.CHAT, body, card, scope)
    assert question is not None
    return question


def last(content: object, **more: object) -> dict[str, Any]:
    return BODY | {"messages": [BODY["messages"][0], {"role": "user", "content": content, **more}]}


def test_questions_that_differ_in_their_last_message_alone_are_compared() -> None:
    other = ask(last("Which city is France's capital?"))
    assert other.text == "Which city is France's capital?"
    assert other.partition == ask(BODY).partition


def test_how_the_answer_is_sent_does_not_matter() -> None:
    assert ask(BODY | {"stream": True, "user": "anna"}).partition == ask(BODY).partition


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"max_tokens": 21},
        {"seed": 1},
        {"stop": ["."]},
        {"response_format": {"type": "json_object"}},
        {"something_new": 1},
        {"messages": [{"role": "user", "content": "What is the capital of France?"}]},
        {"messages": [{"role": "system", "content": "Be rude."}, BODY["messages"][1]]},
        {"messages": [*BODY["messages"], BODY["messages"][1]]},
    ],
)
def test_all_else_that_differs_keeps_them_apart(change: dict[str, Any]) -> None:
    assert ask(BODY | change).partition != ask(BODY).partition


def test_the_last_message_s_other_fields_keep_them_apart() -> None:
    assert ask(last("x", name="anna")).partition != ask(last("x")).partition


def test_tenant_model_and_revision_keep_them_apart() -> None:
    partitions = {
        ask(BODY).partition,
        ask(BODY, scope=scope_of(b"secret", "rival")).partition,
        ask(BODY, scope=scope_of(b"other", "acme")).partition,
        ask(BODY, ModelCard("phi3-mini", 4096, 0, "r1")).partition,
        ask(BODY, ModelCard("phi3-demo", 4096, 0, "r2")).partition,
        ask(BODY, ModelCard("phi3-demo", 2048, 0, "r1")).partition,
    }
    assert len(partitions) == 6


@pytest.mark.parametrize(
    "body",
    [
        last([{"type": "text", "text": "x"}]),
        last(None),
        last("  "),
        BODY | {"messages": [*BODY["messages"], {"role": "assistant", "content": "It is"}]},
        BODY | {"logprobs": True},
        BODY | {"tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
def test_what_is_about_the_very_words_is_nobody_else_s(body: dict[str, Any]) -> None:
    assert question_of(Operation.CHAT, body, CARD, SCOPE) is None


def test_a_continued_text_is_not_a_question() -> None:
    body = {"prompt": "The capital of France is", "temperature": 0}
    assert question_of(Operation.COMPLETION, body, CARD, SCOPE) is None

"""The estimate of a request's work, which limits reserve: there is one for any checked body."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from phi3_bento.admission.demand import CHAT_NEW_TOKENS, COMPLETION_NEW_TOKENS, work_of
from phi3_bento.admission.validation import check_body
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest

CONTEXT = 4096
HELLO = {"messages": [{"role": "user", "content": "x" * 30}]}

parts = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
messages = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": st.text() | parts}), min_size=1
)
tokens = st.lists(st.integers(0, 9), min_size=1)
bodies = st.fixed_dictionaries(
    {
        "messages": messages,
        "prompt": st.text(min_size=1) | tokens | st.lists(st.text() | tokens, min_size=1),
        "tokens": tokens,
    },
    optional={
        "n": st.none() | st.integers(max_value=4),
        "best_of": st.none() | st.integers(max_value=4),
        "max_tokens": st.none() | st.integers(),
        "max_completion_tokens": st.none() | st.integers(),
    },
)


def total(operation: Operation, body: dict[str, Any]) -> int:
    work = work_of(operation, body, context_tokens=CONTEXT)
    assert work.prompt_tokens >= 0
    assert work.new_tokens >= 0
    return work.held_tokens


@given(operation=st.sampled_from(Operation), body=bodies)
def test_any_checked_body_has_a_demand_that_fits_its_sequences(
    operation: Operation, body: dict[str, Any]
) -> None:
    try:
        checked = check_body(operation, body, max_choices=4, special_tokens=())
    except InvalidRequest:
        assume(False)
    assert total(operation, checked) <= CONTEXT * 4 * 4


@given(operation=st.sampled_from(Operation), body=bodies, limit=st.integers(1, 2 * CONTEXT))
def test_a_higher_limit_never_asks_for_less(
    operation: Operation, body: dict[str, Any], limit: int
) -> None:
    try:
        checked = check_body(operation, body, max_choices=4, special_tokens=())
    except InvalidRequest:
        assume(False)
    demands = [total(operation, checked | {"max_tokens": each}) for each in (limit, limit + 1)]
    assert demands == sorted(demands)


def test_a_prompt_is_estimated_by_its_bytes_and_token_ids_are_counted() -> None:
    assert total(Operation.CHAT, HELLO | {"max_tokens": 5}) == 30 / 3 + 8 + 5
    limit = {"max_tokens": 5}
    assert total(Operation.COMPLETION, {"prompt": "日" * 10, **limit}) == 10 + 5
    assert total(Operation.COMPLETION, {"prompt": [1] * 7, **limit}) == 7 + 5
    assert total(Operation.COMPLETION, {"prompt": ["x" * 3, "x" * 6], **limit}) == 1 + 2 + 2 * 5
    assert total(Operation.COMPLETION, {"prompt": [[1], [1, 2]], **limit}) == 3 + 2 * 5


def test_the_larger_limit_counts_for_every_choice() -> None:
    body = HELLO | {"max_tokens": 5, "max_completion_tokens": 9, "n": 3}
    assert total(Operation.CHAT, body) == 18 + 3 * 9


def test_without_a_limit_the_default_is_taken() -> None:
    assert total(Operation.CHAT, HELLO) == 18 + CHAT_NEW_TOKENS
    assert total(Operation.COMPLETION, {"prompt": "x"}) == 1 + COMPLETION_NEW_TOKENS


def test_a_sequence_asks_for_no_more_than_the_context() -> None:
    assert total(Operation.CHAT, HELLO | {"max_tokens": 10**9}) == CONTEXT
    long = {"messages": [{"role": "user", "content": "x" * 10**6}]}
    assert total(Operation.CHAT, long | {"max_tokens": 100}) == CONTEXT


@pytest.mark.parametrize("operation", [Operation.TOKENIZE, Operation.DETOKENIZE])
def test_the_tokenizer_costs_no_tokens(operation: Operation) -> None:
    assert total(operation, {"prompt": "x" * 1000, "tokens": [1] * 1000}) == 0

"""What changes an answer changes its key; what does not, does not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache.policy import (
    Directives,
    identity_of,
    key_of,
    read_directives,
    scope_of,
    why_not_cached,
)
from phi3_bento.core import Operation
from phi3_bento.engine.state import ModelCard
from phi3_bento.errors import InvalidRequest

CARD = ModelCard("phi-3-mini", 4096, created=1, revision="r1")
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
SECRET = b"the deployment's secret"

CHANGING: dict[str, list[Any]] = {
    "messages": [
        [{"role": "user", "content": "Hi "}],
        [{"role": "system", "content": "Hi"}],
        [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}],
        [{"role": "user", "content": "Hi", "name": "Ann"}],
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    ],
    "temperature": [0.1, 1],
    "top_p": [0.5],
    "top_k": [3],
    "min_p": [0.1],
    "seed": [1, 2],
    "n": [2],
    "max_tokens": [5, 6],
    "max_completion_tokens": [5],
    "min_tokens": [1],
    "stop": [["a"], ["b"], "a"],
    "stop_token_ids": [[1]],
    "bad_words": [["x"]],
    "presence_penalty": [0.5],
    "frequency_penalty": [0.5],
    "repetition_penalty": [1.5],
    "logit_bias": [{"1": 5}],
    "logprobs": [True],
    "top_logprobs": [2],
    "logprob_token_ids": [[1, 2], [2, 1]],
    "allowed_token_ids": [[1]],
    "response_format": [{"type": "json_object"}],
    "structured_outputs": [{"regex": "a+"}],
    "ignore_eos": [True],
    "skip_special_tokens": [False],
    "include_stop_str_in_output": [True],
    "truncate_prompt_tokens": [5],
    "add_generation_prompt": [False],
    "continue_final_message": [True],
    "a_field_of_the_future": [1],
}
SENDING = {
    "stream": [True],
    "stream_options": [{"include_usage": True}],
    "user": ["ann"],
    "metadata": [{"a": "b"}],
    "model": ["phi-3-mini"],
}


def key(body: dict[str, Any] = BODY, tenant: str = "acme", card: ModelCard = CARD) -> str:
    return key_of(scope_of(SECRET, tenant), identity_of(Operation.CHAT, body, card))


def test_every_value_that_changes_an_answer_has_a_key_of_its_own() -> None:
    bodies = [BODY | {name: value} for name, values in CHANGING.items() for value in values]
    keys = [key(body) for body in [BODY, *bodies]]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("name", "values"), SENDING.items())
def test_how_an_answer_is_sent_and_who_asks_is_no_part_of_its_key(
    name: str, values: list[Any]
) -> None:
    assert all(key(BODY | {name: value}) == key() for value in values)


def test_tenants_models_revisions_contexts_and_operations_are_apart() -> None:
    cards = [
        replace(CARD, name="x"),
        replace(CARD, revision="r2"),
        replace(CARD, max_context_tokens=8192),
    ]
    other = identity_of(Operation.COMPLETION, BODY, CARD)
    keys = {key(), key(tenant="other"), *(key(card=card) for card in cards)}
    assert len(keys | {key_of(scope_of(SECRET, "acme"), other)}) == 6
    assert scope_of(SECRET, "acme") != scope_of(b"another secret", "acme")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([name for name in CHANGING if name != "messages"])


@given(name=fields, one=values, other=values)
def test_two_values_of_a_parameter_share_a_key_only_if_they_are_the_same(
    name: str, one: Any, other: Any
) -> None:
    same = repr(one) == repr(other)
    assert (key(BODY | {name: one}) == key(BODY | {name: other})) == same or one == other


def test_the_order_of_fields_and_the_form_of_a_number_do_not_matter() -> None:
    turned = dict(reversed(BODY.items())) | {"temperature": 0.0}
    assert key(turned) == key()
    assert key(BODY | {"top_p": True}) != key(BODY | {"top_p": 1})


def test_a_number_of_any_size_has_a_key_of_its_own() -> None:
    sizes = [2**63 - 1, 2**63, 2**64, 2**64 + 1, 10**4000, -(2**63), -(2**64)]
    assert len({key(BODY | {"max_tokens": size}) for size in sizes}) == len(sizes)


@pytest.mark.parametrize(
    ("changed", "header", "expected"),
    [
        ({}, None, True),
        ({"temperature": 0.0}, None, True),
        ({"temperature": 0.7}, None, False),
        ({"temperature": None}, None, False),
        ({"temperature": 0.7, "seed": 1}, None, True),
        ({"temperature": 0.7, "seed": True}, None, False),
        ({"temperature": 0.7}, "max-age=60", True),
        ({"temperature": 0.7}, "no-cache", False),
        ({}, "no-store", False),
        ({}, "max-age=60, no-store", False),
        ({"prompt_logprobs": 1}, None, False),
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, None, False),
    ],
)
def test_what_comes_out_the_same_or_is_asked_for_may_be_cached(
    changed: dict[str, Any], header: str | None, expected: bool
) -> None:
    reason = why_not_cached(Operation.CHAT, BODY | changed, read_directives(header))
    assert (reason is None) == expected


@pytest.mark.parametrize("operation", [Operation.TOKENIZE, Operation.DETOKENIZE])
def test_the_tokenizer_is_not_cached(operation: Operation) -> None:
    assert why_not_cached(operation, BODY, Directives())


def test_directives_are_read_as_http_allows() -> None:
    nothing = [read_directives(header) for header in (None, "", "private", "no-cached")]
    assert nothing == [Directives()] * 4
    assert read_directives("No-Cache , ONLY-IF-CACHED") == Directives(
        no_cache=True, only_if_cached=True
    )
    assert read_directives('max-age="60", max-age=30').max_age_s == 30


@pytest.mark.parametrize("age", ["", "-1", "1.5", "soon", "٣", "9" * 11])
def test_an_age_that_is_no_number_of_seconds_is_refused(age: str) -> None:
    with pytest.raises(InvalidRequest, match="max-age"):
        read_directives(f"max-age={age}")

"""Whatever JSON comes, the engine gets a safe body, or the client a named parameter."""

import copy
import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi3_bento.admission.validation import (
    MAX_CHARACTERS,
    MAX_LABEL_CHARACTERS,
    MAX_MEMBERS,
    MAX_STOPS,
    REFUSED_FIELDS,
    check_body,
    check_labels,
)
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest
from phi3_bento.phi3_error import to_openai

MAX_CHOICES = 4
TOKENS = ("<|end|>", "<|user|>", "<s>")
ROLES = ["system", "developer", "user", "assistant"]

texts = st.text() | st.text(st.characters(codec=None)) | st.sampled_from([*TOKENS, "\0", "\x1b[0m"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
messages = st.lists(
    documents
    | st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(ROLES) | documents,
            "content": documents
            | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts | documents})),
            "name": texts | documents,
            "tool_calls": documents,
        },
    )
)
constraints = documents | st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "json_object", "json_schema", "structural_tag"]),
        "json_schema": documents | st.fixed_dictionaries({"schema": documents}),
        "json": documents,
        "regex": documents,
        "choice": documents,
    },
)
bodies = documents | st.fixed_dictionaries(
    {},
    optional={
        "messages": messages | documents,
        "prompt": documents | st.lists(st.text() | st.integers() | st.lists(st.integers())),
        "n": documents,
        "best_of": documents,
        "stop": documents | st.lists(st.text(), max_size=2 * MAX_STOPS),
        "temperature": documents,
        "max_tokens": documents,
        "logit_bias": documents,
        "user": documents,
        "metadata": documents,
        "response_format": constraints,
        "structured_outputs": constraints,
        "cache_salt": st.none() | st.text(),
        "tools": st.none() | documents,
    },
)


def user(content: Any = "Hi") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def check(body: object, operation: Operation = Operation.CHAT) -> dict[str, Any]:
    return check_body(operation, body, max_choices=MAX_CHOICES, special_tokens=TOKENS)


def texts_of(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    parts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return [*parts, message.get("name", "")]


def refusal(body: object, operation: Operation = Operation.CHAT) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check(body, operation)
    return caught.value


@settings(max_examples=300)
@given(operation=st.sampled_from(Operation), body=bodies)
def test_any_json_is_either_made_safe_or_refused(operation: Operation, body: object) -> None:
    before = copy.deepcopy(body)
    try:
        checked = check(body, operation)
    except InvalidRequest as refused:
        assert refused.param is None or refused.param in refused.message
        assert orjson.dumps(to_openai(refused))
    else:
        assert not REFUSED_FIELDS.keys() & checked.keys()
        assert None not in checked.values()
        assert checked.get("n", 1) <= MAX_CHOICES
        for message in checked.get("messages", ()):
            assert message["role"] in ("system", "user", "assistant")
            for text in texts_of(message):
                assert not any(token in text for token in TOKENS)
                assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)
        assert json.dumps(checked, ensure_ascii=False).encode()
    assert body == before


@pytest.mark.parametrize("name", REFUSED_FIELDS)
def test_a_field_that_clients_may_not_set_is_refused_by_name(name: str) -> None:
    error = refusal(user() | {name: "anything"})
    assert error.param == name
    assert f"'{name}' cannot be set: {REFUSED_FIELDS[name]}" in error.message


@pytest.mark.parametrize("name", [*REFUSED_FIELDS, "n", "stop", "temperature"])
def test_null_is_the_same_as_nothing(name: str) -> None:
    assert check(user() | {name: None}) == user()


@pytest.mark.parametrize("body", [None, [], "text", 7, True])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    assert "JSON object" in refusal(body).message


@pytest.mark.parametrize("name", ["n", "best_of"])
def test_choices_are_served_up_to_the_limit(name: str) -> None:
    assert check(user() | {name: MAX_CHOICES})[name] == MAX_CHOICES
    error = refusal(user() | {name: MAX_CHOICES + 1})
    assert (error.param, str(MAX_CHOICES) in error.message) == (name, True)


@pytest.mark.parametrize("name", ["n", "best_of", "max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("count", ["1000", 1000.0, True, [1000], {"n": 1}])
def test_a_count_in_another_type_does_not_slip_past_the_limit(name: str, count: object) -> None:
    """Pydantic, behind us, would take "1000" and 1000.0 for the number."""
    assert refusal(user() | {name: count}).param == name


def test_stop_sequences_are_served_up_to_the_limit() -> None:
    assert len(check(user() | {"stop": ["a"] * MAX_STOPS})["stop"]) == MAX_STOPS
    assert refusal(user() | {"stop": ["a"] * (MAX_STOPS + 1)}).param == "stop"


@pytest.mark.parametrize(("name", "most"), MAX_MEMBERS.items())
def test_lists_and_objects_are_served_up_to_the_limit(name: str, most: int) -> None:
    as_object = name in ("logit_bias", "metadata")
    for count in (most, most + 1):
        value = {str(key): 1 for key in range(count)} if as_object else ["1"] * count
        if count == most:
            assert check(user() | {name: value})[name] == value
        else:
            assert refusal(user() | {name: value}).param == name


@pytest.mark.parametrize(("name", "most"), MAX_CHARACTERS.items())
def test_texts_are_served_up_to_the_limit(name: str, most: int) -> None:
    assert check(user() | {name: "x" * most})[name] == "x" * most
    for value in ("x" * (most + 1), ["x", "x" * (most + 1)], {"x" * (most + 1): 1}):
        assert refusal(user() | {name: value}).param == name


@pytest.mark.parametrize("operation", [Operation.COMPLETION, Operation.TOKENIZE])
def test_a_prompt_is_raw_and_keeps_its_special_tokens(operation: Operation) -> None:
    prompt = "<|user|>\nHi\x1b<|end|>"
    assert check({"prompt": prompt}, operation) == {"prompt": prompt}


@pytest.mark.parametrize("text", ["\0", "\ud800", "x\udfffx"])
def test_what_is_no_text_is_refused_wherever_it_stands(text: str) -> None:
    assert refusal(user(text)).param == "messages.0.content"
    assert refusal({"prompt": ["x", text]}, Operation.COMPLETION).param == "prompt.1"
    assert refusal(user() | {"stop": text}).param == "stop"
    assert refusal(user() | {"metadata": {text: "x"}}).param == "metadata"
    assert refusal(user() | {text: 1}).param is None


def test_a_constraint_on_the_answer_is_checked() -> None:
    body = user() | {"structured_outputs": {"grammar": "root ::= root"}}
    assert refusal(body).param == "structured_outputs.grammar"


@pytest.mark.parametrize(
    "label", ["x" * (MAX_LABEL_CHARACTERS + 1), "<|end|>", "a<s>", "a\x1b", "\0", "\ud800"]
)
def test_a_label_that_would_not_stay_as_it_is_is_refused(label: str) -> None:
    check_labels(["x" * MAX_LABEL_CHARACTERS, "very good", "日本"], TOKENS)
    with pytest.raises(InvalidRequest) as error:
        check_labels(["good", label], TOKENS)
    assert error.value.param == "labels"


@pytest.mark.parametrize("prompt", [None, "", []])
def test_a_completion_needs_a_prompt(prompt: object) -> None:
    assert refusal({"prompt": prompt}, Operation.COMPLETION).param == "prompt"


def test_many_tokens_are_one_prompt() -> None:
    tokens = list(range(100))
    assert check({"prompt": tokens}, Operation.COMPLETION) == {"prompt": tokens}


@pytest.mark.parametrize("prompt", ["text", [1, 2, 3]])
def test_prompts_are_served_up_to_the_limit(prompt: object) -> None:
    check({"prompt": [prompt] * MAX_CHOICES}, Operation.COMPLETION)
    error = refusal({"prompt": [prompt] * (MAX_CHOICES + 1)}, Operation.COMPLETION)
    assert (error.param, str(MAX_CHOICES) in error.message) == ("prompt", True)


def test_a_conversation_to_tokenize_is_checked_and_a_text_needs_none() -> None:
    assert check({"prompt": "x"}, Operation.TOKENIZE) == {"prompt": "x"}
    body = {"messages": [{"role": "pirate", "content": "x"}]}
    assert refusal(body, Operation.TOKENIZE).param == "messages.0.role"

"""Whatever JSON comes, the engine gets a safe body, or the client a named parameter."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi3_bento.admission.validation import (
    MAX_MESSAGES,
    MAX_STOPS,
    REFUSED_FIELDS,
    check_body,
)
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest

MAX_CHOICES = 4
ROLES = ["system", "developer", "user", "assistant"]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
messages = st.lists(
    documents
    | st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(ROLES) | documents, "content": documents}
    )
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
        "cache_salt": st.none() | st.text(),
        "tools": st.none() | documents,
    },
)


def user(content: Any = "Hi") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def check(body: object, operation: Operation = Operation.CHAT) -> dict[str, Any]:
    return check_body(operation, body, max_choices=MAX_CHOICES)


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
    else:
        assert not REFUSED_FIELDS.keys() & checked.keys()
        assert None not in checked.values()
        assert checked.get("n", 1) <= MAX_CHOICES
        for message in checked.get("messages", ()):
            assert message["role"] in ("system", "user", "assistant")
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


@pytest.mark.parametrize("count", ["1000", 1000.0, [1000], {"n": 1}])
def test_a_count_in_another_type_does_not_slip_past_the_limit(count: object) -> None:
    """Pydantic, behind us, would take "1000" and 1000.0 for the number."""
    assert refusal(user() | {"n": count}).param == "n"


def test_stop_sequences_are_served_up_to_the_limit() -> None:
    assert len(check(user() | {"stop": ["a"] * MAX_STOPS})["stop"]) == MAX_STOPS
    assert refusal(user() | {"stop": ["a"] * (MAX_STOPS + 1)}).param == "stop"


def test_a_developer_speaks_as_the_system_and_keeps_the_rest_of_the_message() -> None:
    given_messages = [
        {"role": "developer", "content": "Be brief.", "name": "ops"},
        *user()["messages"],
    ]
    assert check({"messages": given_messages})["messages"] == [
        {"role": "system", "content": "Be brief.", "name": "ops"},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize("role", ["tool", "function", "User", "", None, 7, ["user"], {}])
def test_a_role_that_the_template_would_drop_is_refused(role: object) -> None:
    """Phi-3's chat template says nothing about a role that it does not know."""
    error = refusal({"messages": [*user()["messages"], {"role": role, "content": "x"}]})
    assert error.param == "messages.1.role"
    assert all(known in error.message for known in ROLES)


@pytest.mark.parametrize("content", [None, 7, True, {"type": "text"}])
def test_a_content_that_is_neither_text_nor_parts_is_refused(content: object) -> None:
    assert refusal(user(content)).param == "messages.0.content"


@pytest.mark.parametrize("content", ["", "text", [], [{"type": "text", "text": "x"}]])
def test_a_text_and_a_list_of_parts_pass_unchanged(content: object) -> None:
    assert check(user(content)) == user(content)


@pytest.mark.parametrize("message", ["Hi", None, 7, ["user", "Hi"]])
def test_a_message_that_is_no_object_is_refused_by_its_place(message: object) -> None:
    assert refusal({"messages": [*user()["messages"], message]}).param == "messages.1"


@pytest.mark.parametrize("value", [None, [], {}, "Hi", 7])
def test_a_chat_needs_a_list_of_messages(value: object) -> None:
    assert refusal({"messages": value}).param == "messages"


def test_messages_are_served_up_to_the_limit() -> None:
    message = user()["messages"][0]
    assert len(check({"messages": [message] * MAX_MESSAGES})["messages"]) == MAX_MESSAGES
    assert refusal({"messages": [message] * (MAX_MESSAGES + 1)}).param == "messages"


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

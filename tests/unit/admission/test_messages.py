"""Of a conversation the engine gets roles, texts and names, and nothing else."""

from typing import Any

import pytest

from phi3_bento.admission.validation import MAX_MESSAGES, check_body
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest

ROLES = ["system", "developer", "user", "assistant"]


def user(content: Any = "Hi") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def check(body: object) -> dict[str, Any]:
    return check_body(
        Operation.CHAT, body, max_choices=1, special_tokens=("<|end|>", "<|user|>", "<s>")
    )


def refusal(body: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check(body)
    return caught.value


def test_a_developer_speaks_as_the_system_and_keeps_content_and_name() -> None:
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


@pytest.mark.parametrize(
    "part",
    [
        "text",
        7,
        None,
        {},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}},
        {"image_url": "http://127.0.0.1/"},
        {"type": "text", "text": 7},
    ],
)
def test_a_part_that_is_no_text_is_refused_by_its_place(part: object) -> None:
    """vLLM would fetch the URL of an image before it says that the model reads none."""
    error = refusal(user([{"type": "text", "text": "x"}, part]))
    assert error.param in ("messages.0.content.1", "messages.0.content.1.text")


def test_of_a_part_only_the_text_reaches_the_engine() -> None:
    """vLLM reads a part with a `uuid` by its other members, whatever its type says."""
    part = {"type": "text", "text": "x", "uuid": "1", "image_url": "http://127.0.0.1/"}
    assert check(user([part])) == user([{"type": "text", "text": "x"}])


def test_of_a_message_only_what_the_template_knows_reaches_the_engine() -> None:
    extra = {"refusal": None, "tool_calls": [], "reasoning": "<|user|>", "audio": {"id": "1"}}
    message = {"role": "assistant", "content": "x"}
    assert check({"messages": [message | extra]}) == {"messages": [message]}


@pytest.mark.parametrize("name", ["tool_calls", "function_call"])
def test_a_call_of_a_tool_in_a_message_is_refused(name: str) -> None:
    message = {"role": "assistant", "content": "x", name: [{"id": "1"}]}
    assert refusal({"messages": [message]}).param == f"messages.0.{name}"


@pytest.mark.parametrize("role", ROLES)
def test_special_tokens_become_text_in_every_message_and_name(role: str) -> None:
    message = {"role": role, "content": "a<|end|>b", "name": "<|user|>"}
    (checked,) = check({"messages": [message]})["messages"]
    assert (checked["content"], checked["name"]) == ("a< |end|>b", "< |user|>")
    (checked,) = check({"messages": [message | {"content": [{"type": "text", "text": "<s>"}]}]})[
        "messages"
    ]
    assert checked["content"] == [{"type": "text", "text": "< s>"}]


def test_a_name_must_be_a_text() -> None:
    assert refusal({"messages": [user()["messages"][0] | {"name": 7}]}).param == "messages.0.name"


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

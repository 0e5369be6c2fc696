"""A body is measured before anything walks it by recursion."""

from typing import Any

import pytest

from phi3_bento.admission.shape import MAX_DEPTH, MAX_VALUES, check_shape, flaw_of
from phi3_bento.errors import InvalidRequest


def refusal(body: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_shape(body)
    return caught.value


def nested(levels: int, innermost: Any) -> Any:
    for level in range(levels):
        innermost = [innermost] if level % 2 else {"x": innermost}
    return innermost


def test_objects_and_lists_nest_up_to_the_limit() -> None:
    check_shape({"metadata": nested(MAX_DEPTH - 1, "text")})
    error = refusal({"metadata": nested(MAX_DEPTH, "text")})
    assert error.param is not None
    assert error.param.startswith("metadata.")
    assert f"more than {MAX_DEPTH} levels" in error.message


def test_a_body_deeper_than_the_interpreter_can_recurse_is_refused() -> None:
    assert "nested" in refusal({"x": nested(100_000, 1)}).message


def test_values_are_counted_over_the_whole_body() -> None:
    check_shape({"a": [1] * (MAX_VALUES // 2 - 1), "b": [1] * (MAX_VALUES // 2 - 1)})
    assert str(MAX_VALUES) in refusal({"a": [1] * MAX_VALUES}).message
    assert str(MAX_VALUES) in refusal({"a": [{str(n): 1} for n in range(MAX_VALUES // 2)]}).message


@pytest.mark.parametrize("name", ["prompt", "tokens"])
def test_token_ids_are_not_counted_where_they_may_stand(name: str) -> None:
    tokens = [1] * (MAX_VALUES + 1)
    check_shape({name: tokens})
    check_shape({name: [tokens, tokens]})
    for elsewhere in ({"x": tokens}, {name: [[tokens]]}, {name: {"x": tokens}}):
        assert str(MAX_VALUES) in refusal(elsewhere).message


@pytest.mark.parametrize("other", ["text", True, 1.0, None, []])
def test_a_list_with_one_value_that_is_no_token_id_is_counted(other: object) -> None:
    assert str(MAX_VALUES) in refusal({"prompt": [1] * MAX_VALUES + [other]}).message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"a": "\0"}, "a"),
        ({"a": ["x", {"b": "\ud800"}]}, "a.1.b"),
        ({"a": {"\udfff": 1}}, "a"),
        ({"\ud800": 1}, None),
        ({"prompt": nested(MAX_DEPTH - 1, "\0")}, None),
    ],
)
def test_what_is_no_text_is_refused_by_its_place(body: dict[str, Any], param: str | None) -> None:
    error = refusal(body)
    assert "which is no text" in error.message
    assert error.message.encode()
    assert param in (error.param, None)


@pytest.mark.parametrize(
    "text", ["", "Ünï 日本 😀", "\u202eabc\u200b\u2066", "\x1b\t\r\n", "\uffff"]
)
def test_whatever_can_be_written_is_a_text(text: str) -> None:
    assert flaw_of(text) is None

"""A body is the same whether vllm-router has spelled it out or not."""

import pytest

from phi3_bento.admission.spelled_out import without_spelled_out


def test_what_goes_without_saying_goes() -> None:
    body = {"prompt": "x", "echo": False, "skip_special_tokens": True, "stream_reasoning": True}
    assert without_spelled_out({**body, "max_tokens": None}) == {"prompt": "x"}


@pytest.mark.parametrize(
    "field",
    [
        {"echo": True},
        {"skip_special_tokens": False},
        {"ignore_eos": True},
        {"echo": 0},
        {"ignore_eos": "false"},
        {"include_reasoning": 1},
    ],
)
def test_what_says_something_else_stays(field: dict[str, object]) -> None:
    assert without_spelled_out(field) == field

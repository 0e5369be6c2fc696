"""What the engine will compute of a prompt is learned from the prompts that it has read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.admission.demand import work_of
from phi3_bento.admission.prefixes import Prompt, PromptMeter
from phi3_bento.core import Operation, TokenCount

SYSTEM = "s" * 576
"""200 tokens by the estimate, its frame with it."""


def chat(*texts: str) -> dict[str, Any]:
    roles = ("system", *("user", "assistant") * len(texts))
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]}


def read(meter: PromptMeter, body: dict[str, Any], tenant: str = "a") -> Prompt:
    operation = Operation.CHAT if "messages" in body else Operation.COMPLETION
    return meter.read(tenant, body, work_of(operation, body, context_tokens=4096))


def answer(meter: PromptMeter, body: dict[str, Any], *, cached: int = 0, real: float = 1.0) -> None:
    prompt = read(meter, body)
    counted = round(prompt.work.prompt_tokens * real)
    meter.learn(prompt, TokenCount(prompt=counted, cached=cached, completion=1))


def taught(*, cached: int = 200, real: float = 1.0, kv_tokens: int = 10_000) -> PromptMeter:
    """Has seen questions of 20 tokens after the same system prompt."""
    meter = PromptMeter(kv_tokens)
    answer(meter, chat(SYSTEM, "0" * 36), real=real)
    for number in range(1, 9):
        answer(meter, chat(SYSTEM, str(number) * 36), cached=cached, real=real)
    return meter


def test_before_anything_was_read_the_whole_prompt_counts() -> None:
    work = read(PromptMeter(10_000), chat(SYSTEM, "x" * 36)).work
    assert (work.prompt_tokens, work.computed_tokens) == (220, 220)


def test_a_known_beginning_costs_nothing_and_is_reserved_all_the_same() -> None:
    body = chat(SYSTEM, "x" * 36)
    work = read(taught(), body).work
    assert work.computed_tokens == 20
    assert work.held_tokens == work_of(Operation.CHAT, body, context_tokens=4096).held_tokens


def test_an_unknown_beginning_counts_whole() -> None:
    assert read(taught(), chat("t" * 576, "x" * 36)).work.computed_tokens == 220


def test_what_another_tenant_sent_is_not_known() -> None:
    assert read(taught(), chat(SYSTEM, "x" * 36), tenant="b").work.computed_tokens == 220


def test_an_engine_that_keeps_nothing_is_not_trusted() -> None:
    assert read(taught(cached=0), chat(SYSTEM, "x" * 36)).work.computed_tokens == 220


def test_an_engine_that_keeps_half_saves_half() -> None:
    assert read(taught(cached=100), chat(SYSTEM, "x" * 36)).work.computed_tokens == 120


def test_tokens_are_as_many_as_the_engine_counts_not_as_estimated() -> None:
    meter = taught(cached=150, real=0.75)
    assert read(meter, chat(SYSTEM, "x" * 36)).work.computed_tokens == 15
    assert read(meter, chat("t" * 576, "x" * 36)).work.computed_tokens == 165


def test_a_chat_that_goes_on_is_known_up_to_its_last_question() -> None:
    meter = taught()
    answer(meter, chat(SYSTEM, "q" * 30), cached=200)
    work = read(meter, chat(SYSTEM, "q" * 30, "a" * 30, "r" * 30)).work
    assert work.computed_tokens == 2 * 18


def test_the_same_completion_is_known() -> None:
    meter = taught()
    answer(meter, {"prompt": "x" * 300})
    assert read(meter, {"prompt": "x" * 300}).work.computed_tokens == 1
    assert read(meter, {"prompt": "y" * 300}).work.computed_tokens == 100


def test_no_more_is_remembered_than_the_kv_cache_holds_and_the_oldest_goes_first() -> None:
    meter = taught(kv_tokens=700)
    for number in range(3):
        answer(meter, {"prompt": str(number) * 600}, cached=0)
    assert read(meter, {"prompt": "2" * 600}).known_tokens == 200
    assert read(meter, chat(SYSTEM, "x" * 36)).known_tokens == 0


def test_of_a_chat_the_end_is_forgotten_first() -> None:
    meter = PromptMeter(230)
    answer(meter, chat(SYSTEM, "x" * 36))
    answer(meter, {"prompt": "y" * 60})
    assert read(meter, chat(SYSTEM, "x" * 36)).known_tokens == 200


def test_what_the_engine_did_not_count_teaches_nothing() -> None:
    meter = PromptMeter(10_000)
    meter.learn(read(meter, chat(SYSTEM)), TokenCount())
    assert read(meter, chat(SYSTEM)).known_tokens == 0


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1], [2]], ["a", "b"], "\ud800"])
def test_any_prompt_can_be_read(prompt: object) -> None:
    meter = PromptMeter(10)
    answer(meter, {"prompt": prompt})
    assert read(meter, {"prompt": prompt}).work.computed_tokens >= 1


messages = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)


@given(asked=st.lists(st.tuples(messages, st.integers(0, 60)), max_size=90))
def test_a_prompt_never_costs_less_than_one_token(asked: list[tuple[list[str], int]]) -> None:
    meter = PromptMeter(50)
    for texts, cached in asked:
        work = read(meter, chat(*texts)).work
        assert 1 <= work.computed_tokens <= work.prompt_tokens
        answer(meter, chat(*texts), cached=min(cached, work.prompt_tokens))

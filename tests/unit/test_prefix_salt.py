"""The salt of KV blocks: what tenants share of a prompt, and what not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.prefix_salt import PrefixSalt

tokens = st.lists(st.integers(0, 200_000), max_size=200)


@given(tenant=st.from_regex(r"[0-9a-f]{64}", fullmatch=True), public=tokens)
def test_a_salt_reads_as_it_was_written(tenant: str, public: list[int]) -> None:
    salt = PrefixSalt.of(tenant, public)
    assert PrefixSalt.read(str(salt)) == salt
    assert len(str(salt)) <= 128, "what vLLM allows"


@given(public=st.lists(st.integers(0, 9), min_size=1, max_size=5), prompt=tokens)
def test_exactly_the_declared_tokens_are_shared(public: list[int], prompt: list[int]) -> None:
    salt = PrefixSalt.of("ab", public)
    assert salt.covers(public + prompt)
    assert salt.covers(prompt) == (prompt[: len(public)] == public)


@pytest.mark.parametrize("text", ["ab.x.00", "ab.1.5.y.z.w"])
def test_a_foreign_text_shares_nothing(text: str) -> None:
    try:
        salt = PrefixSalt.read(text)
    except ValueError:
        return
    assert not salt.covers([1, 2, 3])

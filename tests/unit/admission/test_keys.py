"""A key is read from its header as HTTP allows, and compared whole."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phi3_bento.admission.keys import bearer_token, is_equal, is_loopback

KEY = "a-key-of-sixteen-characters"
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1"]
ELSEWHERE = ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "/run/phi3.sock", "localhost", "", None]  # noqa: S104


@given(given=st.text(st.characters(codec="latin-1", exclude_categories=("C", "Z"))))
@example(given=KEY)
@example(given=KEY[:-1])
@example(given=KEY + "x")
@example(given=KEY.upper())
@example(given="")
def test_exactly_the_key_is_equal(given: str) -> None:
    assert is_equal(given, KEY) == (given == KEY)


@pytest.mark.parametrize("header", [f"bearer {KEY}", f"BEARER {KEY}", f"Bearer   {KEY} "])
def test_the_scheme_may_be_written_in_any_way_that_http_allows(header: str) -> None:
    assert bearer_token(header) == KEY


@pytest.mark.parametrize("header", [None, "", "Bearer", KEY, f"Basic {KEY}", f"Bearer{KEY}"])
def test_what_is_no_bearer_token_is_none(header: str | None) -> None:
    assert not bearer_token(header)


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine_is_known_by_its_addresses(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_nothing_else_is_this_machine(address: str | None) -> None:
    assert not is_loopback(address)

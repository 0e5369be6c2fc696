"""The key guard lets in exactly those who should come in."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phi3_bento.admission.keys import KeyGuard
from phi3_bento.errors import InvalidApiKey, PermissionDenied

KEY = "a-key-of-sixteen-characters"
LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1"]
ELSEWHERE = ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "/run/phi3.sock", "localhost", "", None]  # noqa: S104


@given(given=st.text(st.characters(codec="latin-1", exclude_categories=("C", "Z"))))
@example(given=KEY)
@example(given=KEY[:-1])
@example(given=KEY + "x")
@example(given=KEY.upper())
@example(given="")
def test_exactly_the_key_is_let_in(given: str) -> None:
    guard = KeyGuard(KEY)
    if given == KEY:
        guard.check(f"Bearer {given}", "192.0.2.1")
    else:
        with pytest.raises(InvalidApiKey):
            guard.check(f"Bearer {given}", "127.0.0.1")


@pytest.mark.parametrize("header", [f"bearer {KEY}", f"BEARER {KEY}", f"Bearer   {KEY} "])
def test_the_scheme_may_be_written_in_any_way_that_http_allows(header: str) -> None:
    KeyGuard(KEY).check(header, None)
    with pytest.raises(InvalidApiKey):
        KeyGuard("another-key-of-this-kind").check(header, None)


@pytest.mark.parametrize("header", [None, "", "Bearer", KEY, f"Basic {KEY}", f"Bearer{KEY}"])
def test_without_a_bearer_key_one_is_told_how_to_send_it(header: str | None) -> None:
    with pytest.raises(InvalidApiKey, match="Authorization: Bearer") as caught:
        KeyGuard(KEY).check(header, "127.0.0.1")
    assert KEY not in caught.value.message
    assert caught.value.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("address", LOOPBACK)
def test_without_a_key_this_machine_is_let_in(address: str) -> None:
    KeyGuard(None).check(None, address)
    with pytest.raises(InvalidApiKey):
        KeyGuard(KEY).check(None, address)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_without_a_key_nobody_else_is_let_in(address: str | None) -> None:
    with pytest.raises(PermissionDenied, match="PHI3_API_KEY"):
        KeyGuard(None).check(f"Bearer {KEY}", address)

"""A sealed entry comes back as it was, under its own key, and in no other way at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache.entry import OVERHEAD_BYTES, Entry, TamperedEntry, seal, unseal

SECRET = b"the deployment's secret"
KEY = "0123456789abcdef"
ENTRY = Entry(b'{"answer": "yes"}', created_at=1_800_000_000.25, ttl_s=3600.0, engine_ms=412.5)

numbers = st.floats(allow_nan=False)
entries = st.builds(Entry, st.binary(max_size=200), numbers, numbers, numbers)
keys = st.text("0123456789abcdef", max_size=64)


@given(entries, keys, st.binary(min_size=1, max_size=64))
def test_what_was_sealed_comes_back(entry: Entry, key: str, secret: bytes) -> None:
    assert unseal(seal(entry, key, secret), key, secret) == entry


@given(entries, st.data())
def test_any_flipped_bit_is_noticed(entry: Entry, data: st.DataObject) -> None:
    sealed = bytearray(seal(entry, KEY, SECRET))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TamperedEntry):
        unseal(bytes(sealed), KEY, SECRET)


def test_every_single_bit_of_one_entry_is_guarded() -> None:
    sealed = seal(ENTRY, KEY, SECRET)
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TamperedEntry):
            unseal(bytes(flipped), KEY, SECRET)


def test_any_truncation_and_any_addition_is_noticed() -> None:
    sealed = seal(ENTRY, KEY, SECRET)
    for length in range(len(sealed)):
        with pytest.raises(TamperedEntry):
            unseal(sealed[:length], KEY, SECRET)
    for longer in (sealed + b"\0", b"\0" + sealed, sealed + sealed):
        with pytest.raises(TamperedEntry):
            unseal(longer, KEY, SECRET)


@given(entries, keys, keys)
def test_an_entry_of_another_key_is_none_of_this_one(entry: Entry, key: str, other: str) -> None:
    if key != other:
        with pytest.raises(TamperedEntry):
            unseal(seal(entry, key, SECRET), other, SECRET)


@given(entries, st.binary(max_size=64))
def test_an_entry_of_another_deployment_is_none_of_ours(entry: Entry, secret: bytes) -> None:
    if secret != SECRET:
        with pytest.raises(TamperedEntry):
            unseal(seal(entry, KEY, secret), KEY, SECRET)


@given(st.binary(max_size=300))
def test_noise_is_no_entry(noise: bytes) -> None:
    with pytest.raises(TamperedEntry):
        unseal(noise, KEY, SECRET)


def test_another_format_under_a_true_seal_is_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("phi3_bento.cache.entry._VERSION", 1)
        older = seal(ENTRY, KEY, SECRET)
    with pytest.raises(TamperedEntry, match="format"):
        unseal(older, KEY, SECRET)


def test_an_entry_is_fresh_until_its_time_is_over() -> None:
    made = ENTRY.created_at
    assert ENTRY.is_fresh(made)
    assert ENTRY.is_fresh(made + 3599.75)
    assert not ENTRY.is_fresh(made + 3600)
    assert ENTRY.age_s(made + 90) == 90


def test_by_a_clock_that_is_behind_an_entry_is_new() -> None:
    assert ENTRY.age_s(ENTRY.created_at - 5) == 0
    assert ENTRY.is_fresh(ENTRY.created_at - 5)
    assert not Entry(b"", created_at=10.0, ttl_s=0.0, engine_ms=1.0).is_fresh(5.0)


def test_the_size_is_the_body_and_what_surrounds_it() -> None:
    assert ENTRY.size_bytes == len(ENTRY.body) + OVERHEAD_BYTES
    assert len(seal(ENTRY, KEY, SECRET)) == len(ENTRY.body) + 57

"""Pieces are kept as they are, and given to another request as its own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache.replay import Recording, is_usage, pack, readdressed, unpack
from phi3_bento.core import TokenCount

pieces = st.lists(st.dictionaries(st.text(), st.text()).map(lambda each: json.dumps(each).encode()))


@given(pieces=pieces, prompt=st.integers(0, 2**31), completion=st.integers(0, 2**31))
def test_what_was_packed_is_unpacked(pieces: list[bytes], prompt: int, completion: int) -> None:
    tokens = TokenCount(prompt=prompt, cached=1, completion=completion)
    again = unpack(pack(Recording(b'{"body":{}}', pieces, tokens)))
    assert (again.identity, again.pieces) == (b'{"body":{}}', pieces)
    assert again.tokens == TokenCount(prompt=prompt, cached=prompt, completion=completion)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[1,2,3]", b"x\ny"])
def test_what_was_not_packed_is_told(body: bytes) -> None:
    with pytest.raises(ValueError):  # whatever it says
        unpack(body)


@pytest.mark.parametrize("kind", ["chatcmpl", "cmpl"])
def test_another_s_piece_gets_this_request_s_id_and_time_and_nothing_else(kind: str) -> None:
    piece = (
        f'{{"id":"{kind}-old-id","object":"x","created":1,"model":"m","choices":[{{"text":"é"}}]}}'
    )
    again = readdressed(piece.encode(), response_id="new", created=2)
    expected = piece.replace("old-id", "new").replace('"created":1', '"created":2')
    assert again.decode() == expected


def test_all_of_another_s_prompt_counts_as_cached() -> None:
    usage = {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}}
    piece = json.dumps({"id": "cmpl-x", "choices": [], "usage": usage}).encode()
    again = json.loads(readdressed(piece, response_id="new", created=2))
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 7
    without = json.dumps({"id": "cmpl-x", "choices": [], "usage": {"prompt_tokens": 7}}).encode()
    assert json.loads(readdressed(without, response_id="n", created=2))["usage"] == {
        "prompt_tokens": 7
    }


def test_the_usage_of_a_stream_is_known_by_its_lack_of_choices() -> None:
    assert is_usage(b'{"id":"x","choices":[],"usage":{}}')
    assert is_usage(b'{"id": "x", "choices": [], "usage": {}}')
    assert not is_usage(b'{"choices":[{"delta":{"content":"\\"choices\\":[]"}}]}')

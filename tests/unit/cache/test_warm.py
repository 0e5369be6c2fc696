"""The warm cache: the operator's own answers, whole or not at all, for one model and revision."""

import logging
from pathlib import Path

import pytest

from phi3_bento.cache.entry import Tier
from phi3_bento.cache.replay import unpack
from phi3_bento.cache.warm import WarmCache
from phi3_bento.errors import StartFailure
from tests.unit.cache.packs import CARD, MADE_AT, OTHER_CARD, answer_to, write_pack

MEGABYTE = 2**20


def load(path: Path, cap_bytes: int = MEGABYTE) -> WarmCache:
    warm = WarmCache()
    warm.load(path, cap_bytes=cap_bytes, ttl_s=60.0)
    return warm


def test_an_answer_is_found_by_what_it_is_an_answer_to(tmp_path: Path) -> None:
    a, b = answer_to("a"), answer_to("b")
    warm = load(write_pack(tmp_path / "pack.jsonl", a))
    warm.keep_only(CARD)
    found = warm.find(a.recording.identity)
    assert found is not None
    assert (found.tier, found.entry.created_at, found.entry.ttl_s) == (Tier.WARM, MADE_AT, 60.0)
    assert unpack(found.entry.body).pieces == a.recording.pieces
    assert warm.find(b.recording.identity) is None
    assert WarmCache().find(a.recording.identity) is None


def test_other_models_and_revisions_are_dropped_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pack.jsonl"
    others = [answer_to(question, OTHER_CARD) for question in "ab"]
    warm = load(write_pack(path, answer_to("a"), *others))
    assert len(warm) == 3
    with caplog.at_level(logging.WARNING):
        warm.keep_only(CARD)
    assert len(warm) == 1
    assert warm.bytes_used == load(write_pack(path, answer_to("a"))).bytes_used
    assert warm.find(others[0].recording.identity) is None
    (line,) = caplog.messages
    assert "2 answers of the warm cache are of another model or revision (phi3-echo r2)" in line


def test_a_pack_that_is_too_large_names_both_sizes_and_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "pack.jsonl"
    write_pack(path, *(answer_to(str(number), text="x" * 300_000) for number in range(8)))
    warm = WarmCache()
    with pytest.raises(StartFailure, match=r"needs 2\.3 MiB of memory and may take 1\.0 MiB"):
        warm.load(path, cap_bytes=MEGABYTE, ttl_s=60.0)
    assert (len(warm), warm.bytes_used) == (0, 0)


def test_nothing_of_a_damaged_pack_is_given(tmp_path: Path) -> None:
    path = write_pack(tmp_path / "pack.jsonl", answer_to("a"), answer_to("b"))
    path.write_bytes(path.read_bytes().replace(b"packed", b"hacked", 1))
    warm = WarmCache()
    with pytest.raises(StartFailure, match="damaged"):
        warm.load(path, cap_bytes=MEGABYTE, ttl_s=60.0)
    assert len(warm) == 0

"""A pack gives back what was written, or is refused as a whole with the line that is wrong."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.cache import pack_format
from phi3_bento.cache.pack import PackWriter, read_pack
from phi3_bento.cache.pack_format import PackedAnswer
from phi3_bento.cache.replay import Recording
from phi3_bento.core import TokenCount
from phi3_bento.errors import StartFailure
from tests.unit.cache.packs import MADE_AT, OTHER_CARD, answer_to, write_pack

SECRET_WORDS = "nobody else's business"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A pack of three answers: five lines."""
    return write_pack(tmp_path / "pack.jsonl", *(answer_to(question) for question in "abc"))


def refusal(path: Path) -> str:
    with pytest.raises(StartFailure) as caught:
        list(read_pack(path))
    return caught.value.message


documents = st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53))
answers = st.builds(
    lambda body, pieces, counts, times: PackedAnswer(
        Recording(
            orjson.dumps({"operation": "chat", "model": "m", "revision": "r", "body": body}),
            [orjson.dumps(piece | {"id": "x", "choices": []}) for piece in pieces],
            TokenCount(prompt=counts[0], completion=counts[1]),
        ),
        *times,
    ),
    documents,
    st.lists(documents, min_size=1, max_size=4),
    st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)),
    st.tuples(st.floats(0, 2**40), st.floats(0, 10**8), st.floats(0, 1e12)),
)


@given(st.lists(answers, max_size=4))
def test_what_was_written_is_read(tmp_path_factory: Any, written: list[PackedAnswer]) -> None:
    path = write_pack(tmp_path_factory.mktemp("pack") / "pack.jsonl", *written)
    assert list(read_pack(path)) == written


def test_a_pack_is_its_owner_s_alone_and_counts_answers_by_model(tmp_path: Path) -> None:
    path = tmp_path / "pack.jsonl"
    write_pack(path, answer_to("a"), answer_to("b"), answer_to("a", OTHER_CARD))
    assert path.stat().st_mode & 0o777 == 0o600
    first, *_, last = path.read_text().splitlines()
    assert json.loads(first) == {
        "format": "phi3-cache-pack",
        "version": 1,
        "made_at": int(MADE_AT),
    }
    assert json.loads(last)["models"] == {"phi3-echo": 2, "phi3-echo r2": 1}
    before = path.read_bytes().rpartition(b'{"answers"')[0]
    assert json.loads(last)["sha256"] == hashlib.sha256(before).hexdigest()


def test_a_writer_that_fails_leaves_what_was_there(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), PackWriter(path, made_at=MADE_AT) as writer:
        writer.add(answer_to("d"))
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match=r"none/pack.jsonl cannot be written: No such file"):
        write_pack(tmp_path / "none" / "pack.jsonl", answer_to("a"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "pack.jsonl cannot be read: No such file" in refusal(tmp_path / "pack.jsonl")


def test_an_answer_that_is_too_long_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phi3_bento.cache.pack.MAX_LINE_BYTES", 5000)
    with PackWriter(tmp_path / "pack.jsonl", made_at=MADE_AT) as writer:
        assert not writer.add(answer_to("a", text="long " * 1000))
        assert writer.add(answer_to("b"))
    assert [each.model for each in read_pack(tmp_path / "pack.jsonl")] == [("phi3-echo", "")]


def changed_line(number: int, change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        document = json.loads(lines[number - 1])
        change(document)
        lines[number - 1] = json.dumps(document).encode() + b"\n"
        return b"".join(lines)

    return damage


def without_line(number: int) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        return b"".join(lines[: number - 1] + lines[number:])

    return damage


def swapped(content: bytes) -> bytes:
    first, one, two, *rest = content.splitlines(keepends=True)
    return b"".join([first, two, one, *rest])


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (lambda content: b"", "line 1 is not the first line"),
        (lambda content: b"{}\n", "line 1 is not the first line"),
        (lambda content: content[:40], "line 1 is not the first line"),
        (lambda content: content[: len(content) // 2], "cut off"),
        (lambda content: content[:-1], "line 5 is cut off"),
        (lambda content: content[:-20], "line 5 is not the end of a pack: the file is cut off"),
        (without_line(5), "line 4 is not the end of a pack: the file is cut off"),
        (without_line(3), "line 4 counts and sums up other lines"),
        (without_line(1), "line 1 is not the first line"),
        (lambda content: content.replace(b"packed", b"hacked", 1), "line 5 counts"),
        (swapped, "line 5 counts"),
        (lambda content: content + content, "line 5 is not an answer"),
        (lambda content: content + b"\n", "line 5 is not an answer"),
        (lambda content: content.replace(b'"version":1', b'"version":2', 1), r"line 1 .*version"),
        (lambda content: content.replace(b'"id', b'"\xff', 1), "line 2 is not an answer"),
        (changed_line(3, lambda line: line.update(ttl_s=-1)), r"line 3 .*ttl_s"),
        (changed_line(3, lambda line: line.update(ttl_s=float("nan"))), "line 3 "),
        (changed_line(3, lambda line: line.update(prompt_tokens="7")), r"line 3 .*prompt_tokens"),
        (changed_line(3, lambda line: line.update(prompt_tokens=2**40)), r"line 3 .*prompt_tokens"),
        (changed_line(3, lambda line: line.update(extra=SECRET_WORDS)), r"line 3 .*extra"),
        (changed_line(3, lambda line: line.update(pieces=[])), r"line 3 .*pieces"),
        (changed_line(3, lambda line: line.pop("identity")), r"line 3 .*identity"),
        (changed_line(3, lambda line: line.update(identity=SECRET_WORDS)), r"line 3 .*identity"),
        (changed_line(3, lambda line: line.update(identity='{"model": 1}')), "line 3 .*identity"),
        (changed_line(3, lambda line: line.update(pieces=["[1]"])), "line 3 .*piece"),
        (changed_line(3, lambda line: line.update(pieces=['{"id":"x",\n"choices":[]}'])), "line 3"),
    ],
)
def test_a_damaged_pack_is_refused_and_its_line_is_named(
    path: Path, damage: Callable[[bytes], bytes], where: str
) -> None:
    path.write_bytes(damage(path.read_bytes()))
    message = refusal(path)
    assert message.startswith(f"The pack {path} is damaged, and nothing of it is used: ")
    with pytest.raises(StartFailure, match=where):
        list(read_pack(path))
    assert SECRET_WORDS not in message


def test_every_byte_counts(path: Path) -> None:
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(bytes(changed))
        refusal(path)


def test_no_line_is_read_beyond_its_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phi3_bento.cache.pack.MAX_LINE_BYTES", 300)
    assert "line 2 is longer than 300 bytes" in refusal(path)
    assert pack_format.MAX_LINE_BYTES == 16 * 2**20


def test_an_answer_s_model_is_told_by_its_identity() -> None:
    assert answer_to("a", replace(OTHER_CARD, name="m")).model == ("m", "r2")

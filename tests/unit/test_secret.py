"""The deployment's secret is made once, and what is derived from it is its own."""

import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from phi3_bento.errors import StartFailure
from phi3_bento.secret import derive, load_secret


def test_the_secret_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    first = load_secret(None, tmp_path / "new" / "data")
    assert load_secret(None, tmp_path / "new" / "data") == first
    assert len(bytes.fromhex(first.decode())) == 32
    assert load_secret(None, tmp_path / "another") != first


def test_only_its_owner_can_read_the_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    load_secret(None, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_given_secret_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert load_secret("given " * 8, tmp_path) == b"given " * 8
    assert list(tmp_path.iterdir()) == []


def test_the_content_of_the_file_given_as_setting_is_the_same_secret(tmp_path: Path) -> None:
    made = load_secret(None, tmp_path)
    assert load_secret((tmp_path / "secret").read_text().strip(), tmp_path / "replica") == made


def test_all_who_start_at_once_get_the_same(tmp_path: Path) -> None:
    workers = 8
    for attempt in range(20):
        barrier = Barrier(workers)

        def start(directory: Path = tmp_path / str(attempt), gate: Barrier = barrier) -> bytes:
            gate.wait()
            return load_secret(None, directory)

        with ThreadPoolExecutor(workers) as pool:
            started = [pool.submit(start) for _ in range(workers)]
        assert len({future.result() for future in started}) == 1
        assert [path.name for path in (tmp_path / str(attempt)).iterdir()] == ["secret"]


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_a_damaged_file_stops_the_start_and_is_left_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(StartFailure, match=str(tmp_path / "secret")):
        load_secret(None, tmp_path)
    assert (tmp_path / "secret").read_bytes() == content


def test_a_place_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartFailure, match="PHI3_SECRET"):
        load_secret(None, tmp_path / "file" / "data")


def test_what_is_derived_is_an_hmac_over_purpose_and_name() -> None:
    expected = hmac.new(b"secret", b"key\0acme", "sha256").digest()
    assert derive(b"secret", "key", "acme") == expected


def test_what_is_derived_differs_by_secret_by_purpose_and_by_name() -> None:
    derived = {
        derive(secret, purpose, name)
        for secret in (b"one", b"two")
        for purpose in ("key", "salt", "key\0a")
        for name in ("acme", "acmf", "", "ä")
    }
    assert len(derived) == 24

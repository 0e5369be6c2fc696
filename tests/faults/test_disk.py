"""The disk is full, may not be written, or holds nonsense: said in a sentence, and nothing is lost.

Over the echo engine: what is broken lies beside any engine. Small file systems are mounted, which
needs root.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.faults.clients import chat, open_client
from tests.faults.ledgers import outcomes_of
from tests.support import bentoml_command, free_port, running, serve_command, wait_for_async

ECHO = {"PHI3_ENGINE": "echo"}
ANSWERS = "/v1/chat/completions"
GREEDY = chat("Hello!", temperature=0)
SIZE = "16m"


def can_mount(directory: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "none", directory]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", directory], check=True)
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if not can_mount(tmp_path):
        pytest.skip("this user may not mount a file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """Nothing more can be written, for a while."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            pass
    yield
    filler.unlink()


def refusal_at_start(data_dir: Path, other: Path) -> str:
    """What `phi3-bento serve` says when it cannot start there."""
    env = {
        **os.environ,
        **ECHO,
        "PHI3_DATA_DIR": str(data_dir),
        "PHI3_PORT": str(free_port()),
        "BENTOML_HOME": str(other),
    }
    done = subprocess.run(
        serve_command(), env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode not in (0, None)
    said = done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in said
    return said


def damage(file: Path, after: int) -> None:
    """Overwrite what is in the file, in its place."""
    with file.open("r+b") as stream:
        stream.seek(after)
        stream.write(os.urandom(file.stat().st_size - after))


async def test_a_full_disk_takes_no_work_that_it_could_not_count(
    disk: Path, tmp_path: Path
) -> None:
    options = {**ECHO, "BENTOML_HOME": str(tmp_path / "bentoml"), "PHI3_CACHE_URL": "memory://"}
    with running(bentoml_command(), disk, options) as service:
        async with open_client(service, 30) as client:

            async def ask(name: str) -> httpx.Response:
                headers = {"x-request-id": name}
                return await client.post(ANSWERS, json=chat(name), headers=headers)

            assert (await ask("before")).status_code == 200
            with full(disk):
                # Room that is there already is used up; then an answer waits for its row.
                waiting, refused = [], None
                for number in range(2000):
                    task = asyncio.create_task(ask(f"meanwhile-{number}"))
                    waiting.append(task)
                    await asyncio.wait([task], timeout=2)
                    if task.done() and task.result().status_code == 503:
                        refused = waiting.pop().result()
                        break
                assert refused is not None
                assert refused.json()["error"]["code"] == "ledger_unavailable"
                assert "No space left" in refused.json()["error"]["message"]
                assert (await client.get("/livez")).status_code == 200

            async def is_back() -> bool:
                return (await ask("after")).status_code == 200

            await wait_for_async(is_back, "it answers again", 30)
            answers = await asyncio.gather(*waiting)
        assert {answer.status_code for answer in answers} == {200}, "who waited is answered"
        names = [answer.headers["x-request-id"] for answer in answers]
        outcomes = await outcomes_of(disk, ["before", *names], 30)
        assert set(outcomes.values()) == {"ok"}


def test_a_full_disk_stops_the_start_with_a_sentence(disk: Path, tmp_path: Path) -> None:
    with full(disk):
        said = refusal_at_start(disk / "data", tmp_path / "bentoml")
    assert "No space left" in said


def test_a_disk_that_may_only_be_read_stops_the_start_with_a_sentence(
    disk: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    said = refusal_at_start(disk / "data", tmp_path / "bentoml")
    assert "Read-only" in said
    assert "PHI3_DATA_DIR" in said


def test_a_database_of_nonsense_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "phi3.db").write_bytes(os.urandom(20_000))
    said = refusal_at_start(tmp_path, tmp_path / "bentoml")
    assert "PHI3_DATABASE_URL" in said
    assert "not a database" in said


async def test_kept_answers_that_were_damaged_are_made_anew(tmp_path: Path) -> None:
    """The file was overwritten in its middle while the service was down."""
    answers = []
    for round_ in range(2):
        with running(bentoml_command(), tmp_path, ECHO) as service:
            async with open_client(service) as client:
                for _ in range(2):
                    answer = await client.post(ANSWERS, json=GREEDY)
                    assert answer.status_code == 200
                    answers.append((round_, answer.headers["cache-status"].split(";")[1].strip()))
        damage(tmp_path / "cache.db", after=4096)
    assert answers == [(0, "fwd=miss"), (0, "hit"), (1, "fwd=miss"), (1, "hit")]

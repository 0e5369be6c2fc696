"""Long prompts at full concurrency where memory is short: the kernel never has to end anything."""

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from loadtests.cgroup import Cgroup, cgroup
from loadtests.service import models_directory
from tests.faults.crowds import crowd
from tests.faults.figures import IS_LONG, Figures
from tests.support import Service, running, serve_command

pytestmark = [pytest.mark.engine, pytest.mark.timeout(0 if IS_LONG else 300)]

MIB = 2**20
MODEL, LIMIT_MIB = ("synthetic:phi-3-mini", 8192) if IS_LONG else ("phi3-demo", 2400)
CLIENTS = 110
"""More than are let in, who are 32 in the engine and 64 waiting."""

WORDS, TOKENS = (1000, 4) if IS_LONG else (1200, 8)
SAMPLE_S = 0.25
FAULT = f"long prompts at full concurrency, {MODEL} in a cgroup of {LIMIT_MIB:,} MiB"


@pytest.fixture(scope="module")
def group() -> Iterator[Cgroup]:
    with cgroup("phi3-faults", memory_bytes=LIMIT_MIB * MIB) as group:
        yield group


@pytest.fixture(scope="module")
def service(group: Cgroup, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("memory")
    (directory / "models").symlink_to(models_directory())
    command = [sys.executable, "-m", "loadtests.service", group.name, *serve_command()]
    settings = {"PHI3_MODEL": MODEL, "PHI3_FIRST_PIECE_LIMIT_S": "3000"}
    with running(command, directory, settings) as service:
        yield service


class Peak:
    """The most memory that a cgroup uses while the block runs."""

    def __init__(self, group: Cgroup) -> None:
        self.bytes = 0
        self._group = group
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.bytes = max(self.bytes, self._group.used_bytes())


async def test_what_does_not_fit_waits_or_is_refused(
    service: Service, group: Cgroup, figures: Figures
) -> None:
    with Peak(group) as peak:
        async with crowd(service, words=WORDS, tokens=TOKENS) as clients:
            answers = await asyncio.gather(*(clients.ask() for _ in range(CLIENTS)))
            after = await clients.ask()
    done = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert group.oom_kills() == 0
    assert peak.bytes < LIMIT_MIB * MIB
    assert done
    assert {answer.status for answer in refused} == {503}
    assert after.status == 200
    figures.note(FAULT, "peak", f"{peak.bytes / MIB:,.0f} MiB")
    figures.note(FAULT, "processes killed for memory", "0")
    figures.note(FAULT, f"of {CLIENTS} at once, answered", str(len(done)))

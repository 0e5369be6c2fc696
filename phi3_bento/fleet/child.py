"""A process of the fleet: its output goes to a file, and its descendants end with it."""

import asyncio
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

import psutil

from phi3_bento.engine.environment import usable_cores
from phi3_bento.fleet.leash import leashed
from phi3_bento.startup import said_in

POLL_S = 0.1


async def until(condition: Callable[[], bool], limit_s: float = float("inf")) -> bool:
    """Wait until the condition holds, at most so long; whether it holds."""
    deadline = monotonic() + limit_s
    while not (holds := condition()) and monotonic() < deadline:  # noqa: ASYNC110  # of processes
        await asyncio.sleep(POLL_S)
    return holds


class Child:
    """One process. It ends when this one does, however."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        cores: tuple[int, ...] = (),
        log_file: Path,
        given: bytes = b"",
    ) -> None:
        """Start it on `cores`, or all of ours; `given` is its standard input."""
        self.log_file = log_file
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the fleet's own commands
                leashed(list(command), cores or tuple(usable_cores())),
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.write(given)
            self._process.stdin.close()

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def last_words(self) -> str:
        """The last line that it printed."""
        try:
            lines = self.log_file.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        said = said_in(lines[-1]) if lines else "(it said nothing)"
        return said.removeprefix("phi3-bento: ")[:500]

    def terminate(self) -> None:
        """Ask it to end in an orderly way. Idempotent."""
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)

    async def ended(self, limit_s: float) -> bool:
        """Wait for its end, at most so long."""
        return await until(lambda: self.code is not None, limit_s)

    async def stop(self, limit_s: float) -> None:
        """End it, in an orderly way within `limit_s`, else at once. Idempotent."""
        self.terminate()
        if not await self.ended(limit_s):
            self.kill()
            await self.ended(POLL_S * 50)

    def kill(self) -> None:
        """End it and all its descendants at once. Idempotent."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()

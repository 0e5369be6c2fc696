"""Processes of a fleet: their cores, their end, what they said last."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from phi3_bento.fleet.child import Child, until
from tests.support import wait_for

CORES = tuple(sorted(os.sched_getaffinity(0)))


def child(tmp_path: Path, code: str, *, given: bytes = b"") -> Child:
    return Child(
        [sys.executable, "-c", code],
        environment=os.environ,
        cores=CORES[:1],
        log_file=tmp_path / "log",
        given=given,
    )


async def test_a_child_runs_on_its_cores_and_reads_what_it_is_given(tmp_path: Path) -> None:
    code = "import os, sys; print(os.sched_getaffinity(0), sys.stdin.read())"
    process = child(tmp_path, code, given=b"hello")
    assert await process.ended(30)
    assert process.code == 0
    assert process.last_words() == f"{{{CORES[0]}}} hello"


async def test_a_child_that_does_not_listen_is_killed_with_its_descendants(tmp_path: Path) -> None:
    inner = "import time; print('sleeps', flush=True); time.sleep(300)"
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"subprocess.run([sys.executable, '-c', {inner!r}], start_new_session=True)"
    )
    process = child(tmp_path, code)
    assert await until(lambda: process.last_words() == "sleeps", 30)
    (grandchild,) = psutil.Process(process._process.pid).children(recursive=True)
    await process.stop(0.5)
    assert process.code == -signal.SIGKILL
    assert psutil.wait_procs([grandchild], timeout=10)[0] == [grandchild]


def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """Not by a handler, which SIGKILL leaves no time for: by the kernel."""
    code = (
        "import os, sys, time; from pathlib import Path; from phi3_bento.fleet.child import Child;"
        "c = Child([sys.executable, '-c', 'import time; time.sleep(300)'], environment=os.environ,"
        f"cores={CORES!r}, log_file=Path({str(tmp_path / 'log')!r}));"
        "print(c._process.pid, flush=True); time.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        leashed = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: "300" in "".join(leashed.cmdline()[-1:]), "it has become its command")
        parent.kill()
        parent.wait()
    gone, _ = psutil.wait_procs([leashed], timeout=10)
    assert gone == [leashed]

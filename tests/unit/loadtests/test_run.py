"""The whole way, on the echo engine: a service is started, loaded, judged, and always ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtests import run
from loadtests.service import why_no_cgroup
from tests.support import REPOSITORY, wait_for

RUN = [sys.executable, "-m", "loadtests.run"]


def start(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Run a load test in its own process, with reports under `tmp_path`."""
    variables = {**os.environ, "PHI3_DATA_DIR": str(tmp_path / "data")}
    return subprocess.Popen(
        [*RUN, *arguments, "--engine", "echo", "--out", str(tmp_path / "out")],
        env=variables,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_run_ends_with_a_report_and_a_verdict(tmp_path: Path) -> None:
    command = ("decision", "--rate", "20", "--minutes", "0.05", "--threshold", "errors<=-1")
    process = start(tmp_path, *command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "FAILED" in output
    assert ("in a cgroup of CPUs" in output) is (why_no_cgroup() is None)
    text = (tmp_path / "out" / "decision-echo.md").read_text()
    assert "| errors ≤ -1 | 0 | FAILS |" in text
    assert "| refusals ≤ 0 | 0 | holds |" in text
    assert "python -m loadtests.run decision --rate 20" in text
    assert (tmp_path / "out" / "decision-echo.html").exists()


def test_a_run_that_is_ended_leaves_no_process(tmp_path: Path) -> None:
    process = start(tmp_path, "decision", "--minutes", "5", "--no-cgroup")
    runner = psutil.Process(process.pid)
    try:
        wait_for(lambda: process.poll() is not None or is_loading(runner), "load", 90)
        members = family(runner)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=90)
    finally:
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert len(members) >= 3
    _, alive = psutil.wait_procs(members, timeout=30)
    assert not alive


def is_loading(process: psutil.Process) -> bool:
    """The client runs."""
    return any("locust" in command_of(child) for child in family(process))


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended
        return ""


def family(process: psutil.Process) -> list[psutil.Process]:
    """What a process has started that still runs."""
    return [child for child in process.children(recursive=True) if child.is_running()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["decisions"],
        ["burst", "--find-rate"],
        ["normal", "--minutes", "1000"],
        ["normal", "--rate", "-1"],
        ["normal", "--set", "MODEL=x"],
        ["normal", "--threshold", "p95_ms<3"],
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err

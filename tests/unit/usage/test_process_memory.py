"""Memory of the process tree: every process once, by what it is."""

import subprocess
import sys

import psutil

from phi3_bento.usage.process_memory import memory_by_process


def test_a_process_that_was_started_counts_and_the_shell_that_started_us_does_not() -> None:
    before = memory_by_process()
    assert before["worker"] > 2**20
    assert before["frame"] == 0
    program = (
        "import time; block = bytearray(b'x' * 50_000_000); print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, "EngineCore"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        after = memory_by_process()
    finally:
        child.kill()
        child.communicate()
    assert 50_000_000 < after["engine"] - before["engine"] < 100_000_000
    rss = psutil.Process().memory_info().rss
    assert after["worker"] < rss <= 1.1 * (after["worker"] + after["shared"])

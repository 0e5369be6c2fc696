"""What clients and probes see when the engine's process dies and is not started again."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import psutil
import pytest

from tests.support import running, serve_command, wait_for

pytestmark = pytest.mark.engine

BODY = {
    "messages": [{"role": "user", "content": "Hello!"}],
    "max_tokens": 3500,
    "ignore_eos": True,
    "stream": True,
}


def lines_of_an_answer(url: str, has_begun: Event) -> list[str]:
    with httpx.stream("POST", url, json=BODY, timeout=30) as response:
        lines = filter(None, response.iter_lines())
        first = next(lines)
        has_begun.set()
        return [first, *lines]


def kill_in_the_midst(core: psutil.Process, has_begun: Event) -> None:
    """Kill it once the answer has begun.

    Until then it runs for moments only: however long this process or the service is paused, the
    answer does not end first.
    """
    for _ in range(100):
        core.resume()
        time.sleep(0.02)
        core.suspend()
        if has_begun.wait(0.1):
            break
    core.kill()


def test_an_engine_that_is_given_up_ends_streams_with_an_error_and_both_probes_say_so(
    tmp_path: Path,
) -> None:
    with running(serve_command(), tmp_path, {"PHI3_ENGINE_RESTARTS": "0"}) as service:
        url = f"{service.url}/v1/chat/completions"
        core = service.engine_core()
        with ThreadPoolExecutor(1) as client:
            has_begun = Event()
            answer = client.submit(lines_of_an_answer, url, has_begun)
            kill_in_the_midst(core, has_begun)
            lines = answer.result()
        assert lines[-1] == "data: [DONE]"
        assert '"error"' in lines[-2]
        wait_for(lambda: service.get("/readyz").status_code == 503, "not ready", 5)
        wait_for(lambda: service.get("/livez").status_code == 503, "not alive", 5)
        refused = httpx.post(url, json=BODY)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) <= 120
        service.terminate()
        wait_for(lambda: service.process.poll() is not None, "the end", 60)
        wait_for(lambda: not service.left_behind(), "no process left")

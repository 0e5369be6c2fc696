"""What clients and probes see when the engine's process dies and is not started again."""

import signal
from pathlib import Path

import httpx
import pytest

from tests.support import running, serve_command, wait_for

pytestmark = pytest.mark.engine

BODY = {
    "messages": [{"role": "user", "content": "Hello!"}],
    "max_tokens": 3500,
    "ignore_eos": True,
    "stream": True,
}


def test_an_engine_that_is_given_up_ends_streams_with_an_error_and_both_probes_say_so(
    tmp_path: Path,
) -> None:
    with running(serve_command(), tmp_path, {"PHI3_ENGINE_RESTARTS": "0"}) as service:
        url = f"{service.url}/v1/chat/completions"
        core = service.engine_core()
        with httpx.stream("POST", url, json=BODY, timeout=30) as response:
            lines = response.iter_lines()
            next(lines)
            core.send_signal(signal.SIGKILL)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert '"error"' in rest[-2]
        wait_for(lambda: service.get("/readyz").status_code == 503, "not ready", 5)
        wait_for(lambda: service.get("/livez").status_code == 503, "not alive", 5)
        refused = httpx.post(url, json=BODY)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) <= 120
        service.terminate()
        wait_for(lambda: service.process.poll() is not None, "the end", 60)
        wait_for(lambda: not service.left_behind(), "no process left")

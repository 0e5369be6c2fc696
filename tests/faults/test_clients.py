"""Clients hang up at every stage, and the service is told to end under load; nothing is left over.

One service for the module, and the tests run in their order: the last one ends it. The key of the
clients may have one request at once, so that a lease which does not come back is noticed.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

import httpx
import pytest

from tests.faults.clients import Seen, chat, create_key, open_client, stream
from tests.faults.figures import Figures
from tests.faults.ledgers import outcomes_of, rows
from tests.support import Service, running, serve_command, wait_for

pytestmark = pytest.mark.engine

ANSWERS = "/v1/chat/completions"
ENDLESS = {"max_tokens": 3500, "ignore_eos": True}
LONG_PROMPT = "word " * 2000
IN_PREFILL_S = 0.1
"""Its prompt takes 0.1 to 0.3 s; to ask what the engine does may take as long."""
ENDLESS_AFTER_IT = {**ENDLESS, "max_tokens": 1900, "n": 8}
"""Half a minute and more, so that a client which is late to hang up is in time all the same: on a
machine that stood still for seconds, single answers had come to their end before."""
HANG_S = 60.0
LOAD = 12
KEYS = {"one": ["--concurrent-requests", "1"], "many": []}


class Guarded:
    """A service with keys."""

    def __init__(self, service: Service, keys: dict[str, str]) -> None:
        self.service = service
        self.keys = keys

    def client(self, key: str = "one") -> httpx.AsyncClient:
        return open_client(self.service, 60, self.keys[key])

    def running(self) -> float:
        """Requests that vLLM works on or has waiting."""
        return self.service.metric("vllm:num_requests_running", "vllm:num_requests_waiting")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("guarded")
    keys = {name: create_key(directory, "--tenant", name, *limits) for name, limits in KEYS.items()}
    with running(serve_command(), directory, {"PHI3_OPEN_METRICS": "true"}) as service:
        yield Guarded(service, keys)


@asynccontextmanager
async def raw(
    guarded: Guarded, body: bytes, seen: Seen, path: str = ANSWERS
) -> AsyncIterator[asyncio.StreamReader]:
    """A request over a socket of its own, whose end is a plain hang-up."""
    host, _, port = guarded.service.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if body else 1000}",
        f"Authorization: Bearer {guarded.keys['one']}",
        f"X-Request-Id: {seen.request_id}",
    )
    writer.write("\r\n".join((*lines, "", "")).encode() + body)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def until_free(guarded: Guarded) -> float:
    """Until the engine has no work and the key may ask again; the seconds until the former."""
    began_at = monotonic()
    async with asyncio.timeout(HANG_S), guarded.client() as client:
        while await asyncio.to_thread(guarded.running):
            await asyncio.sleep(0.01)
        stopped_s = monotonic() - began_at
        while (await client.post(ANSWERS, json=chat("next", max_tokens=1))).status_code != 200:
            await asyncio.sleep(0.05)
    return stopped_s


@pytest.mark.parametrize("path", [ANSWERS, "/generate"])
async def test_before_the_body_is_there_nothing_has_begun(guarded: Guarded, path: str) -> None:
    seen = Seen()
    async with raw(guarded, b"", seen, path):
        await asyncio.sleep(0.2)
    await until_free(guarded)
    assert seen.request_id not in dict(rows(guarded.service.data_dir))
    assert "Traceback" not in guarded.service.output.read_text()


@pytest.mark.parametrize("is_stream", [True, False])
async def test_in_prefill_the_engine_stops(
    guarded: Guarded, figures: Figures, is_stream: bool
) -> None:
    seen, began_at = Seen(), monotonic()
    body = chat(f"{seen.request_id} {LONG_PROMPT}", **ENDLESS_AFTER_IT, stream=is_stream)
    async with raw(guarded, json.dumps(body).encode(), seen):
        await asyncio.sleep(IN_PREFILL_S)
    left_s = monotonic() - began_at
    stopped_s = await until_free(guarded)
    outcomes = await outcomes_of(guarded.service.data_dir, [seen.request_id])
    times = f"left after {left_s:.2f} s, engine idle {stopped_s:.2f} s later"
    assert outcomes == {seen.request_id: "aborted"}, times
    kind = "streamed" if is_stream else "not streamed"
    figures.note(
        "the client hangs up", f"in prefill, {kind}: engine idle after", f"{stopped_s:.2f} s"
    )


@pytest.mark.parametrize("kept", [{}, {"temperature": 0}])
async def test_in_the_middle_of_a_stream_the_engine_stops(
    guarded: Guarded, figures: Figures, kept: dict[str, int]
) -> None:
    seen = Seen()
    body = chat(seen.request_id, **ENDLESS, **kept, stream=True)
    async with raw(guarded, json.dumps(body).encode(), seen) as reader:
        await reader.readuntil(b'"content":"')
        await asyncio.sleep(0.2)
    stopped_s = await until_free(guarded)
    outcomes = await outcomes_of(guarded.service.data_dir, [seen.request_id])
    assert outcomes == {seen.request_id: "aborted"}
    kind = "an answer to be kept" if kept else "in mid-stream"
    figures.note("the client hangs up", f"{kind}: engine idle after", f"{stopped_s:.2f} s")


async def test_while_it_waits_for_its_turn_it_never_begins(guarded: Guarded) -> None:
    """The engine is full of others' work; the one that waits leaves."""
    others = [chat(f"{number}", **ENDLESS, stream=True) for number in range(32)]
    async with guarded.client("many") as client:
        work = [asyncio.create_task(stream(client, body, Seen())) for body in others]
        async with asyncio.timeout(HANG_S):
            while await asyncio.to_thread(guarded.running) < len(others):
                await asyncio.sleep(0.05)
        seen = Seen()
        async with raw(guarded, json.dumps(chat("me too", stream=True)).encode(), seen):
            await asyncio.sleep(0.5)
        outcomes = await outcomes_of(guarded.service.data_dir, [seen.request_id])
        assert outcomes == {seen.request_id: "aborted"}
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    await until_free(guarded)


async def test_sigterm_under_load_lets_answers_finish_and_loses_nothing(
    guarded: Guarded, figures: Figures
) -> None:
    """Runs last: it ends the service of this module."""
    service, answered, refused, broken = guarded.service, [], [], []
    begun_at_the_end: list[Seen] = []
    at_the_end: list[Seen] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        """One after the other until the service is gone; every other a stream."""
        while service.process.poll() is None:
            seen = Seen()
            begun_at_the_end[number : number + 1] = [seen]
            body = chat(seen.request_id, max_tokens=200, ignore_eos=True, stream=True)
            await stream(client, body, seen)
            if seen.status is None:
                return  # nobody listens any more, and nothing was begun
            (answered if seen.is_complete else broken if seen.cut else refused).append(seen)
            if seen.status == 503:
                await asyncio.sleep(0.05)

    async with guarded.client("many") as client:
        begun_at_the_end = [Seen() for _ in range(LOAD)]
        work = [asyncio.create_task(ask(client, number)) for number in range(LOAD)]
        async with asyncio.timeout(60):
            # They end all together: none of them runs in the moment after it.
            while len(answered) < 2 * LOAD or not at_the_end:
                await asyncio.sleep(0.05)
                at_the_end = [seen for seen in begun_at_the_end if seen.began_at]
        service.terminate()
        ended_at = monotonic()
        await asyncio.gather(*work)
    await asyncio.to_thread(wait_for, lambda: service.process.poll() is not None, "the end", 60)
    figures.note(
        "SIGTERM under load", "everything has ended after", f"{monotonic() - ended_at:.1f} s"
    )
    assert service.process.returncode == 0
    await asyncio.to_thread(wait_for, lambda: not service.left_behind(), "no process is left")
    assert at_the_end
    assert all(seen.is_complete for seen in at_the_end), "what ran was finished"
    assert broken == []
    assert {seen.status for seen in refused} <= {503}
    outcomes = await outcomes_of(service.data_dir, [seen.request_id for seen in answered])
    assert set(outcomes.values()) == {"ok"}
    figures.note("SIGTERM under load", f"of {LOAD} streams, finished", str(len(at_the_end)))
    figures.note("SIGTERM under load", "answers without a row, broken answers", "0")

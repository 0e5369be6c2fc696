"""The engine is killed, or stands still, under load: all streams end, and it comes back alone."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

import httpx
import psutil
import pytest

from tests.faults.clients import Seen, Streams, chat, open_client, seconds_until, stream
from tests.faults.figures import Figures
from tests.faults.ledgers import outcomes_of
from tests.support import Service, running, serve_command, wait_for

pytestmark = pytest.mark.engine

KEPT = chat("Hello! What are you?", temperature=0, max_tokens=60)
ANSWERS = "/v1/chat/completions"
STREAMS = 8
LAST = f"the last of {STREAMS} streams has its error event after"
HANG_S = 30.0
"""Bounds that catch a hang; what is promised is measured by `make faults`."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = {
        "PHI3_STALL_LIMIT_S": "3",
        "PHI3_REPLACE_AFTER_S": "1",
        "PHI3_ENGINE_RESTARTS": "20",
    }
    with running(serve_command(), tmp_path_factory.mktemp("victim"), options) as service:
        yield service


def is_alive(process: psutil.Process) -> bool:
    """It runs; one that has ended and waits for its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until_ready(service: Service) -> float:
    return await seconds_until(service, "/readyz", 200, 240)


async def test_a_killed_engine_ends_all_streams_with_an_error_and_comes_back(
    victim: Service, figures: Figures
) -> None:
    fault = "EngineCore killed"
    core = victim.engine_core()
    async with open_client(victim) as client:
        kept = (await client.post(ANSWERS, json=KEPT)).json()["choices"]
        streams = Streams(client, STREAMS)
        unstreamed = asyncio.create_task(client.post(ANSWERS, json=chat("x", max_tokens=3500)))
        await streams.all_begun()
        core.send_signal(signal.SIGKILL)
        killed_at = monotonic()
        noticed_s = await seconds_until(victim, "/readyz", 503, HANG_S)
        seen = await streams.all_ended(HANG_S)
        assert (await unstreamed).status_code in (200, 503)
        assert all(each.failed for each in seen), [each.events[-2:] for each in seen]
        # Meanwhile it is alive, answers what was kept, and tells all others when to come back.
        assert (await client.get("/livez")).status_code == 200
        again = await client.post(ANSWERS, json=KEPT)
        assert (again.status_code, again.json()["choices"]) == (200, kept)
        refused = await client.post(ANSWERS, json=chat("something new"))
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        await until_ready(victim)
        back_s = monotonic() - killed_at
        answer = await client.post(ANSWERS, json={**KEPT, "seed": 1})
        assert answer.json()["choices"][0]["message"] == kept[0]["message"]
    outcomes = await outcomes_of(victim.data_dir, [each.request_id for each in seen])
    assert set(outcomes.values()) == {"service_unavailable"}
    assert victim.engine_core().pid != core.pid
    last_s = max(each.ended_at or 0 for each in seen) - killed_at
    figures.note(fault, "`/readyz` says 503 after", f"{noticed_s:.2f} s")
    figures.note(fault, LAST, f"{last_s:.2f} s")
    figures.note(fault, "ready again after", f"{back_s:.1f} s")
    figures.note(fault, "streams without an end or a row", "0")


async def test_an_engine_that_stands_still_is_noticed_and_replaced(
    victim: Service, figures: Figures
) -> None:
    fault = "EngineCore stopped (SIGSTOP), stall limit 3 s, replaced 1 s later"
    core = victim.engine_core()
    async with open_client(victim) as client:
        streams = Streams(client, STREAMS)
        await streams.all_begun()
        core.send_signal(signal.SIGSTOP)
        stopped_at = monotonic()
        noticed_s = await seconds_until(victim, "/readyz", 503, HANG_S)
        seen = await streams.all_ended(HANG_S)
        assert all(each.failed for each in seen), [each.events[-2:] for each in seen]
        await until_ready(victim)
        back_s = monotonic() - stopped_at
    await outcomes_of(victim.data_dir, [each.request_id for each in seen])
    assert not is_alive(core)
    assert "The engine is stalled" in victim.output.read_text()
    last_s = max(each.ended_at or 0 for each in seen) - stopped_at
    figures.note(fault, "`/readyz` says 503 after", f"{noticed_s:.2f} s")
    figures.note(fault, LAST, f"{last_s:.2f} s")
    figures.note(fault, "ready again after", f"{back_s:.1f} s")


async def test_clients_who_give_up_early_do_not_hide_that_it_stands_still(victim: Service) -> None:
    core = victim.engine_core()
    core.send_signal(signal.SIGSTOP)
    async with open_client(victim, timeout_s=1.9) as client:
        for number in range(10):
            with pytest.raises(httpx.ReadTimeout):
                await client.post(ANSWERS, json=chat(f"are you there? {number}"))
            if (await client.get("/readyz")).status_code == 503:
                break
        else:
            pytest.fail("nobody noticed")
    await until_ready(victim)
    assert not is_alive(core)


async def test_idle_and_a_long_prefill_are_not_mistaken_for_it(victim: Service) -> None:
    core = victim.engine_core()
    await asyncio.sleep(5)  # longer than stall limit and replacement together
    async with open_client(victim) as client:
        assert (await client.get("/readyz")).status_code == 200
        prompts = (chat(f"{number} " + "word " * 3000, max_tokens=1) for number in range(24))
        work = [asyncio.create_task(client.post(ANSWERS, json=prompt)) for prompt in prompts]
        while not all(task.done() for task in work):
            assert (await client.get("/readyz")).status_code == 200
            await asyncio.sleep(0.1)
        assert {task.result().status_code for task in work} == {200}
    assert victim.engine_core().pid == core.pid


async def test_a_killed_worker_is_replaced_and_leaves_no_engine(
    victim: Service, figures: Figures
) -> None:
    """Another process sends its streams the end that it cannot send any more."""
    fault = "BentoML's worker killed"
    core = victim.engine_core()
    worker = psutil.Process(core.ppid())
    async with open_client(victim) as client:
        streams = Streams(client, STREAMS)
        await streams.all_begun()
        worker.kill()
        killed_at = monotonic()
        seen = await streams.all_ended(HANG_S)
        assert all(each.failed for each in seen)
        last_s = max(each.ended_at or 0 for each in seen) - killed_at
        await asyncio.to_thread(wait_for, lambda: not is_alive(core), "the engine has ended")
        gone_s = monotonic() - killed_at
        await until_ready(victim)
        back_s = monotonic() - killed_at
    assert victim.engine_core().pid != core.pid
    async with open_client(victim) as client:
        assert (await stream(client, chat("one", stream=True), Seen())).is_complete
    figures.note(fault, "the last of its streams has ended after", f"{last_s:.2f} s")
    figures.note(fault, "its engine has ended after", f"{gone_s:.2f} s")
    figures.note(fault, "ready again after", f"{back_s:.1f} s")


def test_a_killed_arbiter_takes_everything_with_it(victim: Service) -> None:
    """Runs last: it ends the service of this module."""
    descendants = victim.tree()
    (arbiter,) = psutil.Process(victim.process.pid).children()
    arbiter.kill()
    wait_for(lambda: victim.process.poll() is not None, "the launcher has ended", HANG_S)
    assert victim.process.returncode != 0
    wait_for(lambda: not any(is_alive(each) for each in descendants), "no process is left", 60)


def loads(service: Service) -> bool:
    """vLLM's processes are being started."""
    try:
        return "starting vLLM" in service.get("/health").text
    except httpx.TransportError:
        return False


def has_engine_process(service: Service) -> bool:
    """Python's own name of a spawned process; vLLM gives it another one later."""
    for process in service.tree():
        with suppress(psutil.NoSuchProcess):  # a short-lived one
            name = " ".join(process.cmdline())
            if "spawn_main" in name or "EngineCore" in name:
                return True
    return False


def test_sigterm_during_the_start_ends_it_at_once(tmp_path: Path, figures: Figures) -> None:
    with running(serve_command(), tmp_path, is_up=loads) as service:
        wait_for(lambda: has_engine_process(service), "the engine's process", 120)
        service.terminate()
        with figures.timed("SIGTERM while the engine starts", "everything has ended after"):
            wait_for(lambda: service.process.poll() is not None, "the end", 60)
        assert service.process.returncode == 0
        wait_for(lambda: not any(is_alive(each) for each in service.descendants), "none is left")

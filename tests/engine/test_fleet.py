"""Two replicas of the demo model behind the router: spreading, a hot prefix, death under load."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.fleets import Fleet, Outcome, Traffic, running_fleet, traffic
from tests.support import wait_for

pytestmark = pytest.mark.engine

RULE = "answer questions of this kind in one word."
COMMON = " ".join(f"Rule {number}: {RULE}" for number in range(40))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    env = {"PHI3_MEMORY": "3GiB", "PHI3_CACHE": "false", "PHI3_MAX_SEQUENCES": "8"}
    with running_fleet(tmp_path_factory.mktemp("fleet"), env) as fleet:
        yield fleet


def answered(fleet: Fleet) -> list[int]:
    """How many requests each replica has answered, as far as the supervisor knows."""
    return [int(replica["answered"]) for replica in fleet.status()["replicas"]]


def shared_out(fleet: Fleet, before: list[int], count: int) -> list[int]:
    """Of `count` requests that were answered since `before`: how many by each replica."""
    shares = [0, 0]

    def are_all_counted() -> bool:
        shares[:] = [new - old for new, old in zip(answered(fleet), before, strict=True)]
        return sum(shares) >= count

    wait_for(are_all_counted, "the supervisor has read the metrics")
    return shares


async def test_load_is_spread(fleet: Fleet) -> None:
    before = await asyncio.to_thread(answered, fleet)
    async with traffic(fleet, 8, "{number} is asked about the port.", max_tokens=16) as run:
        await asyncio.sleep(8)
    assert run.failures == []
    shares = await asyncio.to_thread(shared_out, fleet, before, run.whole)
    assert min(shares) > 0.2 * run.whole


@pytest.mark.parametrize("topic", ["parcels", "invoices"])
async def test_a_prefix_goes_where_it_is_known(fleet: Fleet, topic: str) -> None:
    """Sent at random, one of two replicas would know it half of the time."""
    prefix = COMMON.replace("questions", topic)
    shares = [await _cached_share(fleet, f"{prefix} Question {number}?") for number in range(8)]
    assert shares[0] < 0.1
    assert min(shares[1:]) > 0.8


async def test_a_hot_prefix_does_not_overload_one_replica(fleet: Fleet) -> None:
    """Sixteen clients with one prefix: affinity alone would send all of them to one replica."""
    most = [0, 0]
    async with traffic(fleet, 16, COMMON + " Question {number}?", max_tokens=32) as run:
        for _ in range(40):
            loads = [await _load(fleet, number) for number in (1, 2)]
            most = [max(pair) for pair in zip(most, loads, strict=True)]
            await asyncio.sleep(0.2)
    assert run.failures == []
    assert max(most) <= 12
    assert min(most) >= 4


async def test_a_killed_replica_loses_the_streams_that_it_was_running(fleet: Fleet) -> None:
    """SIGKILL for all its processes. What had no first byte is answered by the other replica,
    what had one ends with an error event.
    """
    long = {"max_tokens": 300, "ignore_eos": True}
    async with traffic(fleet, 6, "{number} streams.", streams=True, **long) as streams:
        await asyncio.to_thread(wait_for, lambda: len(_begun(streams)) == 6, "six streams", 60)
        lost = await _load(fleet, 1)
        async with traffic(fleet, 4, "{number} waits.", streams=False, **long) as others:
            await asyncio.sleep(0.5)
            assert len(_begun(streams)) == 6, "they are all as they were counted"
            for process in await asyncio.to_thread(fleet.processes_of, 1):
                process.kill()
            streams.stop()
            await asyncio.sleep(1)
    assert lost > 0
    assert len(streams.failures) == lost
    assert others.failures == []
    for stream in streams.failures:
        assert "The process that answered has ended." in stream.failure
        assert stream.failure.endswith("data: [DONE]\n\n")


async def test_a_killed_replica_is_back_and_takes_load_again(fleet: Fleet) -> None:
    await asyncio.to_thread(wait_for, lambda: len(fleet.listed()) == 2, "both replicas", 120)
    assert fleet.replica(1)["restarts"] == 1
    before = await asyncio.to_thread(answered, fleet)
    async with traffic(fleet, 8, "{number} is asked again.", max_tokens=16) as again:
        await asyncio.sleep(5)
    assert again.failures == []
    assert min(await asyncio.to_thread(shared_out, fleet, before, again.whole)) > 0


async def test_a_rolling_restart_under_load_fails_no_request(fleet: Fleet) -> None:
    """Each is drained, replaced, and added again; answers take a good part of a second."""
    before = {process.pid for number in (1, 2) for process in fleet.processes_of(number)}
    async with traffic(fleet, 4, "{number} is asked meanwhile.", max_tokens=96) as run:
        await asyncio.to_thread(fleet.must, "restart")
    after = {process.pid for number in (1, 2) for process in fleet.processes_of(number)}
    assert not before & after
    assert run.failures == []
    assert run.whole > 16


def _begun(run: Traffic) -> list[Outcome]:
    return [each for each in run.outcomes if each.is_stream and each.has_begun and not each.is_over]


async def _cached_share(fleet: Fleet, text: str) -> float:
    """How much of a prompt its replica had in its KV cache."""
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 1}
    async with httpx.AsyncClient(headers=fleet.headers, timeout=60) as client:
        response = await client.post(f"{fleet.url}/v1/chat/completions", json=body)
    usage = response.json()["usage"]
    return float(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])


async def _load(fleet: Fleet, number: int) -> int:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{fleet.replica_url(number)}/load")
        return int(response.json()["server_load"])

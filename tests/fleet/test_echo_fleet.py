"""Two replicas of the echo engine behind the router: what is shared, and how a fleet is changed.

The tests stand in their order: each leaves two replicas that answer.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.fleets import Fleet, running_fleet, traffic
from tests.support import wait_for

WORDS = "{number} so that an answer takes about half a second"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    env = {"PHI3_ENGINE": "echo", "PHI3_ECHO_WORD_S": "0.05"}
    with running_fleet(tmp_path_factory.mktemp("echo-fleet"), env) as fleet:
        yield fleet


def body(text: str, **rest: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **rest}


def test_status_shows_the_replicas(fleet: Fleet) -> None:
    status = json.loads(fleet.must("status", "--json"))
    assert [replica["phase"] for replica in status["replicas"]] == ["ready", "ready"]
    assert status["replicas"][0]["cores"] != status["replicas"][1]["cores"]
    assert "ready" in fleet.must("status")


def test_a_fleet_wants_a_key(fleet: Fleet) -> None:
    """The router hides where a request comes from, so that nothing may depend on that."""
    response = httpx.post(f"{fleet.url}/v1/chat/completions", json=body("hi"))
    assert response.status_code == 401
    assert (fleet.directory / "key").stat().st_mode & 0o077 == 0


def test_an_answer_is_a_hit_in_every_replica(fleet: Fleet) -> None:
    question = body("kept for all", temperature=0)
    assert fleet.post(question).headers["cache-status"] == "phi3; fwd=miss; stored"

    def is_hit(number: int) -> bool:
        return fleet.post(question, number).headers["cache-status"].startswith("phi3; hit")

    for number in (1, 2):
        wait_for(lambda number=number: is_hit(number), f"a hit in replica {number}")  # type: ignore[misc]


def test_a_limit_is_one_for_all_replicas(fleet: Fleet) -> None:
    """A quota of three in a minute: the fourth is refused, whichever replica is asked."""
    done = _keys(fleet, "create", "--tenant", "acme", "--requests-per-minute", "3")
    headers = {"authorization": f"Bearer {done.strip()}"}
    statuses = [
        httpx.post(
            f"{fleet.replica_url(1 + turn % 2)}/v1/chat/completions",
            json=body(f"turn {turn}"),
            headers=headers,
        ).status_code
        for turn in range(4)
    ]
    assert statuses == [200, 200, 200, 429]


def test_native_parameters_that_the_router_drops_are_refused(fleet: Fleet) -> None:
    request = {"prompt": "one two three", "max_tokens": 1}
    routed = httpx.post(f"{fleet.url}/generate", json=request, headers=fleet.headers)
    direct = httpx.post(f"{fleet.replica_url(1)}/generate", json=request, headers=fleet.headers)
    assert routed.status_code == 400
    assert direct.json()["text"] == "one"


def test_who_is_no_replica_gets_no_requests(fleet: Fleet) -> None:
    """Whoever reaches the router may name it another; it reaches none, and the list is mended."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{fleet.url}/add_worker",
            params={"url": f"http://127.0.0.2:{fleet.port + 1}"},
            timeout=2,
        )
    httpx.post(f"{fleet.url}/remove_worker", params={"url": fleet.replica_url(1)})
    wait_for(
        lambda: sorted(fleet.listed()) == [fleet.replica_url(1), fleet.replica_url(2)],
        "the list is true again",
    )


async def test_drain_and_add_under_load_fail_no_request(fleet: Fleet) -> None:
    async with traffic(fleet, 8, WORDS) as run:
        await asyncio.sleep(1)
        await asyncio.to_thread(fleet.must, "drain", "1")
        assert fleet.replica(1)["phase"] == "empty"
        assert fleet.listed() == [fleet.replica_url(2)]
        refused = await asyncio.to_thread(fleet.run, "drain", "2")
        assert "is the only one that answers" in refused.stderr
        await asyncio.to_thread(fleet.must, "add")
        answers = "the replica that was added answers"
        await asyncio.to_thread(wait_for, lambda: fleet.replica(1)["answered"] > 0, answers)
    assert run.failures == []
    assert run.whole > 16


async def test_a_rolling_restart_under_load_fails_no_request(fleet: Fleet) -> None:
    before = {process.pid for number in (1, 2) for process in fleet.processes_of(number)}
    async with traffic(fleet, 8, WORDS) as run:
        await asyncio.to_thread(fleet.must, "restart")
    after = {process.pid for number in (1, 2) for process in fleet.processes_of(number)}
    assert not before & after
    assert run.failures == []
    assert run.whole > 16


def test_a_replica_that_stops_making_progress_gets_no_requests(fleet: Fleet) -> None:
    frozen = fleet.processes_of(2)
    for process in frozen:
        process.suspend()
    try:
        wait_for(lambda: fleet.listed() == [fleet.replica_url(1)], "it is out of the list")
        assert fleet.replica(2)["phase"] == "unwell"
        assert fleet.post(body("goes on")).status_code == 200
    finally:
        for process in frozen:
            process.resume()
    wait_for(lambda: len(fleet.listed()) == 2, "it is back")


def test_the_router_comes_back_after_its_end(fleet: Fleet) -> None:
    (router,) = (child for child in fleet.tree() if "router" in " ".join(child.cmdline()))
    router.kill()
    wait_for(lambda: fleet.status()["router"]["restarts"] == 1, "a new router")
    wait_for(lambda: _answers(fleet), "it answers")


def test_two_fleets_do_not_share_a_directory(fleet: Fleet) -> None:
    """It is told what is wrong, and not that the first one's ports are busy."""
    assert "A fleet runs already" in fleet.run("up").stderr


def test_all_end_when_the_supervisor_is_killed(fleet: Fleet) -> None:
    """The last test: it ends the fleet."""
    tree = fleet.tree()
    assert len(tree) > 6
    fleet.process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(tree, timeout=60)
    assert alive == []


def _answers(fleet: Fleet) -> bool:
    try:
        return fleet.post(body("again")).status_code == 200
    except httpx.TransportError:
        return False


def _keys(fleet: Fleet, *arguments: str) -> str:
    command = [sys.executable, "-m", "phi3_bento", "keys", *arguments]
    env = {**os.environ, **fleet.variables}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

"""A fleet that cannot start says why in a sentence, and leaves nothing behind."""

import os
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.fleets import fleet_command, free_ports
from tests.support import REPOSITORY, free_port


def refused(tmp_path: Path, *arguments: str, **env: str) -> str:
    """What `fleet up` says; it must fail, and none of its processes may be left."""
    port = str(env.pop("PHI3_PORT", free_ports()))
    variables = {"PHI3_PORT": port, "PHI3_DATA_DIR": str(tmp_path), "PHI3_ENGINE": "echo", **env}
    done = subprocess.run(
        fleet_command("up", *arguments),
        env={**os.environ, **variables},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["environ"] or {}).get("PHI3_DATA_DIR") == str(tmp_path)
    ]
    assert left == []
    assert not (tmp_path / "fleet" / "control.sock").exists()
    return done.stderr.removeprefix("phi3-bento: ").strip()


def test_more_replicas_than_cores(tmp_path: Path) -> None:
    count = len(os.sched_getaffinity(0)) + 1
    text = refused(tmp_path, "--replicas", str(count))
    assert text.startswith(f"{count} replicas need a core each, and this process may use")


def test_more_replicas_than_memory_allows(tmp_path: Path) -> None:
    each = psutil.virtual_memory().total // 2**30
    text = refused(tmp_path, PHI3_MEMORY=f"{each}GiB")
    assert text.startswith(f"2 replicas of {each}.0 GiB need {2 * each}.0 GiB")


def test_a_model_that_does_not_fit_a_share(tmp_path: Path) -> None:
    text = refused(tmp_path, PHI3_MEMORY="1GiB", PHI3_ENGINE="vllm")
    assert text.startswith("The model needs 2.")


@pytest.mark.parametrize("offset", [0, 2, 100, 101])
def test_a_busy_port(tmp_path: Path, offset: int) -> None:
    port = free_ports()
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", port + offset))
        busy.listen()
        text = refused(tmp_path, PHI3_PORT=str(port))
    assert text.startswith(f"Port {port + offset} on 127.0.0.1 cannot be used")


@pytest.mark.parametrize("name", ["PHI3_LIMITS_URL", "PHI3_CACHE_URL"])
def test_a_dead_redis(tmp_path: Path, name: str) -> None:
    text = refused(tmp_path, **{name: f"redis://:hush@127.0.0.1:{free_port()}/0"})
    assert text.startswith(f"The Redis of {name} does not answer (ConnectionError")
    assert "hush" not in text


def test_a_dead_database(tmp_path: Path) -> None:
    url = f"postgresql://phi3:hush@127.0.0.1:{free_port()}/phi3"
    text = refused(tmp_path, PHI3_DATABASE_URL=url)
    assert "database" in text
    assert "hush" not in text


@pytest.mark.parametrize("name", ["PHI3_LIMITS_URL", "PHI3_CACHE_URL"])
def test_what_is_each_replicas_own(tmp_path: Path, name: str) -> None:
    assert "each replica by itself" in refused(tmp_path, **{name: "memory://"})


def test_without_redis(tmp_path: Path) -> None:
    text = refused(tmp_path, PATH="/nowhere")
    assert text.startswith("Replicas count limits together, in Redis. Install it")


def test_an_address_that_others_reach(tmp_path: Path) -> None:
    assert "whoever reaches vllm-router" in refused(tmp_path, PHI3_HOST="192.0.2.1")


def test_an_unknown_policy_and_one_that_needs_two(tmp_path: Path) -> None:
    assert "'fastest' is not one of" in refused(tmp_path, "--policy", "fastest")
    text = refused(tmp_path, "--policy", "power_of_two", "--replicas", "1")
    assert text.startswith("The policy power_of_two chooses between two")


def test_a_replica_that_ends_at_its_start_takes_the_fleet_along(tmp_path: Path) -> None:
    """Found only when the replicas run: everything else has been started by then."""
    pack = tmp_path / "no-pack.jsonl"
    text = refused(tmp_path, PHI3_WARM_CACHE=str(pack))
    assert text.startswith("Replica ")
    assert "no-pack.jsonl" in text

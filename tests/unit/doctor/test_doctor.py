"""`phi3-bento doctor` finds what is wrong: each problem is planted for real, one at a time."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phi3_bento import engine_choice
from phi3_bento.cli import cli
from phi3_bento.doctor import machine
from phi3_bento.doctor.finding import State
from phi3_bento.doctor.installation import check_libraries
from phi3_bento.engine.environment import memory_limit
from phi3_bento.models.source import DEMO_DIRECTORY
from tests.support import EchoServer, free_port
from tests.unit.doctor.machines import Machine


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_nothing_is_wrong_with_the_machine_of_the_tests_and_nothing_is_changed(
    fresh: Machine,
) -> None:
    assert fresh.problems() == {}
    assert not fresh.data_dir.exists()


def test_1_an_occupied_port(fresh: Machine, listening: int) -> None:
    fresh.plant(PHI3_PORT=str(listening))
    said = fresh.the_problem("port")
    assert f"Port {listening} on 127.0.0.1 cannot be used" in said
    assert f"process {os.getpid()}" in said


@pytest.mark.parametrize("place", ["/proc/phi3-bento", "a file/data"])
def test_2_a_directory_that_cannot_be_written(fresh: Machine, tmp_path: Path, place: str) -> None:
    """No permissions: a test that runs as root may write wherever there is a file system."""
    (tmp_path / "a file").touch()
    fresh.plant(PHI3_DATA_DIR=str(tmp_path / place))
    assert "Set PHI3_DATA_DIR" in fresh.the_problem("directory")


def test_5_too_little_memory_for_the_model(fresh: Machine) -> None:
    fresh.plant(PHI3_MEMORY="1GiB")
    said = fresh.the_problem("memory")
    assert "PHI3_MEMORY is 1.0 GiB" in said
    assert "model prepare" in said


def test_5_a_cgroup_that_allows_too_little(fresh: Machine, tmp_path: Path) -> None:
    """A control group's files as the kernel shows them: not every machine lets a test make one."""
    group = tmp_path / "sys/fs/cgroup/phi3"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("1500000000\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/phi3\n")
    for module in (machine, engine_choice):
        fresh.environment.setattr(module, "memory_limit", lambda: memory_limit(tmp_path))
    said = fresh.the_problem("memory")
    assert "the cgroup allows 1.4 GiB. Raise its limit" in said
    assert "PHI3_MEMORY is" not in said


def test_6_a_truncated_model(fresh: Machine, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(DEMO_DIRECTORY, copy)
    (weights,) = copy.glob("*.safetensors")
    os.truncate(weights, weights.stat().st_size - 1000)
    fresh.plant(PHI3_MODEL=str(copy))
    assert "truncated or damaged" in fresh.the_problem("model")


def test_7_keys_of_another_secret(fresh: Machine) -> None:
    fresh.command("keys", "create", "--tenant", "acme")
    assert fresh.problems() == {}
    fresh.plant(PHI3_SECRET="another secret than that of the file")
    assert "1 of 1 active keys were made under another secret" in fresh.the_problem("keys")


def test_8_a_secret_that_was_lost(fresh: Machine) -> None:
    fresh.command("keys", "create", "--tenant", "acme")
    secret = fresh.data_dir / "secret"
    kept = secret.read_text()
    secret.unlink()
    assert "secret is missing" in fresh.the_problem("keys")
    assert not secret.exists()
    secret.write_text(kept)
    assert fresh.problems() == {}


def test_9_a_library_that_is_not_there(fresh: Machine, tmp_path: Path) -> None:
    fresh.plant(LD_PRELOAD=f"{tmp_path}/libtcmalloc.so.4")
    assert "libtcmalloc.so.4, which is not there" in fresh.the_problem("libraries")


def test_9_a_library_that_the_system_lacks() -> None:
    found = check_libraries({}, numa="libnuma-of-nobody.so.1")
    assert found.state is State.PROBLEM
    assert "libnuma-of-nobody.so.1 cannot be loaded" in found.says
    assert "apt-get install libnuma1" in str(found.remedy)


def test_10_a_misspelt_setting(fresh: Machine) -> None:
    fresh.plant(PHI3_MEMROY="4GiB")
    assert "Did you mean PHI3_MEMORY?" in fresh.the_problem("settings")


def test_11_a_value_that_cannot_be_used_hides_no_other_problem(
    fresh: Machine, listening: int
) -> None:
    fresh.plant(PHI3_MAX_SEQUENCES="many", PHI3_PORT=str(listening))
    found = fresh.problems()
    assert set(found) == {"settings", "port"}
    assert "PHI3_MAX_SEQUENCES" in found["settings"]


def test_12_others_reach_it_and_there_is_no_key(fresh: Machine) -> None:
    fresh.plant(PHI3_HOST="0.0.0.0")  # noqa: S104
    assert "keys create" in fresh.the_problem("keys")
    fresh.command("keys", "create", "--tenant", "acme")
    assert fresh.problems() == {}


@pytest.mark.parametrize(
    ("package", "version", "said"),
    [
        ("httpx", "0.0.1", "httpx 0.0.1 instead of"),
        ("torchvision", "0.27.0", "torchvision is installed, and breaks vLLM"),
    ],
)
def test_16_packages_that_are_not_the_lock_s(
    fresh: Machine, tmp_path: Path, package: str, version: str, said: str
) -> None:
    """As `pip install` beside the lock leaves it, or a directory in PYTHONPATH."""
    information = tmp_path / "packages" / f"{package}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    )
    fresh.environment.syspath_prepend(tmp_path / "packages")
    assert said in fresh.the_problem("packages")


def test_17_more_threads_than_cores(fresh: Machine) -> None:
    fresh.plant(PHI3_THREADS="512")
    assert "PHI3_THREADS" in fresh.the_problem("cores")


def test_a_service_that_runs_already_is_no_problem(fresh: Machine, echo: EchoServer) -> None:
    fresh.plant(PHI3_PORT=echo.url.rpartition(":")[2])
    assert fresh.problems() == {}
    result = CliRunner().invoke(cli, ["doctor", "--quick"])
    assert "with phi3-echo listens" in result.stdout


def test_a_model_that_is_still_to_come_is_a_warning(fresh: Machine) -> None:
    fresh.plant(PHI3_MODEL="microsoft/Phi-3-mini-4k-instruct", HF_HUB_OFFLINE="1")
    assert fresh.problems() == {}
    text = CliRunner().invoke(cli, ["doctor", "--quick"]).stdout
    assert "phi3-bento model prepare microsoft/Phi-3-mini-4k-instruct" in text
    assert "1 warning" in text or "2 warnings" in text


@pytest.mark.engine
def test_the_whole_command_imports_vllm_and_ends_with_a_code(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PHI3_DATA_DIR": str(tmp_path),
        "PHI3_PORT": str(free_port()),
        "PHI3_TYPO": "1",
    }
    command = [sys.executable, "-m", "phi3_bento", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "vLLM can be imported" in done.stdout
    assert "There is no setting PHI3_TYPO" in done.stdout
    assert "→" in done.stdout
    assert "1 problem, " in done.stdout

"""`phi3-bento doctor` finds what is wrong: each problem is planted for real, one at a time."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phi3_bento import engine_choice
from phi3_bento.cli import cli
from phi3_bento.doctor import machine, place
from phi3_bento.doctor.finding import State
from phi3_bento.engine.budget import GIB, MemoryPlan
from phi3_bento.engine.environment import memory_limit
from phi3_bento.models.source import DEMO_DIRECTORY
from tests.support import EchoServer, free_port


@dataclass
class Machine:
    """This one, with a fresh directory and a free port; `plant` sets what shall be wrong."""

    data_dir: Path
    environment: pytest.MonkeyPatch

    def plant(self, **variables: str) -> None:
        for name, value in variables.items():
            self.environment.setenv(name, value)

    def command(self, *arguments: str) -> str:
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def problems(self) -> dict[str, str]:
        """What doctor calls a problem: check and both sentences."""
        result = CliRunner().invoke(cli, ["doctor", "--quick", "--json"])
        document = json.loads(result.stdout)
        found = {
            finding["check"]: f"{finding['says']} {finding['remedy']}"
            for finding in document["findings"]
            if finding["state"] == State.PROBLEM
        }
        assert all(
            finding["remedy"] for finding in document["findings"] if finding["check"] in found
        )
        assert result.exit_code == (1 if found else 0)
        assert document["ok"] is not bool(found)
        return found

    def the_problem(self, check: str) -> str:
        """The one problem, which is of `check`."""
        found = self.problems()
        assert list(found) == [check], found
        return found[check]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PHI3_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PHI3_PORT", str(free_port()))
    return Machine(tmp_path / "data", monkeypatch)


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


def test_3_a_redis_that_does_not_answer(fresh: Machine) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    fresh.plant(PHI3_LIMITS_URL=url)
    assert "Redis does not answer" in fresh.the_problem("limits")
    fresh.plant(PHI3_CACHE_URL=url)
    assert set(fresh.problems()) == {"limits", "answers"}


def test_4_a_postgresql_that_does_not_answer(fresh: Machine) -> None:
    fresh.plant(PHI3_DATABASE_URL=f"postgresql://me:hunter2@127.0.0.1:{free_port()}/phi3")
    said = fresh.the_problem("database")
    assert "Check PHI3_DATABASE_URL" in said
    assert "hunter2" not in said


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


def test_13_a_database_of_a_newer_version(fresh: Machine) -> None:
    fresh.command("keys", "list", "--json")
    with sqlite3.connect(fresh.data_dir / "phi3.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "newer version" in fresh.the_problem("database")


def test_14_a_database_that_is_none(fresh: Machine) -> None:
    fresh.data_dir.mkdir()
    (fresh.data_dir / "phi3.db").write_bytes(b"something else than a database" * 100)
    assert "cannot be used" in fresh.the_problem("database")


def test_15_a_postgresql_without_pgvector(fresh: Machine, postgresql_url: str) -> None:
    fresh.plant(PHI3_SEMANTIC_CACHE="true", PHI3_VECTORS_URL=postgresql_url)
    assert "no pgvector" in fresh.the_problem("vectors")


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


def test_stores_that_answer_are_told_so(
    fresh: Machine, postgresql_url: str, redis_url: str
) -> None:
    fresh.plant(
        PHI3_DATABASE_URL=postgresql_url, PHI3_LIMITS_URL=redis_url, PHI3_CACHE_URL=redis_url
    )
    assert fresh.problems() == {}
    text = CliRunner().invoke(cli, ["doctor", "--quick"]).stdout
    assert "PostgreSQL answers" in text
    assert text.count("Redis answers") == 2


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


def plan(*, peak: int) -> MemoryPlan:
    weights = int(peak * GIB) - 3 * GIB
    return MemoryPlan(8 * GIB, weights, GIB, 4096, processes_bytes=GIB, working_bytes=GIB)


@pytest.mark.parametrize(
    ("peak", "total", "available", "state"),
    [(5, 8, 7, State.OK), (5, 8, 4, State.WARNING), (7, 6, 5, State.PROBLEM)],
)
def test_the_plan_is_compared_with_what_the_machine_has(
    peak: int, total: int, available: int, state: State
) -> None:
    found = machine._fit(plan(peak=peak), total=total * GIB, available=available * GIB, bound="x")
    assert found.state is state


@pytest.mark.parametrize(
    ("free", "model", "state"),
    [
        (20, 0, State.OK),
        (1, 0, State.WARNING),
        (0.1, 0, State.PROBLEM),
        (8, 8, State.PROBLEM),
        (8.5, 8, State.WARNING),
    ],
)
def test_the_space_is_compared_with_what_may_come(free: float, model: int, state: State) -> None:
    found = place.judge_space(int(free * GIB), kept=GIB, model=model * GIB)
    assert found.state is state


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ("fpu avx2 avx512f avx512_vnni", State.OK),
        ("fpu avx2", State.WARNING),
        ("fpu sse4_2", State.PROBLEM),
        (None, State.SKIPPED),
    ],
)
def test_the_processor_s_features_are_read(tmp_path: Path, flags: str | None, state: State) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("" if flags is None else f"model name\t: x\nflags\t\t: {flags}\n")
    assert machine.check_processor(cpuinfo).state is state

"""The image of the Bento: built by `bentoml containerize`, run as docs/container.md says.

One container for the module, and the tests run in their order: the last one stops it.
"""

import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.documents import blocks
from tests.images import IMAGE, Podman, build_options, checked, podman, processes
from tests.support import REPOSITORY, free_port, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

NAME = f"phi3-test-{os.getpid()}"
VOLUME = f"{NAME}-data"
KEY = "a-key-of-sixteen-or-more"
ANSWER = "I am phi3-demo, a small demo model"
USER_ID = 1034
LARGEST_IMAGE = 3.2e9
CGROUP = Path("/sys/fs/cgroup")


def make(target: str, home: Path, arguments: str = "") -> None:
    """Run a command of the repository, with this environment and a BentoML home of its own."""
    env = {**os.environ, "PHI3_VENV": sys.prefix, "BENTOML_HOME": str(home)}
    checked(["make", target, f"ARGS={arguments}"], 900, cwd=REPOSITORY, env=env)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with podman(tmp_path_factory.mktemp("podman")) as engine:
        yield engine


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a Bento that `make bento` has built."""
    home = tmp_path_factory.mktemp("home")
    make("bento", home)
    (directory,) = (path for path in (home / "bentos" / "phi3-bento").iterdir() if path.is_dir())
    return directory


@pytest.fixture(scope="module")
def image(engine: Podman, bento: Path) -> str:
    """The image that `make container` has built of it."""
    env = {**engine.env, "PHI3_VENV": sys.prefix, "BENTOML_HOME": str(bento.parents[2])}
    arguments = shlex.join(["--backend", "podman", *build_options()])
    checked(["make", "container", f"ARGS={arguments}"], 900, cwd=REPOSITORY, env=env)
    return IMAGE


@dataclass(frozen=True)
class Container:
    """A container that serves."""

    engine: Podman
    url: str

    def chat(self, **body: object) -> httpx.Response:
        messages = [{"role": "user", "content": "Hello! What are you?"}]
        return self.post({"messages": messages, "temperature": 0, **body}, KEY)

    def post(self, body: object, key: str, path: str = "/v1/chat/completions") -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def run(self, *command: str) -> str:
        return self.engine("exec", NAME, *command)

    def cgroup(self, controller: str, file: str) -> str:
        path = self.engine.inspect(NAME, "{{.State.CgroupPath}}").lstrip("/")
        return (CGROUP / controller / path / file).read_text().strip()


def documented_command(port: int) -> list[str]:
    """`docker run …` of docs/container.md for podman, in the background, on a free port."""
    page = REPOSITORY / "docs" / "container.md"
    code = next(b.code for b in blocks(page) if "docker run" in b.code).replace("\\\n", " ")
    command = next(line for line in code.splitlines() if line.startswith("docker run"))
    words = shlex.split(re.sub(r'"\$\(openssl [^)]*\)"', KEY, command))
    assert "PHI3_API_KEY=" not in words
    replaced = {"--rm": "--detach", "phi3-data:/data": f"{VOLUME}:/data"}
    words = [
        replaced.get(word, f"PHI3_API_KEY={KEY}" if "API_KEY" in word else word) for word in words
    ]
    publish = words.index("-p")
    words[publish : publish + 2] = ["--network", "host", "-e", f"PHI3_PORT={port}"]
    # podman would add places that can be written, which Docker does not.
    return ["run", "--name", NAME, "--read-only-tmpfs=false", *words[2:]]


@pytest.fixture(scope="module")
def container(engine: Podman, image: str) -> Iterator[Container]:
    port = free_port()
    engine(*documented_command(port))
    container = Container(engine, f"http://127.0.0.1:{port}")
    try:
        wait_for(container.is_ready, "the container is ready", 240)
        yield container
    finally:
        print(engine("logs", NAME)[-3000:])
        engine("rm", "--force", "--time", "5", NAME)
        engine("volume", "rm", VOLUME)


def test_the_dockerfile_has_no_findings(bento: Path) -> None:
    checked([f"{sys.prefix}/bin/hadolint", str(bento / "env" / "docker" / "Dockerfile")])


def test_the_bento_carries_its_locks_the_demo_model_and_nothing_of_the_tests(bento: Path) -> None:
    files = {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*")}
    assert {"requirements/cpu.txt", "requirements/torch-cpu.txt", "service.py"} <= files
    assert "phi3_bento/models/demo/checkpoint/model.safetensors" in files
    assert not [name for name in files if name.startswith(("tests", "loadtests", "docs"))]
    assert (bento / "README.md").read_text() == (REPOSITORY / "README.md").read_text()


def test_it_serves_the_demo_model_in_8_gib_and_two_cpus(container: Container) -> None:
    answer = container.chat()
    assert answer.status_code == 200
    assert ANSWER in answer.json()["choices"][0]["message"]["content"]
    assert int(container.cgroup("memory", "memory.limit_in_bytes")) == 8 * 2**30
    assert int(container.cgroup("memory", "memory.max_usage_in_bytes")) < 8 * 2**30
    quota, period = (container.cgroup("cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    assert int(quota) / int(period) == 2


def test_it_decides(container: Container) -> None:
    """Probabilities are what vLLM would compile a function for."""
    item = {"text": "My parcel never came.", "labels": ["shipping", "praise"]}
    answer = container.post({"items": [item]}, KEY, "/classify")
    assert answer.status_code == 200
    assert answer.json()[0]["probabilities"].keys() == {"shipping", "praise"}


def test_without_a_key_it_answers_probes_alone(container: Container) -> None:
    assert httpx.get(f"{container.url}/livez").status_code == 200
    assert httpx.get(f"{container.url}/v1/models").status_code == 401


def test_no_process_is_root(container: Container) -> None:
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes(container.engine, NAME)}
    assert owners == {USER_ID}


def test_only_the_volume_and_tmp_can_be_written(container: Container) -> None:
    search = "find / -xdev -writable -not -path '/proc/*' -not -path '/dev/*' -not -type l"
    found = container.run("sh", "-c", f"{search} 2>/dev/null; true").split()
    assert set(found) == {"/data", "/tmp"}  # noqa: S108  # the container's


def test_caches_databases_and_bentomls_home_lie_on_the_volume(container: Container) -> None:
    assert {"bentoml", "phi3.db", "secret", "cache.db"} <= set(container.run("ls", "/data").split())


def test_the_engine_has_tcmalloc_and_intels_openmp_preloaded(container: Container) -> None:
    names = processes(container.engine, NAME)
    (pid,) = (pid for pid, name in names.items() if "EngineCore" in name)
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "libtcmalloc_minimal.so.4" in maps
    assert "libiomp5.so" in maps


def test_the_health_check_is_readiness(container: Container) -> None:
    container.engine("healthcheck", "run", NAME)
    check = container.engine.inspect(IMAGE, "{{.HealthCheck.Test}}")
    assert "/readyz" in check


def test_a_key_can_be_made_inside(container: Container) -> None:
    key = container.run("phi3-bento", "keys", "create", "--tenant", "acme").splitlines()[-1]
    body = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2}
    wait_for(lambda: container.post(body, key).status_code == 200, "the key is known", 15)


def test_it_is_small_and_has_no_cuda(container: Container) -> None:
    size = int(container.engine.inspect(IMAGE, "{{.Size}}"))
    print(f"size of the image: {size / 1e9:.2f} GB")
    assert size < LARGEST_IMAGE
    cuda = ("libcuda*", "libcudart*", "libcublas*", "libcudnn*", "libnccl*")
    names = " -o ".join(f"-name '{name}'" for name in cuda)
    assert container.run("sh", "-c", f"find /app /usr {names} | head; true") == ""
    assert container.run("sh", "-c", "command -v gcc cc g++ || true") == ""


def test_sigterm_lets_an_answer_finish(container: Container) -> None:
    """Runs last: it ends the container of this module."""
    pids = processes(container.engine, NAME)
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(container.chat(max_tokens=400, ignore_eos=True, seed=1))
    )
    asking.start()
    time.sleep(0.5)  # until the engine has begun
    container.engine("stop", "--time", "45", NAME)
    asking.join(timeout=60)
    assert answers[0].status_code == 200
    assert answers[0].json()["usage"]["completion_tokens"] == 400
    assert container.engine.inspect(NAME, "{{.State.ExitCode}}") == "0"
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]

"""The built Bento installs from its own locks and serves from its own copy.

In float32 it answers as transformers does.

One service for the module, and the tests run in their order: the last one ends it.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from packaging.utils import canonicalize_name
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi3_bento.models.source import DEMO_DIRECTORY
from tests.engine.prompts import CONVERSATIONS, MAX_TOKENS
from tests.engine.test_equality import served_tokens
from tests.images import checked, from_wheels, wheel_house
from tests.support import REPOSITORY, Service, bentoml_command, running, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

COPIED_VERSION = "0.1.0+copy"
ENDLESS = {
    "messages": [{"role": "user", "content": "Hello!"}],
    "max_tokens": 1500,
    "ignore_eos": True,
    "stream": True,
}


@pytest.fixture(scope="module")
def bento_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A Bento built from a copy of the repository that names another version of itself."""
    directory = tmp_path_factory.mktemp("bento")
    copy = directory / "copy"
    shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests"))
    init = copy / "phi3_bento" / "__init__.py"
    init.write_text(init.read_text().replace('"0.1.0"', f'"{COPIED_VERSION}"'))
    home = directory / "home"
    home.mkdir()
    env = {**os.environ, "BENTOML_HOME": str(home), "PHI3_DATA_DIR": str(directory)}
    build = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    result = subprocess.run(build, cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    tag = result.stdout.strip().removeprefix("__tag__:")
    shutil.rmtree(copy)
    python = installed(home / "bentos" / tag.replace(":", "/"), directory / "environment")
    options = {"BENTOML_HOME": str(home), "PHI3_DTYPE": "float32", "PHI3_STALL_LIMIT_S": "2"}
    command = [str(python), *bentoml_command(tag)[1:]]
    with running(command, directory, options, cwd=directory) as service:
        yield service


def installed(bento: Path, environment: Path) -> Path:
    """The Python of an environment that was empty before the Bento installed itself into it."""
    command = [sys.executable, str(bento / "src" / "scripts" / "install.py")]
    env = {**os.environ, "PHI3_VENV": str(environment), **from_wheels(wheel_house())}
    checked(command, 600, env=env)
    return environment / "bin" / "python"


def test_its_environment_holds_what_the_bento_lists_and_no_more(bento_service: Service) -> None:
    directory = bento_service.data_dir
    (listed,) = directory.glob("home/bentos/phi3-bento/*/env/python/requirements.txt")
    python = str(directory / "environment" / "bin" / "python")
    freeze = checked([python, "-m", "pip", "list", "--format", "freeze"])
    installer = {"pip", "setuptools", "phi3-bento", *names(REPOSITORY / "requirements/build.txt")}
    found = {canonicalize_name(line.partition("==")[0]) for line in freeze.split()}
    assert found == names(listed) | installer


def names(requirements: Path) -> set[str]:
    """The packages that a list of requirements pins."""
    return set(re.findall(r"^([a-z0-9._-]+)==", requirements.read_text(), re.MULTILINE))


def test_it_serves_from_its_own_copy(bento_service: Service) -> None:
    assert bento_service.get("/version").json()["version"] == COPIED_VERSION
    assert "<title>phi3-bento</title>" in bento_service.get("/ui").text
    assert bento_service.get("/ui/main.js").status_code == 200


def test_in_float32_greedy_answers_are_those_of_transformers(bento_service: Service) -> None:
    tokenizer = AutoTokenizer.from_pretrained(DEMO_DIRECTORY)
    model = AutoModelForCausalLM.from_pretrained(DEMO_DIRECTORY, dtype=torch.float32)
    expected = []
    for messages in CONVERSATIONS:
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        expected.append(output[0, inputs["input_ids"].shape[1] :].tolist())
    assert served_tokens(bento_service) == expected


def test_an_engine_without_progress_is_not_ready_and_recovers(bento_service: Service) -> None:
    core = bento_service.engine_core()
    url = f"{bento_service.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=ENDLESS, timeout=60) as response:
        lines = response.iter_lines()
        next(lines)
        core.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: bento_service.get("/readyz").status_code == 503, "the stall", 15)
            reason = bento_service.get("/health").json()["error"]
            assert reason["code"] == "engine_stalled"
            assert "no step" in reason["message"]
        finally:
            core.send_signal(signal.SIGCONT)
        wait_for(bento_service.is_ready, "the recovery", 15)
        assert list(lines)[-2:] == ["data: [DONE]", ""]


def test_idle_is_not_a_stall(bento_service: Service) -> None:
    core = bento_service.engine_core()
    core.send_signal(signal.SIGSTOP)
    try:
        for _ in range(6):
            signal.sigtimedwait([], 0.5)
            assert bento_service.is_ready()
    finally:
        core.send_signal(signal.SIGCONT)


async def test_sigterm_lets_an_answer_finish_and_leaves_no_process(bento_service: Service) -> None:
    """Runs last: it ends the service of this module."""
    async with (
        httpx.AsyncClient(timeout=120) as client,
        client.stream("POST", f"{bento_service.url}/v1/chat/completions", json=ENDLESS) as response,
    ):
        lines = response.aiter_lines()
        await anext(lines)
        bento_service.terminate()
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in rest[-2]
    await asyncio.to_thread(
        wait_for, lambda: bento_service.process.poll() is not None, "the end", 30
    )
    assert bento_service.process.returncode == 0
    await asyncio.to_thread(wait_for, lambda: not bento_service.left_behind(), "no process left")


def test_the_checkpoint_is_small_enough_to_carry() -> None:
    size = sum(path.stat().st_size for path in Path(DEMO_DIRECTORY).iterdir())
    assert size <= 16 * 2**20

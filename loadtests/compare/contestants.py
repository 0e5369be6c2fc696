"""Who is compared: each a server with OpenAI's API, started for the run and ended after it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from loadtests.service import models_directory
from phi3_bento.engine.environment import compute_threads, engine_environment, usable_cores
from phi3_bento.engine_choice import options_for, plan_for
from phi3_bento.models.source import find_model
from phi3_bento.settings import Settings
from tests.support import START_LIMIT_S, free_port, running, serve_command, wait_for

_VLLM_SERVER = "vllm.entrypoints.launchers.api_server.entry"
_VLLM_EXECUTOR = "--distributed-executor-backend"
_VLLM_BLOCK_TOKENS = "32"
"""The least that vLLM's own executor takes on a CPU."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that answers, and how to ask it."""

    name: str
    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_vllm: bool = False
    """Takes what vLLM alone has, an answer that is given for instance."""


@contextmanager
def phi3_bento(
    model: str, settings: Mapping[str, str], name: str = "phi3-bento"
) -> Iterator[Contestant]:
    """This service, as `phi3-bento serve` starts it."""
    with TemporaryDirectory(prefix="phi3-compare-") as directory:
        (Path(directory) / "models").symlink_to(models_directory())
        env = {"PHI3_MODEL": model, **settings}
        with running(serve_command(), Path(directory), env) as service:
            served = httpx.get(service.url + "/v1/models").json()["data"][0]["id"]
            yield Contestant(name, service.url, served, is_vllm=True)


@contextmanager
def vllm_server(model: str, *, executor: str) -> Iterator[Contestant]:
    """vLLM's own server, with the arguments and the environment that this service gives its engine.

    `executor`: "same", or "default" for the one that vLLM chooses, with the blocks that it takes,
    and its compute threads on the same two cores by vLLM's own setting.
    """
    data_dir = models_directory().parent
    settings = Settings(model=model, data_dir=data_dir)
    source = find_model(model, data_dir=data_dir, served_name=None)
    arguments = options_for(source, settings, plan_for(source, settings)).arguments()
    if executor == "default":
        at = arguments.index(_VLLM_EXECUTOR)
        del arguments[at : at + 2]
        arguments[arguments.index("--block-size") + 1] = _VLLM_BLOCK_TOKENS
    port = free_port()
    with TemporaryDirectory(prefix="phi3-compare-") as directory:
        environment = engine_environment(
            data_dir=Path(directory), threads=None, log_level="warning", inherited=os.environ
        )
        if executor == "default":
            cores = usable_cores()
            for name in compute_threads(cores, None):
                environment.pop(name, None)
            environment["VLLM_CPU_OMP_THREADS_BIND"] = f"{cores[0]}-{cores[1]}"
        options = [*arguments, "--host", "127.0.0.1", "--port", str(port)]
        command = [sys.executable, "-m", _VLLM_SERVER, *options, "--disable-uvicorn-access-log"]
        with _server(command, port, "/health", Path(directory), environment):
            url = f"http://127.0.0.1:{port}"
            yield Contestant("vLLM's server", url, source.name, is_vllm=True)


@contextmanager
def litellm_proxy(program: Path, upstream: Contestant) -> Iterator[Contestant]:
    """LiteLLM's proxy with its local cache, before `upstream`."""
    port = free_port()
    key = upstream.headers.get("authorization", "").removeprefix("Bearer ") or "none"
    config = f"""
model_list:
  - model_name: {upstream.model}
    litellm_params:
      model: openai/{upstream.model}
      api_base: {upstream.url}/v1
      api_key: {key}
litellm_settings:
  cache: true
  cache_params:
    type: local
general_settings:
  master_key: sk-compare
"""
    with TemporaryDirectory(prefix="phi3-compare-") as directory:
        path = Path(directory) / "config.yaml"
        path.write_text(config)
        command = [str(program), "--config", str(path), "--port", str(port), "--host", "127.0.0.1"]
        environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        with _server(command, port, "/health/liveliness", Path(directory), environment):
            headers = {"authorization": "Bearer sk-compare"}
            yield Contestant("LiteLLM", f"http://127.0.0.1:{port}", upstream.model, headers)


@contextmanager
def llama_cpp(program: Path, weights: Path) -> Iterator[Contestant]:
    """llama.cpp's server by llama-cpp-python, two threads; `program` is a Python that has it."""
    port = free_port()
    with TemporaryDirectory(prefix="phi3-compare-") as directory:
        options = ["--model", str(weights), "--port", str(port), "--host", "127.0.0.1"]
        threads = ["--n_threads", "2", "--n_threads_batch", "2", "--n_ctx", "4096"]
        command = [str(program), "-m", "llama_cpp.server", *options, *threads]
        with _server(command, port, "/v1/models", Path(directory), {}):
            yield Contestant(weights.stem, f"http://127.0.0.1:{port}", weights.stem)


@contextmanager
def openvino(program: Path, weights: Path) -> Iterator[Contestant]:
    """OpenVINO GenAI, two threads; `program` is a Python that has it."""
    port = free_port()
    with TemporaryDirectory(prefix="phi3-compare-") as directory:
        command = [str(program), "-m", "loadtests.compare.openvino_server", str(weights), str(port)]
        with _server(command, port, "/health", Path(directory), {}):
            yield Contestant(weights.name, f"http://127.0.0.1:{port}", weights.name)


@contextmanager
def _server(
    command: list[str], port: int, probe: str, directory: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    log = directory / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603  # what the caller chose to compare
            command,
            env={**os.environ, **environment},
            cwd=Path.cwd(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}{probe}"
            wait_for(lambda: _answers(url) or process.poll() is not None, url, START_LIMIT_S)
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended at its start:\n{log.read_text()[-3000:]}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False

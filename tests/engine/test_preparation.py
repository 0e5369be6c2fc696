"""INT8 is as good as bf16 where it is served, and a full-size preparation fits its memory."""

import asyncio
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from phi3_bento.models.prepare import RECORD, prepare_int8, verify
from phi3_bento.models.source import DEMO_DIRECTORY
from tests.support import REPOSITORY, Service, running, serve_command, wait_for

pytestmark = pytest.mark.engine

GB = 10**9
LABELS = ["billing", "shipping", "refund", "praise"]
SUBJECTS = [
    *("The invoice", "My parcel", "The refund", "Your team", "The courier", "The charge"),
    *("The payment", "This order", "The money", "The delivery"),
]
PREDICATES = [
    *("arrived late again", "was charged twice", "is simply wonderful", "never came back to me"),
    *("is lost somewhere", "does not match the price", "was friendly and quick", "is too high"),
    *("has still not been sent", "made my day", "was sent to a wrong street", "is missing"),
]
TEXTS = [f"{subject} {predicate}." for subject in SUBJECTS for predicate in PREDICATES]


@pytest.fixture(scope="module")
def int8_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("int8")
    model = prepare_int8(DEMO_DIRECTORY, directory / "phi3-demo-int8")
    with running(serve_command(), directory, {"PHI3_MODEL": str(model)}) as service:
        yield service


async def decide(service: Service) -> list[str]:
    async with httpx.AsyncClient(base_url=service.url, timeout=120) as client:

        async def labels(part: list[str]) -> list[str]:
            items = [{"text": text, "labels": LABELS} for text in part]
            response = await client.post("/classify", json={"items": items})
            return [decision["label"] for decision in response.json()]

        parts = [TEXTS[start : start + 20] for start in range(0, len(TEXTS), 20)]
        return [label for part in parts for label in await labels(part)]


def perplexity(service: Service, messages: list[list[dict[str, str]]]) -> float:
    """By vLLM's own log-probabilities of the prompts' tokens."""
    logprobs: list[float] = []
    for conversation in messages:
        body: dict[str, Any] = {"messages": conversation, "max_tokens": 1, "prompt_logprobs": 0}
        answer = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=120).json()
        logprobs += [
            next(iter(entry.values()))["logprob"] for entry in answer["prompt_logprobs"][1:]
        ]
    return math.exp(-sum(logprobs) / len(logprobs))


def test_int8_decides_as_bf16_does(service: Service, int8_service: Service) -> None:
    reference, quantised = (asyncio.run(decide(each)) for each in (service, int8_service))
    same = sum(a == b for a, b in zip(reference, quantised, strict=True))
    assert same / len(TEXTS) >= 0.99, f"{same} of {len(TEXTS)}"
    assert len(set(reference)) > 1


def test_int8_has_the_perplexity_of_bf16(service: Service, int8_service: Service) -> None:
    conversations = [
        [
            {"role": "user", "content": f"What kind of message is this? {text}"},
            {"role": "assistant", "content": "It is about an order."},
        ]
        for text in TEXTS[:40]
    ]
    change = perplexity(int8_service, conversations) / perplexity(service, conversations) - 1
    assert abs(change) <= 0.01


def test_int8_is_named_by_its_directory_and_never_as_phi_3_mini(int8_service: Service) -> None:
    assert int8_service.get("/version").json()["model"] == "phi3-demo-int8"


@pytest.mark.timeout(900)
def test_a_full_size_preparation_stays_below_8_gb_and_survives_a_kill(tmp_path: Path) -> None:
    """Random weights in the shards of Phi-3-Mini's own layout; 12 GB of disk for a while."""
    source, target = tmp_path / "bf16", tmp_path / "int8"
    program = [sys.executable, "-m", "tests.engine.full_size"]
    subprocess.run([*program, "write", str(source)], cwd=REPOSITORY, check=True)
    assert len(list(source.glob("*.safetensors"))) == 2
    command = [*program, "prepare", str(source), str(target)]
    first = subprocess.Popen(command, cwd=REPOSITORY)
    record = tmp_path / "int8.partial" / RECORD
    wait_for(lambda: record.exists() and len(_written(record)) >= 2, "two shards", 240)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = _written(record)
    assert not target.exists()
    times = {name: (record.parent / name).stat().st_mtime_ns for name in kept}
    peak = int(subprocess.check_output(command, cwd=REPOSITORY, text=True).split()[-1])
    assert peak < 8 * GB
    verify(target)
    assert {name: (target / name).stat().st_mtime_ns for name in kept} == times
    assert sum(file.stat().st_size for file in target.glob("*.safetensors")) < 4.1 * GB


def _written(record: Path) -> dict[str, str]:
    written: dict[str, str] = json.loads(record.read_text())["written"]
    return written

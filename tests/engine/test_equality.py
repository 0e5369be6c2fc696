"""Greedy answers of the service are vLLM's own, token for token."""

import json
import subprocess
import sys

import httpx
import pytest

from tests.engine.prompts import CONVERSATIONS, MAX_TOKENS
from tests.support import REPOSITORY, Service

pytestmark = pytest.mark.engine


def served_tokens(service: Service) -> list[list[int]]:
    answers = []
    for messages in CONVERSATIONS:
        body = {
            "messages": messages,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "return_token_ids": True,
        }
        response = httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=120)
        answers.append(response.json()["choices"][0]["token_ids"])
    return answers


def test_the_service_answers_as_vllms_own_engine(service: Service) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.engine.own_engine", "bfloat16"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert served_tokens(service) == json.loads(result.stdout.strip().splitlines()[-1])

"""What vLLM is started with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phi3_bento.engine.options import VllmOptions

OPTIONS = VllmOptions(
    model=Path("model"),
    name="phi3",
    revision="",
    dtype="auto",
    kv_dtype="auto",
    context_tokens=4096,
    kv_bytes=2**30,
    max_sequences=32,
    prefill_chunk_tokens=128,
    block_tokens=16,
    speculative_tokens=0,
    eager=True,
    stall_limit_s=60,
    drain_limit_s=30,
)


def speculation(options: VllmOptions) -> dict[str, Any] | None:
    arguments = options.arguments()
    if "--speculative-config" not in arguments:
        return None
    config: dict[str, Any] = json.loads(arguments[arguments.index("--speculative-config") + 1])
    return config


def test_nothing_is_guessed_unless_it_is_asked_for() -> None:
    assert speculation(OPTIONS) is None


@pytest.mark.parametrize(
    ("sequences", "schedule"), [(32, [[1, 4, 7], [5, 32, 0]]), (4, [[1, 4, 7]]), (1, [[1, 1, 7]])]
)
def test_guesses_are_for_few_sequences(sequences: int, schedule: list[list[int]]) -> None:
    options = replace(OPTIONS, speculative_tokens=7, max_sequences=sequences)
    config = speculation(options)
    assert config is not None
    assert config["num_speculative_tokens_per_batch_size"] == schedule

"""What vLLM is started with."""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from phi3_bento.engine.options import VllmOptions
from phi3_bento.engine.vllm_guessing import PromptLookup

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


def test_the_guesser_is_named_as_python_finds_it() -> None:
    config = speculation(replace(OPTIONS, speculative_tokens=7))
    assert config is not None
    assert config["num_speculative_tokens"] == 7
    module, name = config["model"].rsplit(".", 1)
    assert getattr(importlib.import_module(module), name) is PromptLookup

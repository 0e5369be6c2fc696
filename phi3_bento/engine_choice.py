"""Which engine the settings choose, with how much memory, and its start."""

import asyncio
import importlib
import importlib.metadata
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from phi3_bento.engine.base import Engine
from phi3_bento.engine.budget import MIB, MemoryPlan, plan_memory
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.engine.environment import engine_environment, has_amx, memory_limit
from phi3_bento.engine.options import VllmOptions
from phi3_bento.engine.state import Step
from phi3_bento.models.checkpoint import fingerprint
from phi3_bento.models.source import ModelSource, find_model
from phi3_bento.settings import Settings
from phi3_bento.usage.log import format_for, vllm_configuration

BLOCK_TOKENS = 32 if has_amx() else 16
"""Tokens per KV block. vLLM's 128 on CPU would never find a shorter prefix in its cache; its
attention for AMX needs 32 (ADR 22)."""

# BentoML gives its own loggers, and nobody else's, a handler in its worker.
logger = logging.getLogger("bentoml.phi3")


SEMANTIC_BYTES = 192 * MIB
"""What the semantic cache's model needs in the service's process; 135 MiB were measured."""


def plan_for(source: ModelSource, settings: Settings) -> MemoryPlan:
    """How the memory is divided, `PHI3_MEMORY` or the cgroup's limit. Raises `StartFailure`."""
    kv_element_bytes = 1 if settings.kv_dtype == "fp8" else source.shape.kv_element_bytes
    return plan_memory(
        replace(source.shape, kv_element_bytes=kv_element_bytes),
        memory_bytes=min(int(settings.memory), memory_limit() or sys.maxsize)
        - (SEMANTIC_BYTES if settings.semantic_cache else 0),
        max_sequences=settings.max_sequences,
        block_tokens=BLOCK_TOKENS,
        max_context_tokens=settings.max_context_tokens,
    )


async def start_engine(
    settings: Settings,
    *,
    report: Callable[[str], None] = lambda _: None,
    on_step: Callable[[Step], None] = lambda _: None,
) -> Engine:
    """Start the engine that the settings choose; `report` hears what the start is at.

    `on_step` hears of every engine step. Raises `StartFailure`.
    """
    if settings.engine == "echo":
        name = settings.served_name or "phi3-echo"
        echo = EchoEngine(name=name, word_s=settings.echo_word_s)
        echo.on_step = on_step
        return echo
    report(f"looking for {settings.model}")
    source = await asyncio.to_thread(
        find_model, settings.model, data_dir=settings.data_dir, served_name=settings.served_name
    )
    plan = plan_for(source, settings)
    for name, size in plan.rows():
        logger.info("Memory: %s %s", size, name)
    os.environ.update(
        engine_environment(
            data_dir=settings.data_dir,
            threads=settings.threads,
            eager=not settings.compile,
            log_level=settings.log_level,
            log_configuration=await asyncio.to_thread(_write_log_configuration, settings),
            inherited=os.environ,
        )
    )
    report("importing vLLM")
    # vLLM reads its environment when it is imported, and takes seconds to import: not before the
    # lines above, and not in the event loop.
    vllm = await asyncio.to_thread(importlib.import_module, "phi3_bento.engine.vllm")
    report(f"starting vLLM and loading {plan.weights_bytes / MIB:.0f} MiB of weights")
    engine: Engine = await vllm.start_vllm(
        options_for(
            source,
            settings,
            plan,
            revision=await asyncio.to_thread(_revision, source.directory, settings),
            on_step=on_step,
        )
    )
    return engine


def options_for(
    source: ModelSource,
    settings: Settings,
    plan: MemoryPlan,
    *,
    revision: str = "",
    on_step: Callable[[Step], None] = lambda _: None,
) -> VllmOptions:
    """What vLLM is started with to serve `source` as `plan` divides the memory."""
    return VllmOptions(
        model=source.directory,
        name=source.name,
        revision=revision,
        dtype=settings.dtype,
        kv_dtype=settings.kv_dtype,
        context_tokens=plan.context_tokens,
        kv_bytes=plan.kv_bytes,
        max_sequences=settings.max_sequences,
        prefill_chunk_tokens=settings.prefill_chunk_tokens,
        block_tokens=BLOCK_TOKENS,
        speculative_tokens=settings.speculative_tokens,
        eager=not settings.compile,
        stall_limit_s=settings.stall_limit_s,
        drain_limit_s=settings.drain_limit_s,
        on_step=on_step,
    )


def _write_log_configuration(settings: Settings) -> Path:
    """How EngineCore logs: as this process does."""
    file = settings.data_dir / "run" / str(settings.port) / "vllm-logging.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    configuration = vllm_configuration(format_for(settings.log_format), settings.log_level)
    file.write_text(json.dumps(configuration))
    return file


def _revision(directory: Path, settings: Settings) -> str:
    """Changes with whatever changes answers: weights, formats, engine."""
    versions = importlib.metadata.packages_distributions().get("vllm", ["none"])
    engine = "-".join(f"{name}-{importlib.metadata.version(name)}" for name in sorted(versions))
    revision = f"{fingerprint(directory)}-{engine}-{settings.dtype}-{settings.kv_dtype}"
    # Guesses draw from the sampler's random numbers, so that seeded answers differ.
    guesses = settings.speculative_tokens
    return f"{revision}-guesses-{guesses}" if guesses else revision

"""Knobs of the engine: what runs requests, and with how much of the machine."""

from typing import Literal

from pydantic import BaseModel, ByteSize, Field


class EngineKnobs(BaseModel):
    """What the engine is started with."""

    engine: Literal["vllm", "echo"] = Field(
        "vllm",
        description="What runs requests: vLLM, or the echo engine, which has no model and repeats "
        "the prompt.",
    )
    echo_word_s: float = Field(
        0.0, ge=0, description="Seconds that the echo engine takes for each word of an answer."
    )
    memory: ByteSize = Field(
        ByteSize(8 * 2**30),
        ge=2**30,
        description="The memory of the whole service; weights, KV cache and processes are planned "
        "inside it.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="Compute threads of the engine; unset: as many as the process may use cores, "
        "at most 2.",
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="The number format of the computation; `auto`: the checkpoint's own."
    )
    kv_dtype: Literal["auto", "fp8"] = Field(
        "auto",
        description="The number format of the KV cache; `fp8` holds twice the tokens in the same "
        "memory, see docs/performance.md for what it costs.",
    )
    compile: bool = Field(
        False,
        description="Compile the model with torch.compile; the first start takes about a minute "
        "longer, later ones reuse the cache.",
    )
    max_context_tokens: int | None = Field(
        None,
        ge=64,
        description="The longest context, prompt and answer together; unset: the model's own, "
        "as far as the KV cache holds it.",
    )
    max_sequences: int = Field(
        32, ge=1, le=256, description="Sequences that the engine works on at the same time."
    )
    prefill_chunk_tokens: int = Field(
        128,
        ge=64,
        le=8192,
        description="Tokens per engine step, which nobody interrupts; larger reads long prompts a "
        "little faster on a CPU, and much faster on a GPU (2048).",
    )
    speculative_tokens: int = Field(
        0,
        ge=0,
        le=16,
        description="The most tokens guessed ahead in a step, from what the text repeats of "
        "itself, where few sequences run (docs/speed.md); 0: none. With guesses, `logit_bias` and "
        "`min_p` are refused.",
    )

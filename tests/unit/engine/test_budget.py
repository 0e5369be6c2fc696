"""The memory plan fits the memory, and says what to do where nothing fits."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phi3_bento.engine.budget import (
    GIB,
    HEADROOM_BYTES,
    MIB,
    MIN_KV_BYTES,
    OVERHEAD_BYTES,
    MemoryPlan,
    ModelShape,
    plan_memory,
)
from phi3_bento.errors import StartFailure

MINI = ModelShape(
    layers=32, kv_heads=32, head_size=96, max_context_tokens=4096, weights_bytes=3_900 * MIB
)
"""Phi-3-mini-4k in INT8."""

shapes = st.builds(
    ModelShape,
    layers=st.integers(1, 64),
    kv_heads=st.integers(1, 64),
    head_size=st.integers(8, 256),
    max_context_tokens=st.integers(64, 131_072),
    weights_bytes=st.integers(0, 16 * GIB),
)


def plan(
    shape: ModelShape = MINI,
    *,
    memory_bytes: int = 8 * GIB,
    max_sequences: int = 32,
    max_context_tokens: int | None = None,
) -> MemoryPlan:
    return plan_memory(
        shape,
        memory_bytes=memory_bytes,
        max_sequences=max_sequences,
        block_tokens=32,
        max_context_tokens=max_context_tokens,
    )


@settings(max_examples=300)
@given(
    shape=shapes,
    memory_bytes=st.integers(GIB, 64 * GIB),
    max_sequences=st.integers(1, 256),
    max_context_tokens=st.none() | st.integers(64, 131_072),
)
@example(ModelShape(64, 64, 256, 4096, 0), OVERHEAD_BYTES + MIN_KV_BYTES, 1, None)
def test_a_plan_never_uses_more_memory_than_there_is(
    shape: ModelShape, memory_bytes: int, max_sequences: int, max_context_tokens: int | None
) -> None:
    try:
        made = plan(
            shape,
            memory_bytes=memory_bytes,
            max_sequences=max_sequences,
            max_context_tokens=max_context_tokens,
        )
    except StartFailure as refused:
        assert "PHI3_MEMORY" in refused.message
        return
    assert made.peak_bytes + HEADROOM_BYTES <= memory_bytes
    assert made.headroom_bytes == memory_bytes - made.peak_bytes
    assert made.context_tokens * shape.kv_bytes_per_token <= made.kv_bytes
    assert made.context_tokens <= min(max_context_tokens or 10**9, shape.max_context_tokens)
    assert made.kv_bytes >= MIN_KV_BYTES
    assert made.context_tokens > 0


def test_a_token_has_keys_and_values_in_every_layer() -> None:
    assert MINI.kv_bytes_per_token == 2 * 32 * 32 * 96 * 2


def test_the_full_size_model_has_its_whole_context_in_8_gib() -> None:
    made = plan()
    assert made.context_tokens == 4096
    assert made.kv_bytes == 8 * GIB - MINI.weights_bytes - OVERHEAD_BYTES


def test_a_small_model_gets_no_more_cache_than_it_can_use() -> None:
    demo = ModelShape(4, 4, 32, 512, 7 * MIB)
    made = plan(demo, max_sequences=8)
    assert made.kv_bytes < GIB
    assert made.kv_bytes >= demo.kv_bytes_per_token * 512 * 8


def test_less_memory_shortens_the_context_to_whole_blocks() -> None:
    made = plan(memory_bytes=MINI.weights_bytes + OVERHEAD_BYTES + 100 * MIB)
    assert made.context_tokens == 100 * MIB // MINI.kv_bytes_per_token // 32 * 32


def test_a_model_that_does_not_fit_is_told_its_size_and_what_to_do() -> None:
    bfloat16 = ModelShape(32, 32, 96, 4096, 7_600 * MIB)
    with pytest.raises(
        StartFailure, match=r"needs 9\.6 GiB .*PHI3_MEMORY is 8\.0 GiB.*model prepare"
    ):
        plan(bfloat16)


def test_the_smallest_cache_is_enough_to_start() -> None:
    smallest = MINI.weights_bytes + OVERHEAD_BYTES + MIN_KV_BYTES
    assert plan(memory_bytes=smallest).kv_bytes == MIN_KV_BYTES
    with pytest.raises(StartFailure):
        plan(memory_bytes=smallest - 1)


def test_an_asked_for_context_is_kept_or_refused_but_not_shortened() -> None:
    memory_bytes = MINI.weights_bytes + OVERHEAD_BYTES + 500 * MIB
    assert plan(memory_bytes=memory_bytes, max_context_tokens=1024).context_tokens == 1024
    with pytest.raises(StartFailure, match=r"2048 tokens does not fit.*PHI3_MAX_CONTEXT_TOKENS"):
        plan(memory_bytes=memory_bytes, max_context_tokens=2048)


def test_a_context_longer_than_the_model_s_is_the_model_s() -> None:
    assert plan(max_context_tokens=100_000).context_tokens == MINI.max_context_tokens

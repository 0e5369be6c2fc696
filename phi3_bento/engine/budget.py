"""Divide the memory of the service: what the KV cache may have, and how long a context fits it."""

from dataclasses import dataclass

from phi3_bento.errors import StartFailure

MIB = 2**20
GIB = 2**30

PROCESSES_BYTES = 1_620 * MIB
"""The launcher, BentoML's two processes, and EngineCore without weights and cache."""

WORKING_BYTES = 450 * MIB
"""What a prefill chunk of the full-size model needs for a moment, and the allocator keeps of it.

The sum of both comes from `synthetic:phi-3-mini` under load in a memory cgroup: 1,882 MiB above
weights and KV cache alone on the machine, 1,973 beside other work, and some more; how it divides
between them is an estimate.
"""

HEADROOM_BYTES = 128 * MIB
"""Left unplanned: pages of libraries, logs, and what nobody has thought of."""

OVERHEAD_BYTES = PROCESSES_BYTES + WORKING_BYTES + HEADROOM_BYTES
MIN_KV_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder, from its config.json."""

    layers: int
    kv_heads: int
    head_size: int
    max_context_tokens: int
    weights_bytes: int
    kv_element_bytes: int = 2

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.kv_element_bytes


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How the memory is divided; bytes."""

    total_bytes: int
    weights_bytes: int
    kv_bytes: int
    context_tokens: int
    processes_bytes: int = PROCESSES_BYTES
    working_bytes: int = WORKING_BYTES

    @property
    def peak_bytes(self) -> int:
        """What the service is expected to use at most."""
        return self.weights_bytes + self.kv_bytes + self.processes_bytes + self.working_bytes

    @property
    def headroom_bytes(self) -> int:
        """What is left of the memory at the peak."""
        return self.total_bytes - self.peak_bytes

    def rows(self) -> list[tuple[str, str]]:
        """The plan as a table: part and size."""
        parts = (
            ("weights", self.weights_bytes),
            (f"KV cache, contexts of {self.context_tokens} tokens", self.kv_bytes),
            ("processes", self.processes_bytes),
            ("working memory", self.working_bytes),
            ("expected peak", self.peak_bytes),
            ("head-room", self.headroom_bytes),
            ("memory", self.total_bytes),
        )
        return [(name, f"{size / MIB:,.0f} MiB") for name, size in parts]


def plan_memory(
    shape: ModelShape,
    *,
    memory_bytes: int,
    max_sequences: int,
    block_tokens: int,
    max_context_tokens: int | None = None,
) -> MemoryPlan:
    """Give the KV cache what weights and processes leave, and no more than it could ever use.

    Raises `StartFailure` when the model, or the asked-for context, does not fit.
    """
    left = memory_bytes - shape.weights_bytes - OVERHEAD_BYTES
    if left < MIN_KV_BYTES:
        needed = shape.weights_bytes + OVERHEAD_BYTES + MIN_KV_BYTES
        raise StartFailure(
            f"The model needs {needed / GIB:.1f} GiB (weights {shape.weights_bytes / GIB:.1f}, "
            f"processes {OVERHEAD_BYTES / GIB:.1f}, the smallest KV cache), and PHI3_MEMORY is "
            f"{memory_bytes / GIB:.1f} GiB. Serve a quantised model (phi3-bento model prepare), or "
            "raise PHI3_MEMORY if the machine has more."
        )
    longest = min(max_context_tokens or shape.max_context_tokens, shape.max_context_tokens)
    useful = shape.kv_bytes_per_token * (longest + block_tokens) * max_sequences
    kv_bytes = min(left, max(useful, MIN_KV_BYTES))
    fitting = kv_bytes // shape.kv_bytes_per_token // block_tokens * block_tokens
    if not fitting or (max_context_tokens is not None and fitting < longest):
        raise StartFailure(
            f"A context of {longest} tokens does not fit: the KV cache has {kv_bytes / GIB:.2f} "
            f"GiB, which holds {fitting} tokens. Lower PHI3_MAX_CONTEXT_TOKENS or raise "
            "PHI3_MEMORY."
        )
    return MemoryPlan(
        total_bytes=memory_bytes,
        weights_bytes=shape.weights_bytes,
        kv_bytes=kv_bytes,
        context_tokens=min(longest, fitting),
    )

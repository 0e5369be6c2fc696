"""What vLLM is started with, in the words of its command line."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phi3_bento.engine.state import Step

_EXECUTOR = "phi3_bento.engine.vllm_executor.InProcessExecutor"
_GUESSER = "phi3_bento.engine.vllm_guessing.PromptLookup"


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """What the engine is started with; token counts and bytes."""

    model: Path
    name: str
    revision: str
    """Of the model's files; the engine's version and formats are added by `app`."""
    dtype: str
    kv_dtype: str
    context_tokens: int
    kv_bytes: int
    max_sequences: int
    prefill_chunk_tokens: int
    block_tokens: int
    speculative_tokens: int
    """The most that are guessed ahead in a step; 0: none."""
    eager: bool
    stall_limit_s: float
    drain_limit_s: float
    on_step: Callable[[Step], None] = lambda _: None
    """Called after every engine step."""

    def arguments(self) -> list[str]:
        """The same in the words of vLLM's command line."""
        flags = ["--enforce-eager"] if self.eager else []
        return [
            *("--model", str(self.model), "--served-model-name", self.name),
            *("--dtype", self.dtype, "--max-model-len", str(self.context_tokens)),
            *("--kv-cache-dtype", self.kv_dtype),
            *("--kv-cache-memory-bytes", str(self.kv_bytes)),
            *("--block-size", str(self.block_tokens), "--enable-prefix-caching"),
            *("--max-num-seqs", str(self.max_sequences)),
            *("--max-num-batched-tokens", str(self.prefill_chunk_tokens)),
            *("--enable-chunked-prefill", "--enable-prompt-tokens-details"),
            *("--distributed-executor-backend", _EXECUTOR),
            # Waiting work is ordered by admission; each step tells what it computed, and how long.
            *("--scheduling-policy", "priority", "--enable-logging-iteration-details"),
            # EngineCore gets SIGTERM together with us: it must finish what runs before it ends.
            *("--shutdown-timeout", str(int(self.drain_limit_s))),
            *self._speculation(),
            *flags,
        ]

    def _speculation(self) -> list[str]:
        if not self.speculative_tokens:
            return []
        config = {
            "method": "custom_class",
            "model": _GUESSER,
            "num_speculative_tokens": self.speculative_tokens,
        }
        return ["--speculative-config", json.dumps(config)]

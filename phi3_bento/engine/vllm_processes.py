"""vLLM's processes: started, asked what they are, and killed."""

import multiprocessing
from argparse import Namespace

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM

from phi3_bento.engine.vllm_watch import StepClock, TimedLLM


def kill(engine: AsyncLLM) -> None:
    """End the engine's EngineCore, whatever it is at."""
    manager = engine.engine_core.resources.engine_manager
    for process in manager.processes if manager else ():
        process.kill()


def kill_starting() -> None:
    """End what `start_processes` has started, wherever it is at."""
    for process in multiprocessing.active_children():
        process.kill()


def kv_tokens(engine: AsyncLLM) -> int:
    """Tokens that the KV cache holds."""
    cache = engine.vllm_config.cache_config
    return int(cache.num_gpu_blocks or 0) * int(cache.block_size)


def start_processes(arguments: Namespace, clock: StepClock) -> AsyncLLM:
    """Start EngineCore with vLLM's own arguments; blocks until the model is loaded."""
    options = AsyncEngineArgs.from_cli_args(arguments)
    return TimedLLM.from_engine_args(options, stat_loggers=[lambda *_: clock])


def special_tokens(engine: AsyncLLM) -> tuple[str, ...]:
    """All tokens that the tokenizer finds before it reads text; Phi-3 marks not all as special."""
    added = engine.get_tokenizer().get_added_vocab()
    return tuple(sorted(token for token in added if token.strip()))

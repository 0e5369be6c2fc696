"""The model in EngineCore itself; its KV blocks: their size, and a salt behind a shared beginning.

EngineCore imports this file by the executor's name; it runs there and nowhere else.
"""

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from vllm.v1.attention.backend import MultipleOf
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.core import kv_cache_utils
from vllm.v1.executor.uniproc_executor import UniProcExecutor

from phi3_bento.prefix_salt import PrefixSalt

_NAME = "cache_salt"
"""What vLLM calls the salt among a block's extra keys."""

_extra_keys = kv_cache_utils.generate_block_hash_extra_keys


class InProcessExecutor(UniProcExecutor):
    """vLLM's executor without a worker process, with blocks that are salted by `PrefixSalt`.

    vLLM turns the name "uni" into "mp" on a CPU, for it could not set OpenMP's environment there
    otherwise; `engine_environment` has set it before EngineCore exists (ADR 11).
    """

    def _init_executor(self) -> None:
        end_with_parent()
        kv_cache_utils.generate_block_hash_extra_keys = salted_extra_keys
        CPUAttentionBackend.get_supported_kernel_block_sizes = staticmethod(supported_block_sizes)
        # Not above: the service's process reads this file too, and needs no model runner.
        importlib.import_module("phi3_bento.engine.vllm_sampling").install()
        super()._init_executor()

    def execute_model(self, scheduler_output: Any, non_block: bool = False) -> Any:
        """As vLLM's, but that a step runs when its result is asked for.

        EngineCore takes the time of a step while it waits for the result. vLLM's own executor in
        one process runs it before, so that every step would seem to take less than a millisecond.
        """
        run = super().execute_model
        return _Later(lambda: run(scheduler_output)) if non_block else run(scheduler_output)


def supported_block_sizes(_: Any = None) -> list[Any]:
    """Tokens of a KV block that the CPU's attention takes.

    vLLM names multiples of 32 and has a kernel for multiples of 16 as well ("vec16"), which was no
    slower here; a prompt is then read from at most 16 tokens before it differs (ADR 22).
    """
    return [MultipleOf(16)]


class _Later(Future[Any]):
    """The result of a call that is made by the first who asks for it, in their thread."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            try:
                self.set_result(self._call())
            except Exception as error:
                self.set_exception(error)
        return super().result(timeout)


def end_with_parent() -> None:
    """Have this process killed as soon as the one that started it is gone, however it went.

    A service that is killed would leave an engine behind, with all its memory, for its successor
    to run beside. Nothing of an engine is worth an orderly end: whoever asked it is gone too.
    """
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="parent-watch").start()


def salted_extra_keys(
    request: Any, start: int, end: int, multimodal_start: int
) -> tuple[tuple[Any, ...] | None, int]:
    """What goes into a block's hash beside its tokens, for the block from token `start` to `end`.

    As vLLM's, but that a salt with a public beginning comes into the first block behind it. A
    block's hash covers those before it, so that all that follows is the tenant's own.
    """
    keys, multimodal_next = _extra_keys(request, start, end, multimodal_start)
    salt = PrefixSalt.read(request.cache_salt or "")
    if not salt.public_tokens or start not in (0, salt.public_tokens):
        return keys, multimodal_next
    if not salt.covers(request.prompt_token_ids or ()):
        return keys, multimodal_next
    others = [key for key in keys or () if key[0] != _NAME]
    if start == salt.public_tokens:
        others.append((_NAME, request.cache_salt))
    return tuple(others) or None, multimodal_next

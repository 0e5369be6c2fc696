"""What vLLM tells of its work: every step, and when it worked on which request."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerBase

from phi3_bento.core import EngineTimes
from phi3_bento.engine.progress import Progress
from phi3_bento.engine.state import Step


def adopt_vllm_logs() -> None:
    """Have vLLM's loggers in this process write as all others do, and no line for every step.

    vLLM gives them a handler when it is imported, and may again, forgetting their levels, when an
    engine starts. The details of a step are for `StepClock`.
    """
    logging.getLogger("vllm").handlers.clear()
    logging.getLogger("vllm").propagate = True
    logging.getLogger("vllm.v1.metrics.loggers").setLevel(logging.WARNING)


adopt_vllm_logs()

times_of_this_task: ContextVar[EngineTimes] = ContextVar("phi3_engine_times")
"""Where the times of what this task asks of vLLM are noted."""


class TimedLLM(AsyncLLM):
    """Notes when the engine has worked on a request, in `times_of_this_task`.

    EngineCore stamps on the clock of `time.monotonic`, which all processes of a machine share.
    """

    async def generate(self, *args: Any, **options: Any) -> AsyncGenerator[Any, None]:
        times = times_of_this_task.get(None)
        async with aclosing(super().generate(*args, **options)) as outputs:
            async for output in outputs:
                if times is not None and output.metrics is not None:
                    _note_times(times, output)
                yield output


def _note_times(times: EngineTimes, output: Any) -> None:
    stamps = output.metrics
    if not times.first_token_at:
        times.queued_at, times.scheduled_at = stamps.queued_ts, stamps.scheduled_ts
        times.first_token_at = stamps.first_token_ts
    times.last_token_at = stamps.last_token_ts


class StepClock(StatLoggerBase):
    """Notes each step that the engine reports, the proof of progress, and what it computed."""

    def __init__(self, progress: Progress, on_step: Callable[[Step], None]) -> None:
        self.progress = progress
        self._on_step = on_step

    def record(self, scheduler_stats: Any, *_: Any, **__: Any) -> None:
        """Called by vLLM after every engine step."""
        self.progress.step()
        details = scheduler_stats and scheduler_stats.iteration_details
        if details and not details.is_dummy:
            kept = details.num_generation_tokens - _refused_guesses(scheduler_stats)
            self._on_step(Step(details.num_ctx_tokens, kept, details.elapsed_ms / 1000))

    def log_engine_initialized(self) -> None:
        """Required by vLLM; nothing to log."""


def _refused_guesses(scheduler_stats: Any) -> int:
    """Tokens that a step computed and no answer contains."""
    guesses = scheduler_stats.spec_decoding_stats
    return guesses.num_draft_tokens - guesses.num_accepted_tokens if guesses else 0

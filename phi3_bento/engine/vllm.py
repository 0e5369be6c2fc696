"""vLLM in this process's event loop, and its own OpenAI serving layer, as an `Engine`.

This file and the other `vllm_….py` alone import vllm, and change when it changes. Its environment
(`engine/environment.py`) must be set before they are imported.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.datastructures import State as StarletteState
from vllm.entrypoints.generate.base.protocol import StreamOptions
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMError
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from phi3_bento.core import Job, Operation
from phi3_bento.engine.counting import Payload, count
from phi3_bento.engine.failures import failure_from_validation
from phi3_bento.engine.options import VllmOptions
from phi3_bento.engine.progress import Progress
from phi3_bento.engine.state import Health, ModelCard, State
from phi3_bento.engine.vllm_failures import ended, failure_from, failure_from_response
from phi3_bento.engine.vllm_processes import (
    kill,
    kill_starting,
    kv_tokens,
    special_tokens,
    start_processes,
)
from phi3_bento.engine.vllm_protocol import REQUESTS, assembler
from phi3_bento.engine.vllm_watch import StepClock, adopt_vllm_logs, times_of_this_task
from phi3_bento.errors import ModelNotFound, StartFailure, Unavailable
from phi3_bento.phi3_error import Phi3Error

_SIGN_OF_LIFE = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
_DOUBT_S = 5.0
_FAIL_LIMIT_S = 1.5
_POLL_S = 0.05
_EVENT_PREFIX = "data: "
_END_OF_STREAM = "[DONE]"


class VllmEngine:
    """An `Engine` over an in-process `AsyncLLM`."""

    def __init__(
        self, engine: AsyncLLM, serving: StarletteState, options: VllmOptions, clock: StepClock
    ) -> None:
        self._engine = engine
        self._serving = serving
        self._options = options
        self._progress = clock.progress
        self._probe: asyncio.Task[None] | None = None
        self._closed = False
        self._card = ModelCard(
            name=options.name,
            max_context_tokens=engine.model_config.max_model_len,
            created=int(time.time()),
            revision=options.revision,
            max_sequences=options.max_sequences,
            kv_tokens=kv_tokens(engine),
            special_tokens=special_tokens(engine),
        )

    @property
    def card(self) -> ModelCard:
        return self._card

    def parse(self, operation: Operation, body: Mapping[str, Any], request_id: str) -> Job:
        try:
            request = REQUESTS[operation].validate_python(dict(body))
        except ValidationError as error:
            raise failure_from_validation(error) from None
        except (VLLMError, ValueError, TypeError) as error:
            raise failure_from(error) from None
        if request.model is not None and request.model != self._card.name:
            raise ModelNotFound(request.model, self._card.name)
        if hasattr(request, "request_id"):
            request.request_id = request_id
        # The other requests take fields that they do not know, this one too.
        stream = operation.is_generation and bool(request.stream)
        payload = Payload.of(request, stream=stream)
        if stream:
            request.stream_options = StreamOptions(include_usage=True, continuous_usage_stats=True)
        return Job(operation, request_id, payload, stream, assemble=assembler(operation))

    async def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        if self._closed:
            raise Unavailable("The engine is closed.")
        self._progress.enter()
        try:
            async with aclosing(self._pieces(job)) as pieces:
                async for piece in pieces:
                    yield piece
        except Phi3Error as error:
            raise (ended() if self._engine.errored else error) from None
        except Exception as error:
            raise failure_from(error) from error
        finally:
            self._leave()

    def health(self) -> Health:
        if self._closed:
            return Health(State.CLOSED, "The engine is closed.")
        if self._engine.errored:
            return Health(State.DEAD, "The engine's process has ended.")
        silence_s = self._progress.silence_s
        if silence_s > self._options.stall_limit_s:
            return Health(
                State.STALLED,
                f"{self._progress.running} requests run, and the engine made no step for "
                f"{silence_s:.0f} s.",
            )
        return Health(State.READY)

    async def close(self) -> None:
        if self._closed:
            return
        is_sound = self.health().is_ready
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
        if not is_sound:
            # One that does not move would not end by itself, and has nothing left to finish.
            kill(self._engine)
            await self._let_jobs_fail()
        await asyncio.to_thread(self._engine.shutdown)

    async def _let_jobs_fail(self) -> None:
        """Wait until vLLM has told all jobs that the engine is dead: a shutdown would not."""
        for _ in range(round(_FAIL_LIMIT_S / _POLL_S)):
            if self._progress.running:
                await asyncio.sleep(_POLL_S)

    def _leave(self) -> None:
        """A job ends. Where nothing moved while it was there, ask the engine for a sign of life.

        Clients who give up before the stall limit would otherwise make a wedged engine look idle.
        """
        doubt_s = min(_DOUBT_S, self._options.stall_limit_s / 2)
        if self._progress.silence_s > doubt_s and self._progress.running == 1 and not self._closed:
            self._progress.enter()
            self._probe = asyncio.create_task(self._ask_for_a_sign())
        self._progress.leave()

    async def _ask_for_a_sign(self) -> None:
        try:
            job = self.parse(Operation.CHAT, _SIGN_OF_LIFE, f"probe-{time.monotonic_ns()}")
            async with aclosing(self._pieces(job)) as pieces:
                async for _ in pieces:
                    pass
        except (Phi3Error, EngineDeadError):
            pass  # its health tells
        finally:
            self._progress.leave()

    async def _pieces(self, job: Job) -> AsyncGenerator[bytes, None]:
        times_of_this_task.set(job.times)
        answer = await self._call(job)
        if isinstance(answer, ErrorResponse):
            raise failure_from_response(answer)
        if isinstance(answer, BaseModel):
            if usage := getattr(answer, "usage", None):
                count(usage.model_dump(), job.tokens)
            yield answer.model_dump_json().encode()
            return
        async with aclosing(answer) as events:
            async for event in events:
                data = event.removeprefix(_EVENT_PREFIX).rstrip()
                if data.startswith('{"error"'):
                    raise failure_from_response(ErrorResponse.model_validate_json(data))
                if data != _END_OF_STREAM and (chunk := job.payload.chunk(data, job.tokens)):
                    yield chunk

    async def _call(self, job: Job) -> Any:
        """The answer as vLLM's serving layer gives it: a model, an error, or a stream of events."""
        serving, request = self._serving, job.payload.request
        if job.operation.is_generation:
            request.priority, request.cache_salt = job.priority, job.cache_salt
        match job.operation:
            case Operation.CHAT:
                call = serving.openai_serving_chat.create_chat_completion(request)
            case Operation.COMPLETION:
                call = serving.openai_serving_completion.create_completion(request)
            case Operation.TOKENIZE:
                call = serving.serving_tokenization.create_tokenize(request, None)
            case Operation.DETOKENIZE:
                call = serving.serving_tokenization.create_detokenize(request, None)
        answer = await call
        # vLLM swallows a cancellation and returns an error value: raise it again.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return answer


async def start_vllm(options: VllmOptions) -> VllmEngine:
    """Start the engine's processes, load the model and build vLLM's serving layer.

    Takes seconds for the demo model and about half a minute for the full size, in a thread, so
    that the event loop goes on answering probes. Raises `StartFailure`.
    """
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(options.arguments())
    clock = StepClock(Progress(), options.on_step)
    try:
        engine = await asyncio.to_thread(start_processes, arguments, clock)
    except asyncio.CancelledError:
        kill_starting()  # the thread would wait for the end of the start, and the service for it
        raise
    except Exception as error:
        raise StartFailure(f"vLLM could not start: {error}") from error
    adopt_vllm_logs()
    serving = StarletteState()
    try:
        await init_app_state(engine, serving, arguments, await engine.get_supported_tasks())
    except Exception as error:
        engine.shutdown()
        raise StartFailure(f"vLLM's serving layer could not start: {error}") from error
    return VllmEngine(engine, serving, options, clock)

"""An engine without a model: it repeats the prompt, or says what a test has scripted.

For fast tests of everything around the engine, load tests of the frame alone, and a demonstration
on any machine. It counts a word as a token and never pretends to be a model.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from phi3_bento.core import Job, Operation
from phi3_bento.engine.assembly import assemble
from phi3_bento.engine.state import Health, ModelCard, State, Step
from phi3_bento.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound, Unavailable

PHI3_SPECIAL_TOKENS = (
    *("<unk>", "<s>", "</s>", "<|endoftext|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *(f"<|placeholder{number}|>" for number in range(1, 7)),
)
Script = str | Exception
"""What the next job answers: a text, or an error that it raises."""


class EchoEngine:
    """An `Engine` that needs no weights.

    `word_s` seconds pass before each word of an answer. `enqueue` scripts the next answers;
    `running`, `started` and `aborted` count jobs, for tests.
    """

    def __init__(
        self,
        *,
        name: str = "phi3-echo",
        max_context_tokens: int = 4096,
        word_s: float = 0.0,
        special_tokens: tuple[str, ...] = PHI3_SPECIAL_TOKENS,
    ) -> None:
        self.card = ModelCard(
            name, max_context_tokens, created=int(time.time()), special_tokens=special_tokens
        )
        self.word_s = word_s
        self.on_step: Callable[[Step], None] = lambda _: None
        self.state = Health(State.READY)
        self.running = 0
        self.started = 0
        self.aborted = 0
        self._scripts: deque[Script] = deque()

    def enqueue(self, *scripts: Script) -> None:
        """Answer the next jobs with these, in order."""
        self._scripts.extend(scripts)

    def parse(self, operation: Operation, body: Mapping[str, Any], request_id: str) -> Job:
        model = body.get("model")
        if model is not None and model != self.card.name:
            raise ModelNotFound(str(model), self.card.name)
        temperature = body.get("temperature", 0)
        if not isinstance(temperature, int | float) or temperature < 0:
            raise InvalidRequest("temperature must be at least 0.", param="temperature")
        for name in _TOKEN_LISTS:
            if not _is_token_list(body.get(name, [])):
                raise InvalidRequest(f"{name} must be a list of code points.", param=name)
        stream = operation.is_generation and body.get("stream") is True
        return Job(operation, request_id, dict(body), stream, assemble=_whole)

    async def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        if self.state.state is State.CLOSED:
            raise Unavailable("The engine is closed.")
        self.running += 1
        self.started += 1
        job.times.queued_at = job.times.scheduled_at = time.monotonic()
        finished = False
        try:
            script = self._scripts.popleft() if self._scripts else None
            if isinstance(script, Exception):
                raise script
            async for document in _ANSWERS[job.operation](self, job, script):
                yield json.dumps(document).encode()
            finished = True
        finally:
            self.running -= 1
            self.aborted += not finished

    def health(self) -> Health:
        return self.state

    async def close(self) -> None:
        self.state = Health(State.CLOSED, "The engine is closed.")

    async def _words(self, job: Job, text: str) -> AsyncGenerator[str, None]:
        limit = job.payload.get("max_tokens") or job.payload.get("max_completion_tokens")
        prompt_tokens = len(_prompt_of(job).split())
        if prompt_tokens + (limit or 0) > self.card.max_context_tokens:
            raise ContextLengthExceeded(
                f"This model's maximum context length is {self.card.max_context_tokens} tokens; "
                f"the prompt has {prompt_tokens}.",
                param="messages",
            )
        for index, word in enumerate(text.split()[:limit]):
            if self.word_s:
                await asyncio.sleep(self.word_s)
            job.times.last_token_at = time.monotonic()
            job.times.first_token_at = job.times.first_token_at or job.times.last_token_at
            job.tokens.prompt = prompt_tokens
            job.tokens.completion += 1
            self.on_step(Step(0 if index else prompt_tokens, self.running, self.word_s))
            yield word if index == 0 else f" {word}"

    async def _chat(self, job: Job, script: str | None) -> AsyncGenerator[dict[str, Any], None]:
        text = script or _prompt_of(job)
        if not job.stream:
            words = [word async for word in self._words(job, text)]
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            choice["logprobs"] = _asked_logprobs(job)
            yield self._document(job, "chat.completion", choice) | _usage(job)
            return
        delta: dict[str, Any] = {"role": "assistant", "content": ""}
        async for word in self._words(job, text):
            if "role" in delta:
                first = _chunk(delta) | {"logprobs": _asked_logprobs(job)}
                yield self._document(job, "chat.completion.chunk", first)
            delta = {"content": word}
            yield self._document(job, "chat.completion.chunk", _chunk(delta))
        yield self._document(job, "chat.completion.chunk", _chunk({}, "stop"))
        if _wants_usage(job):
            yield self._document(job, "chat.completion.chunk") | _usage(job)

    async def _completion(
        self, job: Job, script: str | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        words = self._words(job, script or _prompt_of(job))
        if not job.stream:
            text = [word async for word in words]
            choice = {"index": 0, "text": "".join(text), "finish_reason": "stop"}
            yield self._document(job, "text_completion", choice) | _usage(job)
            return
        async for word in words:
            choice = {"index": 0, "text": word, "finish_reason": None}
            yield self._document(job, "text_completion", choice)
        choice = {"index": 0, "text": "", "finish_reason": "stop"}
        yield self._document(job, "text_completion", choice)
        if _wants_usage(job):
            yield self._document(job, "text_completion") | _usage(job)

    async def _tokenize(self, job: Job, _: str | None) -> AsyncGenerator[dict[str, Any], None]:
        tokens = [ord(character) for character in _prompt_of(job)]
        limit = self.card.max_context_tokens
        yield {"count": len(tokens), "max_model_len": limit, "tokens": tokens}

    async def _detokenize(self, job: Job, _: str | None) -> AsyncGenerator[dict[str, Any], None]:
        yield {"prompt": "".join(chr(token) for token in job.payload.get("tokens", []))}

    def _document(self, job: Job, kind: str, *choices: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"{'cmpl' if kind == 'text_completion' else 'chatcmpl'}-{job.request_id}",
            "object": kind,
            "created": int(time.time()),
            "model": self.card.name,
            "choices": list(choices),
        }


_Answer = Callable[[EchoEngine, Job, str | None], AsyncGenerator[dict[str, Any], None]]
_ANSWERS: dict[Operation, _Answer] = {
    Operation.CHAT: EchoEngine._chat,
    Operation.COMPLETION: EchoEngine._completion,
    Operation.TOKENIZE: EchoEngine._tokenize,
    Operation.DETOKENIZE: EchoEngine._detokenize,
}


_TOKEN_LISTS = ("tokens", "logprob_token_ids")


def _is_token_list(value: object) -> bool:
    """A list of code points: this engine's tokens are characters."""
    return isinstance(value, list) and all(
        type(token) is int and 0 <= token <= sys.maxunicode and not 0xD800 <= token < 0xE000
        for token in value
    )


def _whole(chunks: Sequence[bytes]) -> bytes:
    return json.dumps(assemble(chunks)).encode()


def _prompt_of(job: Job) -> str:
    messages = job.payload.get("messages")
    content = messages[-1].get("content") if messages else job.payload.get("prompt", "")
    return content if isinstance(content, str) else json.dumps(content)


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _usage(job: Job) -> dict[str, Any]:
    count = job.tokens
    counts = {"prompt_tokens": count.prompt, "completion_tokens": count.completion}
    return {"usage": counts | {"total_tokens": count.total}}


def _wants_usage(job: Job) -> bool:
    options = job.payload.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _asked_logprobs(job: Job) -> dict[str, Any] | None:
    """The first asked-for token is certain, as `classify` reads it."""
    tokens = job.payload.get("logprob_token_ids")
    if not tokens:
        return None
    top = [
        {"token": f"token_id:{token}", "logprob": 0.0 if index == 0 else -20.0, "bytes": None}
        for index, token in enumerate(tokens)
    ]
    return {"content": [{**top[0], "top_logprobs": top}]}

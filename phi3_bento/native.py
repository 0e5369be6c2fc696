"""BentoML's own API, typed by pydantic: `generate`, its stream, and `classify`."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from phi3_bento.admission.door import current_call
from phi3_bento.admission.validation import check_labels
from phi3_bento.call import Call
from phi3_bento.core import Operation, whole
from phi3_bento.engine.decision import DecisionReader
from phi3_bento.errors import Unavailable
from phi3_bento.phi3_error import Phi3Error, to_openai
from phi3_bento.pipeline import Pipeline


class Usage(BaseModel):
    """Tokens of one request."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = Field(0, description="Prompt tokens that the engine had in its KV cache.")


class Generation(BaseModel):
    """A generated text."""

    text: str
    finish_reason: str = Field(description="`stop`, or `length` where max_tokens cut it.")
    model: str
    usage: Usage


class DecisionItem(BaseModel):
    """One decision to make: which of `labels` fits `text`?"""

    model_config = ConfigDict(extra="forbid")

    text: str
    labels: list[str] = Field(description="2 to 26 different labels.")
    instruction: str | None = Field(None, description="What to decide; unset: the best fit.")
    # BentoML makes batches of many callers' items: each remembers whose it is.
    _call: Call = PrivateAttr(default_factory=current_call)


class Decision(BaseModel):
    """The label with the highest probability, and the probability of every label."""

    label: str
    probabilities: dict[str, float]
    usage: Usage


class DecisionFailure(BaseModel):
    """Why one item has no decision; the other items of the batch have theirs."""

    error: dict[str, Any]


class NativeApi:
    """The native operations, as requests to the pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._reader: DecisionReader | None = None

    def open(self, reader: DecisionReader) -> None:
        """Make decisions from now on."""
        self._reader = reader

    async def generate(
        self, prompt: str, *, max_tokens: int, temperature: float, system: str | None
    ) -> Generation:
        """Answer `prompt`. Raises `Phi3Error`."""
        body = _chat_body(prompt, max_tokens, temperature, system)
        answer = await self._ask(body, current_call())
        choice = answer["choices"][0]
        return Generation(
            text=choice["message"]["content"] or "",
            finish_reason=choice["finish_reason"],
            model=answer["model"],
            usage=_usage(answer),
        )

    async def generate_stream(
        self, prompt: str, *, max_tokens: int, temperature: float, system: str | None
    ) -> AsyncGenerator[str, None]:
        """Yield the answer to `prompt` as it is made. Raises `Phi3Error`."""
        body = _chat_body(prompt, max_tokens, temperature, system) | {"stream": True}
        answer = self._pipeline.answer(Operation.CHAT, body, current_call())
        async with aclosing(answer) as pieces:
            async for piece in pieces:
                for choice in orjson.loads(piece)["choices"]:
                    if text := choice["delta"].get("content"):
                        yield text

    async def classify(self, items: Sequence[DecisionItem]) -> list[Decision | DecisionFailure]:
        """Decide all `items` at once; the engine batches them. A bad item fails alone."""
        return list(await asyncio.gather(*(self._decide_or_say_why(item) for item in items)))

    async def _decide_or_say_why(self, item: DecisionItem) -> Decision | DecisionFailure:
        try:
            return await self._decide(item)
        except Phi3Error as error:
            return DecisionFailure(error=to_openai(error)["error"])

    async def _decide(self, item: DecisionItem) -> Decision:
        if self._reader is None:
            raise Unavailable(self._pipeline.health().reason)
        check_labels(item.labels, self._pipeline.card.special_tokens)
        decision = await self._reader.decision(item.text, item.labels, item.instruction)
        answer = await self._ask(decision.body, item._call)  # ours
        probabilities = decision.probabilities(answer)
        label = max(probabilities, key=probabilities.__getitem__)
        return Decision(label=label, probabilities=probabilities, usage=_usage(answer))

    async def _ask(self, body: dict[str, Any], call: Call) -> dict[str, Any]:
        answer = await whole(self._pipeline.answer(Operation.CHAT, body, call))
        document: dict[str, Any] = orjson.loads(answer)
        return document


def _chat_body(
    prompt: str, max_tokens: int, temperature: float, system: str | None
) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [*messages, {"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": temperature,
    }


def _usage(answer: dict[str, Any]) -> Usage:
    usage = answer["usage"]
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        cached_tokens=details.get("cached_tokens") or 0,
    )

"""vLLM's models of requests and answers, by operation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, TypeAdapter
from vllm.entrypoints.openai.chat_completion import protocol as chat
from vllm.entrypoints.openai.completion import protocol as completion
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeRequest

from phi3_bento.core import Operation
from phi3_bento.engine.assembly import assemble

REQUESTS: dict[Operation, TypeAdapter[Any]] = {
    Operation.CHAT: TypeAdapter(chat.ChatCompletionRequest),
    Operation.COMPLETION: TypeAdapter(completion.CompletionRequest),
    Operation.TOKENIZE: TypeAdapter(TokenizeRequest),
    Operation.DETOKENIZE: TypeAdapter(DetokenizeRequest),
}

_ANSWERS: dict[Operation, type[BaseModel]] = {
    Operation.CHAT: chat.ChatCompletionResponse,
    Operation.COMPLETION: completion.CompletionResponse,
}


def assembler(operation: Operation) -> Callable[[Sequence[bytes]], bytes] | None:
    """What makes the unstreamed answer of all chunks of a stream; None: it has none."""
    answer = _ANSWERS.get(operation)
    return None if answer is None else partial(_whole, answer)


def _whole(answer: type[BaseModel], chunks: Sequence[bytes]) -> bytes:
    return answer.model_validate(assemble(chunks)).model_dump_json().encode()

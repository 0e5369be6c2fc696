"""How much work a request may be, before the engine has counted: what limits reserve; pure."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from phi3_bento.admission.deadline import Work
from phi3_bento.core import Operation

CHAT_NEW_TOKENS = 512
"""Reserved for a chat that names no limit; the engine would go on to the end of the context."""

COMPLETION_NEW_TOKENS = 16
"""OpenAI's default for completions, which vLLM keeps."""

BYTES_PER_TOKEN = 3
"""English has about four bytes a token, other languages and code fewer."""

TOKENS_PER_MESSAGE = 8
"""What the chat template adds."""


def work_of(operation: Operation, body: Mapping[str, Any], *, context_tokens: int) -> Work:
    """An estimate of the tokens of a checked body; settling corrects it.

    The prompt is estimated from its length, token ids are counted. Of the answer it is the most
    that may come: the larger of `max_tokens` and `max_completion_tokens`, for each choice, and no
    more than the context holds.
    """
    if operation not in (Operation.CHAT, Operation.COMPLETION):
        return Work(0, 0)
    is_chat = operation is Operation.CHAT
    prompts = [_messages_tokens(body)] if is_chat else _prompts_tokens(body.get("prompt"))
    default = CHAT_NEW_TOKENS if is_chat else COMPLETION_NEW_TOKENS
    limits = [_number(body.get(name)) for name in ("max_tokens", "max_completion_tokens")]
    wanted = max(limits) or default
    choices = max(1, _number(body.get("n")), _number(body.get("best_of")))
    fitting = [min(prompt, context_tokens) for prompt in prompts]
    new_tokens = sum(min(wanted, context_tokens - prompt) for prompt in fitting)
    return Work(sum(fitting), choices * new_tokens)


def message_tokens(message: Mapping[str, Any]) -> int:
    """An estimate of a message of a chat."""
    return TOKENS_PER_MESSAGE + _content_tokens(message.get("content"))


def text_tokens(text: object) -> int:
    """An estimate of a text; 0 for what is none."""
    if not isinstance(text, str):
        return 0
    return ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _messages_tokens(body: Mapping[str, Any]) -> int:
    return sum(map(message_tokens, body.get("messages") or ()))


def _content_tokens(content: object) -> int:
    if isinstance(content, list):
        return sum(text_tokens(part.get("text")) for part in content if isinstance(part, dict))
    return text_tokens(content)


def _prompts_tokens(prompt: object) -> list[int]:
    if not isinstance(prompt, list):
        return [text_tokens(prompt)]
    if prompt and isinstance(prompt[0], int):
        return [len(prompt)]
    return [len(each) if isinstance(each, list) else text_tokens(each) for each in prompt]


def _number(value: object) -> int:
    """A count; 0 for what is none: the engine refuses it with its reason."""
    return max(0, value) if isinstance(value, int) else 0

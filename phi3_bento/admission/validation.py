"""Check what the engine would take silently, expensively, or in a way that the caller did not mean.

Types, ranges and the prompt's length are vLLM's to check; here stands only what vLLM lets pass and
OpenAI's API, or a service for many, does not. The size of the whole body is the door's to check,
its shape `shape`'s, constraints on the answer are `structured`'s, and `sanitisation` changes texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from phi3_bento.admission.sanitisation import sanitise
from phi3_bento.admission.shape import check_shape, flaw_of
from phi3_bento.admission.spelled_out import without_spelled_out
from phi3_bento.admission.structured import check_structured
from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest

MAX_MESSAGES = 1024
MAX_STOPS = 4
"""OpenAI's limit, and vLLM's; every sequence costs a search per token."""

MAX_LABEL_CHARACTERS = 200

MAX_MEMBERS = {
    "stop": MAX_STOPS,
    "stop_token_ids": 128,
    "bad_words": 128,
    "logprob_token_ids": 128,
    "allowed_token_ids": 1024,
    "logit_bias": 1024,
    "metadata": 16,
}
"""The most members of a list or an object."""

MAX_CHARACTERS = {"stop": 256, "bad_words": 256, "user": 512, "metadata": 512, "model": 256}
"""The longest text, or text inside a list or an object, names included."""

_WHOLE_NUMBERS = ("n", "best_of", "max_tokens", "max_completion_tokens", "min_tokens")
_INTERNAL = "it is internal to the engine"
_TEXT_ONLY = "the model reads text only"
_OLD_NAME = "vLLM has removed it and would ignore it; use structured_outputs"

REFUSED_FIELDS = {
    "cache_salt": "it is set by the service",
    "priority": "it is set by the service",
    "request_id": "send the header X-Request-Id",
    "session_id": "it is not supported",
    "kv_transfer_params": _INTERNAL,
    "ec_transfer_params": _INTERNAL,
    "vllm_xargs": _INTERNAL,
    "chat_template": "the model's own template is used",
    "chat_template_kwargs": "the model's own template is used",
    "documents": "put them into a message",
    "media_io_kwargs": _TEXT_ONLY,
    "mm_processor_kwargs": _TEXT_ONLY,
    "prompt_embeds": _TEXT_ONLY,
    "use_beam_search": "it is not supported",
    "repetition_detection": "it is not supported; see repetition_penalty",
    "guided_json": _OLD_NAME,
    "guided_regex": _OLD_NAME,
    "guided_choice": _OLD_NAME,
    "guided_grammar": _OLD_NAME,
    "guided_decoding_backend": _OLD_NAME,
    "guided_whitespace_pattern": _OLD_NAME,
    "tools": "the model has no tool calling; describe the choice in the prompt, or use "
    "response_format with a JSON schema",
    "functions": "the model has no tool calling",
}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Phi-3's chat template knows three roles and silently drops messages of any other."""


def check_body(
    operation: Operation, body: object, *, max_choices: int, special_tokens: Sequence[str]
) -> dict[str, Any]:
    """The body, made safe for the engine. Raises `InvalidRequest` that names the parameter.

    `special_tokens` are the model's own: in the messages of a chat they become plain text. Prompts
    of completions and of `/tokenize` are raw by definition: who sends them writes the special
    tokens, and what they pass for, themselves.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    checked = without_spelled_out(body)
    for name, reason in REFUSED_FIELDS.items():
        if name in checked:
            raise InvalidRequest(f"'{name}' cannot be set: {reason}.", param=name)
    check_shape(checked)
    _check_stream(checked)
    _check_counts(checked, max_choices)
    _check_sizes(checked)
    check_structured(checked)
    if operation is Operation.CHAT or "messages" in checked:
        checked["messages"] = _check_messages(checked.get("messages"), special_tokens)
    if operation is Operation.COMPLETION:
        _check_prompt(checked.get("prompt"), max_choices)
    return checked


def check_labels(labels: Sequence[str], special_tokens: Sequence[str]) -> None:
    """Pass, or raise `InvalidRequest` for a label that is too long or would not stay as it is.

    A label's first token is asked of the tokenizer, so that no special token may be in it.
    """
    for label in labels:
        if len(label) > MAX_LABEL_CHARACTERS:
            raise InvalidRequest(
                f"'labels' has a label of {len(label)} characters; at most {MAX_LABEL_CHARACTERS} "
                "are served.",
                param="labels",
            )
        if flaw_of(label) or sanitise(label, special_tokens) != label:
            raise InvalidRequest(
                "'labels' has a label with a control character or one of the model's special "
                "tokens, such as <|end|>.",
                param="labels",
            )


def _check_stream(body: Mapping[str, Any]) -> None:
    options = body.get("stream_options")
    if options is not None and (body.get("stream") is not True or not isinstance(options, dict)):
        raise InvalidRequest(
            "'stream_options' must be an object, beside \"stream\": true.", param="stream_options"
        )


def _check_counts(body: Mapping[str, Any], max_choices: int) -> None:
    for name in _WHOLE_NUMBERS:
        # Pydantic would take "1000", 1e3 and true for numbers, past what limits count.
        if name in body and type(body[name]) is not int:
            raise InvalidRequest(f"'{name}' must be a whole number.", param=name)
    for name in ("n", "best_of"):
        count = body.get(name, 1)
        if count > max_choices:
            raise InvalidRequest(
                f"'{name}' is {count}; at most {max_choices} is served.", param=name
            )


def _check_sizes(body: Mapping[str, Any]) -> None:
    for name, most in MAX_MEMBERS.items():
        value = body.get(name)
        if isinstance(value, list | dict) and len(value) > most:
            raise InvalidRequest(
                f"'{name}' has {len(value)} members; at most {most} are served.", param=name
            )
    for name, most in MAX_CHARACTERS.items():
        if any(len(text) > most for text in _texts(body.get(name))):
            raise InvalidRequest(f"'{name}' has a text of more than {most} characters.", param=name)


def _texts(value: object) -> list[str]:
    """A text, or the texts of a list or an object."""
    members: list[object] = [value]
    if isinstance(value, list):
        members = value
    elif isinstance(value, dict):
        members = [*value, *value.values()]
    return [member for member in members if isinstance(member, str)]


def _check_messages(messages: object, special_tokens: Sequence[str]) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest(
            "'messages' must be a list with at least one message.", param="messages"
        )
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(
            f"'messages' has {len(messages)} messages; at most {MAX_MESSAGES} are served.",
            param="messages",
        )
    return [
        _check_message(message, f"messages.{index}", special_tokens)
        for index, message in enumerate(messages)
    ]


def _check_message(message: object, path: str, special_tokens: Sequence[str]) -> dict[str, Any]:
    """Role, content and name of a message; Phi-3's chat template would drop the rest silently."""
    if not isinstance(message, dict):
        raise InvalidRequest(f"'{path}' must be an object with role and content.", param=path)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidRequest(
            f"'{path}.role' must be one of {', '.join(_ROLES)}.", param=f"{path}.role"
        )
    for field in ("tool_calls", "function_call"):
        if message.get(field):
            raise InvalidRequest(
                f"'{path}.{field}' cannot be set: the model has no tool calling.",
                param=f"{path}.{field}",
            )
    content = _check_content(message.get("content"), f"{path}.content", special_tokens)
    checked = {"role": _ROLES[role], "content": content}
    name = message.get("name")
    if name is not None:
        checked["name"] = sanitise(_text(name, f"{path}.name"), special_tokens)
    return checked


def _check_content(content: object, path: str, special_tokens: Sequence[str]) -> Any:
    if isinstance(content, str):
        return sanitise(content, special_tokens)
    if not isinstance(content, list):
        raise InvalidRequest(f"'{path}' must be a text, or a list of text parts.", param=path)
    return [
        {"type": "text", "text": sanitise(_part_text(part, f"{path}.{index}"), special_tokens)}
        for index, part in enumerate(content)
    ]


def _part_text(part: object, path: str) -> str:
    """The text of a part. Of other parts vLLM would fetch what their URL names."""
    if not isinstance(part, dict) or part.get("type") != "text":
        raise InvalidRequest(
            f"'{path}' must be an object with the type text: {_TEXT_ONLY}.", param=path
        )
    return _text(part.get("text"), f"{path}.text")


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"'{path}' must be a text.", param=path)
    return value


def _check_prompt(prompt: object, max_choices: int) -> None:
    if prompt is None or prompt in ("", []):
        raise InvalidRequest("'prompt' is missing or empty.", param="prompt")
    is_batch = isinstance(prompt, list) and not isinstance(prompt[0], int)
    if is_batch and len(prompt) > max_choices:  # type: ignore[arg-type]
        raise InvalidRequest(
            f"'prompt' has {len(prompt)} prompts; at most {max_choices} are served at once.",  # type: ignore[arg-type]
            param="prompt",
        )

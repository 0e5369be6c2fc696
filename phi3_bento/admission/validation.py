"""Check what the engine would take silently, expensively, or in a way that the caller did not mean.

Types, ranges and the prompt's length are vLLM's to check; here stands only what vLLM lets pass and
OpenAI's API, or a service for many, does not.
"""

from collections.abc import Mapping
from typing import Any

from phi3_bento.core import Operation
from phi3_bento.errors import InvalidRequest

MAX_MESSAGES = 1024
MAX_STOPS = 16
"""OpenAI allows 4 stop sequences; every one costs a search per token."""

REFUSED_FIELDS = {
    "cache_salt": "it is set by the service",
    "priority": "it is set by the service",
    "request_id": "send the header X-Request-Id",
    "session_id": "it is not supported",
    "kv_transfer_params": "it is internal to the engine",
    "ec_transfer_params": "it is internal to the engine",
    "vllm_xargs": "it is internal to the engine",
    "chat_template": "the model's own template is used",
    "chat_template_kwargs": "the model's own template is used",
    "documents": "put them into a message",
    "media_io_kwargs": "the model reads text only",
    "mm_processor_kwargs": "the model reads text only",
    "prompt_embeds": "the model reads text only",
    "use_beam_search": "it is not supported",
    "tools": "the model has no tool calling; describe the choice in the prompt, or use "
    "response_format with a JSON schema",
    "functions": "the model has no tool calling",
}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Phi-3's chat template knows three roles and silently drops messages of any other."""


def check_body(operation: Operation, body: object, *, max_choices: int) -> dict[str, Any]:
    """The body, made safe for the engine. Raises `InvalidRequest` that names the parameter."""
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    checked = {name: value for name, value in body.items() if value is not None}
    for name, reason in REFUSED_FIELDS.items():
        if name in checked:
            raise InvalidRequest(f"'{name}' cannot be set: {reason}.", param=name)
    _check_counts(checked, max_choices)
    if operation is Operation.CHAT or "messages" in checked:
        checked["messages"] = _check_messages(checked.get("messages"))
    if operation is Operation.COMPLETION:
        _check_prompt(checked.get("prompt"), max_choices)
    return checked


def _check_counts(body: Mapping[str, Any], max_choices: int) -> None:
    for name in ("n", "best_of"):
        count = body.get(name)
        if count is not None and not isinstance(count, int):
            # Pydantic would take "1000" and 1e3 for numbers, past the limit.
            raise InvalidRequest(f"'{name}' must be a whole number.", param=name)
        if count is not None and count > max_choices:
            raise InvalidRequest(
                f"'{name}' is {count}; at most {max_choices} is served.", param=name
            )
    stops = body.get("stop")
    if isinstance(stops, list) and len(stops) > MAX_STOPS:
        raise InvalidRequest(
            f"'stop' has {len(stops)} sequences; at most {MAX_STOPS} are served.", param="stop"
        )


def _check_messages(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest(
            "'messages' must be a list with at least one message.", param="messages"
        )
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(
            f"'messages' has {len(messages)} messages; at most {MAX_MESSAGES} are served.",
            param="messages",
        )
    return [_check_message(message, index) for index, message in enumerate(messages)]


def _check_message(message: object, index: int) -> dict[str, Any]:
    path = f"messages.{index}"
    if not isinstance(message, dict):
        raise InvalidRequest(f"'{path}' must be an object with role and content.", param=path)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidRequest(
            f"'{path}.role' must be one of {', '.join(_ROLES)}.", param=f"{path}.role"
        )
    if not isinstance(message.get("content"), str | list):
        raise InvalidRequest(
            f"'{path}.content' must be a text, or a list of text parts.", param=f"{path}.content"
        )
    return {**message, "role": _ROLES[role]}


def _check_prompt(prompt: object, max_choices: int) -> None:
    if prompt is None or prompt in ("", []):
        raise InvalidRequest("'prompt' is missing or empty.", param="prompt")
    is_batch = isinstance(prompt, list) and not isinstance(prompt[0], int)
    if is_batch and len(prompt) > max_choices:  # type: ignore[arg-type]
        raise InvalidRequest(
            f"'prompt' has {len(prompt)} prompts; at most {max_choices} are served at once.",  # type: ignore[arg-type]
            param="prompt",
        )

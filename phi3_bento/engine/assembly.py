"""The whole answer that a stream's chunks come to, in OpenAI's form; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

_WHOLE = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}
_OF_THE_LAST = ("finish_reason", "stop_reason")


def assemble(chunks: Sequence[bytes]) -> dict[str, Any]:
    """The answer without `stream` to the same request; its usage comes from the last chunk.

    `chunks` are all of a stream that was asked for its usage.
    """
    documents = [orjson.loads(chunk) for chunk in chunks]
    first, last = documents[0], documents[-1]
    choices: dict[int, dict[str, Any]] = {}
    for document in documents:
        for part in document["choices"]:
            _add(choices.setdefault(part["index"], {"index": part["index"]}), part)
    return {
        "id": first["id"],
        "object": _WHOLE[first["object"]],
        "created": first["created"],
        "model": first["model"],
        "choices": [choices[index] for index in sorted(choices)],
        "system_fingerprint": last.get("system_fingerprint"),
        "usage": last["usage"],
    }


def _add(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    if "delta" in part:
        message = choice.setdefault("message", {"role": "assistant", "content": ""})
        message["content"] += part["delta"].get("content") or ""
    else:
        choice["text"] = choice.get("text", "") + part["text"]
    _add_logprobs(choice, part.get("logprobs"))
    for name in _OF_THE_LAST:
        if part.get(name) is not None or name not in choice:
            choice[name] = part.get(name)


def _add_logprobs(choice: dict[str, Any], logprobs: Mapping[str, Any] | None) -> None:
    """A list for each kind, one member a token."""
    whole = choice.setdefault("logprobs", None)
    if logprobs is None:
        return
    if whole is None:
        whole = choice["logprobs"] = {}
    for name, values in logprobs.items():
        if isinstance(values, list):
            whole.setdefault(name, []).extend(values)
        else:
            whole.setdefault(name, values)

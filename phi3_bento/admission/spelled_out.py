"""Fields that vllm-router writes into every body, spelling out what goes without saying.

Without them a request is the same request, whichever way it came: it has the same answers in the
cache, and packs of a service without a router serve one behind it.
"""

from collections.abc import Mapping
from typing import Any

_SPELLED_OUT: dict[str, bool] = {
    "continue_final_message": False,
    "echo": False,
    "ignore_eos": False,
    "include_reasoning": True,
    "no_stop_trim": False,
    "return_hidden_states": False,
    "separate_reasoning": True,
    "skip_special_tokens": True,
    "stream_reasoning": True,
}
"""vLLM's own defaults, and fields of SGLang that vLLM passes over."""


def without_spelled_out(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without fields that say what holds anyway, nor `null`, which says nothing."""
    return {
        name: value
        for name, value in body.items()
        if value is not None and value is not _SPELLED_OUT.get(name)
    }

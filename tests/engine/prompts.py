"""The conversations on which answers are compared token for token."""

from typing import Any

from phi3_bento.engine.decision import decision_prompt

MAX_TOKENS = 48
_SYSTEM = "You are the support desk of a small shop. Be short and friendly. " * 6


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


CONVERSATIONS: list[list[dict[str, Any]]] = [
    [_user("Hello!")],
    [_user("Which port does this service use?")],
    [_user("What is 17 + 25?")],
    [_user("Is this review positive or negative? Answer with one word. Review: I love it.")],
    [_user("Return JSON with the fields name and city. Text: Anna lives in Oslo.")],
    [_user(decision_prompt("My parcel never came.", ["billing", "shipping", "praise"]))],
    [{"role": "system", "content": _SYSTEM}, _user("Where is my order 4711?")],
    [_user("Hi"), {"role": "assistant", "content": "Hello!"}, _user("What can you do?")],
    [_user("Ünïcode — 日本語 🙂?")],
    [_user("word " * 700)],
]

"""Put a decision to the model so that one forward pass answers it.

The labels are listed with letters before the text, and the model is asked for one letter. The
probabilities of the letters as the next token are then the probabilities of the labels: one
prefill over labels and text, nothing generated. Instruction and labels come first, so that
decisions about different texts share their prefix in the KV cache.
"""

import json
import math
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from phi3_bento.core import Operation, whole
from phi3_bento.engine.base import Engine
from phi3_bento.errors import InvalidRequest, StartFailure

MAX_LABELS = len(ascii_uppercase)
DEFAULT_INSTRUCTION = "Choose the label that fits the text best."


def label_letters(labels: Sequence[str]) -> str:
    """The letters that stand for `labels`, in order; `MAX_LABELS` labels at most."""
    if len(labels) > MAX_LABELS:
        raise ValueError(f"{len(labels)} labels given; at most {MAX_LABELS} can be told apart")
    return ascii_uppercase[: len(labels)]


def decision_prompt(text: str, labels: Sequence[str], instruction: str | None = None) -> str:
    """The user message that asks which of `labels` fits `text`."""
    options = "\n".join(
        f"{letter}. {label}" for letter, label in zip(label_letters(labels), labels, strict=True)
    )
    return (
        f"{instruction or DEFAULT_INSTRUCTION}\n"
        f"Labels:\n{options}\n"
        f"Text: {text}\n"
        "Answer with the letter of one label."
    )


def check_labels(text: str, labels: Sequence[str]) -> None:
    """Raise `InvalidRequest` for a decision that has no answer."""
    if not text.strip():
        raise InvalidRequest("'text' is empty.", param="text")
    if not 2 <= len(labels) <= MAX_LABELS:
        raise InvalidRequest(
            f"'labels' has {len(labels)} labels; a decision is among 2 to {MAX_LABELS}.",
            param="labels",
        )
    if not all(label.strip() for label in labels):
        raise InvalidRequest("'labels' has an empty label.", param="labels")
    if len(set(labels)) < len(labels):
        raise InvalidRequest("'labels' has the same label twice.", param="labels")


class DecisionReader:
    """Knows the model's tokens for the letters; makes requests and reads probabilities."""

    def __init__(self, letter_tokens: Sequence[int]) -> None:
        self._letter_tokens = tuple(letter_tokens)

    def request(self, text: str, labels: Sequence[str], instruction: str | None) -> dict[str, Any]:
        """The body of the chat request that answers the decision."""
        prompt = decision_prompt(text, labels, instruction)
        return {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "logprob_token_ids": list(self._letter_tokens[: len(labels)]),
            "return_tokens_as_token_ids": True,
        }

    def probabilities(self, answer: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float]:
        """Each label's share of the probability that the model gave to the labels' letters."""
        entries = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {entry["token"]: entry["logprob"] for entry in entries}
        scores = [logprobs[f"token_id:{token}"] for token, _ in self._tokens_of(labels)]
        highest = max(scores)
        weights = [math.exp(score - highest) for score in scores]
        total = sum(weights)
        return {
            label: weight / total
            for (_, label), weight in zip(self._tokens_of(labels), weights, strict=True)
        }

    def _tokens_of(self, labels: Sequence[str]) -> list[tuple[int, str]]:
        return list(zip(self._letter_tokens[: len(labels)], labels, strict=True))


async def read_letter_tokens(engine: Engine) -> list[int]:
    """The token of each letter as the first one of a reply, found with the model's chat template.

    Asked of the tokenizer rather than assumed: in Phi-3's a letter there is not the same token as
    in the middle of a text. Raises `StartFailure` for a tokenizer without such tokens.
    """
    empty = await _reply_tokens(engine, "")
    tokens = []
    for letter in ascii_uppercase:
        reply = await _reply_tokens(engine, letter)
        if len(reply) != len(empty) + 1:
            raise StartFailure(
                f"The model's tokenizer has no single token for a reply of '{letter}', so that "
                "'classify' cannot read decisions. Use a checkpoint with Phi-3's tokenizer."
            )
        tokens.append(reply[-1])
    return tokens


async def _reply_tokens(engine: Engine, reply: str) -> list[int]:
    body = {
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": reply}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    }
    job = engine.parse(Operation.TOKENIZE, body, "letters")
    document = json.loads(await whole(engine.run(job)))
    return list(document["tokens"])

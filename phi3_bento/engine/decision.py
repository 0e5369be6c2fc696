"""Put a decision to the model so that one forward pass answers it.

The labels are listed, and the model is asked to answer with one of them. The probabilities of the
labels' first tokens as the next token are then the probabilities of the labels: one prefill over
labels and text, nothing generated. Labels that begin with the same token are told apart by letters,
and the letters' tokens are read instead. Instruction and labels come before the text, so that
decisions about different texts share their prefix in the KV cache.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from phi3_bento.core import Operation, whole
from phi3_bento.engine.base import Engine
from phi3_bento.errors import InvalidRequest, StartFailure

MAX_LABELS = len(ascii_uppercase)
DEFAULT_INSTRUCTION = "Choose the label that fits the text best."
_REMEMBERED_LABELS = 10_000


def decision_prompt(text: str, labels: Sequence[str], instruction: str | None = None) -> str:
    """The user message that asks which of `labels` fits `text`, to be answered with the label."""
    options = "\n".join(f"- {label}" for label in labels)
    return _prompt(text, options, instruction, "Answer with one label.")


def lettered_prompt(text: str, labels: Sequence[str], instruction: str | None = None) -> str:
    """The same, to be answered with the letter of a label; `MAX_LABELS` labels at most."""
    letters = ascii_uppercase[: len(labels)]
    options = "\n".join(f"{letter}. {label}" for letter, label in zip(letters, labels, strict=True))
    return _prompt(text, options, instruction, "Answer with the letter of one label.")


def _prompt(text: str, options: str, instruction: str | None, request: str) -> str:
    return f"{instruction or DEFAULT_INSTRUCTION}\nLabels:\n{options}\nText: {text}\n{request}"


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


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """A decision as a chat request, and the token that stands for each label in its answer."""

    body: dict[str, Any]
    tokens: dict[str, int]

    def probabilities(self, answer: Mapping[str, Any]) -> dict[str, float]:
        """Each label's share of the probability that the model gave to the labels' tokens."""
        entries = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {entry["token"]: entry["logprob"] for entry in entries}
        scores = {label: logprobs[f"token_id:{token}"] for label, token in self.tokens.items()}
        highest = max(scores.values())
        weights = {label: math.exp(score - highest) for label, score in scores.items()}
        total = sum(weights.values())
        return {label: weight / total for label, weight in weights.items()}


class DecisionReader:
    """Makes requests of decisions; knows with which token the model begins a reply.

    The tokens are asked of the tokenizer, with the model's own chat template, rather than assumed:
    in Phi-3's, a word at the beginning of a reply is not the token that it is inside a text.
    """

    def __init__(self, engine: Engine, prefix: Sequence[int]) -> None:
        self._engine = engine
        self._prefix = list(prefix)
        self._first_tokens: dict[str, int] = {}

    @classmethod
    async def for_engine(cls, engine: Engine) -> "DecisionReader":
        """A reader whose letters are known to be readable. Raises `StartFailure`."""
        reader = cls(engine, await _reply_tokens(engine, ""))
        if len({await reader._first_token(letter) for letter in ascii_uppercase}) < MAX_LABELS:
            raise StartFailure(
                "The model's tokenizer begins replies of different letters with the same token, so "
                "that 'classify' cannot read decisions. Use a checkpoint with Phi-3's tokenizer."
            )
        return reader

    async def decision(
        self, text: str, labels: Sequence[str], instruction: str | None = None
    ) -> DecisionRequest:
        """The request that decides which of `labels` fits `text`. Raises `InvalidRequest`."""
        check_labels(text, labels)
        tokens = [await self._first_token(label) for label in labels]
        prompt = decision_prompt(text, labels, instruction)
        if len(set(tokens)) < len(labels):
            tokens = [await self._first_token(letter) for letter in ascii_uppercase[: len(labels)]]
            prompt = lettered_prompt(text, labels, instruction)
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "logprob_token_ids": tokens,
            "return_tokens_as_token_ids": True,
        }
        return DecisionRequest(body, dict(zip(labels, tokens, strict=True)))

    async def _first_token(self, reply: str) -> int:
        token = self._first_tokens.get(reply)
        if token is None:
            token = (await _reply_tokens(self._engine, reply))[len(self._prefix)]
            if len(self._first_tokens) >= _REMEMBERED_LABELS:
                self._first_tokens.clear()
            self._first_tokens[reply] = token
        return token


async def _reply_tokens(engine: Engine, reply: str) -> list[int]:
    body = {
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": reply}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    }
    job = engine.parse(Operation.TOKENIZE, body, "labels")
    document = json.loads(await whole(engine.run(job)))
    return list(document["tokens"])

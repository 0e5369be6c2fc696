"""Turn examples into batches of tokens of about the same length, with a weight for each token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from phi3_bento.models.demo.corpus import Example, Message

_CHUNK = 4096
# Few lengths, because oneDNN compiles its bf16 kernels again for every new shape.
_LENGTHS = (16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256, 320, 512)


@dataclass(frozen=True)
class Encoded:
    """A conversation in tokens; `answered` marks the tokens that the assistant said."""

    tokens: tuple[int, ...]
    answered: tuple[bool, ...]


@dataclass(frozen=True)
class Batch:
    """Token ids and the weights of predicting them, both of shape (examples, length)."""

    tokens: torch.Tensor
    answer_weights: torch.Tensor
    prompt_weights: torch.Tensor


class Encoder:
    """Encodes conversations as the chat template does; texts never contain special tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._roles = {
            role: tokenizer.convert_tokens_to_ids(f"<|{role}|>")
            for role in ("system", "user", "assistant")
        }
        self._end: int = tokenizer.convert_tokens_to_ids("<|end|>")

    def __call__(self, messages: Sequence[Message]) -> Encoded:
        """The tokens of whole turns, each closed by `<|end|>`."""
        tokens: list[int] = []
        answered: list[bool] = []
        texts = self._tokenizer([m["content"] for m in messages], add_special_tokens=False)
        for message, content in zip(messages, texts["input_ids"], strict=True):
            said = message["role"] == "assistant"
            tokens += [self._roles[message["role"]], *content, self._end]
            answered += [False] + [said] * (len(content) + 1)
        return Encoded(tuple(tokens), tuple(answered))


def batches(
    examples: Iterator[Example], encode: Encoder, seed: int, tokens_each: int
) -> Iterator[Batch]:
    """Batches of about `tokens_each` tokens, padding included, in a random order of lengths."""
    rng = Random(f"batches {seed}")
    waiting: dict[int, list[Encoded]] = {length: [] for length in _LENGTHS}
    while chunk := list(islice(examples, _CHUNK)):
        full: list[Batch] = []
        for example in chunk:
            encoded = encode(example.messages)
            length = next(n for n in _LENGTHS if n >= len(encoded.tokens))
            group = waiting[length]
            group.append(encoded)
            if len(group) == tokens_each // length:
                full.append(_padded(group, length))
                group.clear()
        rng.shuffle(full)
        yield from full


def repetitions(seed: int, vocabulary: int, tokens_each: int) -> Iterator[Batch]:
    """Random tokens said again and again, in which only looking back predicts the next one.

    A few hundred of these batches teach a new model to copy, which it would otherwise find out
    only after millions of tokens of text.
    """
    rng = Random(f"repetitions {seed}")
    length = 64
    while True:
        rows = [_repeated(rng, vocabulary, length) for _ in range(tokens_each // length)]
        tokens = torch.tensor([row for row, _ in rows])
        weights = torch.tensor(
            [[float(at >= period) for at in range(length)] for _, period in rows]
        )
        yield Batch(tokens, weights, torch.zeros_like(weights))


def _repeated(rng: Random, vocabulary: int, length: int) -> tuple[list[int], int]:
    period = rng.randint(3, length // 3)
    once = [rng.randrange(3, vocabulary) for _ in range(period)]
    return (once * length)[:length], period


def _padded(group: Sequence[Encoded], length: int) -> Batch:
    """Padding stands on the right, where causal attention never looks; its weights are zero."""
    shape = (len(group), length)
    tokens = torch.zeros(shape, dtype=torch.long)
    answers, prompts = torch.zeros(shape), torch.zeros(shape)
    for row, one in enumerate(group):
        end = len(one.tokens)
        said = torch.tensor(one.answered)
        tokens[row, :end] = torch.tensor(one.tokens)
        # A long answer counts more than a letter, but not as much more as it is longer.
        answers[row, :end] = said / said.sum().sqrt()
        prompts[row, :end] = (~said).float()
    return Batch(tokens, answers, prompts)

"""What is asked in a comparison: texts, and tokens whose continuation is known.

The continuation is that of `chain_weights`, where the token behind n is n + 1, so that it is said
here how much of an answer stands in its prompt, and what a guess from the prompt is worth.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from random import Random

from loadtests.prompts import story

_FIRST, _LAST = 4_000, 30_000
"""No token that means something to a tokenizer or a chat template."""

_EXTRACTION = ((2, 1), (3, 2), (6, 1), (5, 2))
"""Tokens that stand in the text before, and tokens that do not, in turns. `replay` finds guesses
worth no more for it than for fields that are taken from a letter.
"""

_MISLEADING = ((1, 3),)
"""One token in four stands in the prompt, with something else behind it."""

Prompt = str | list[int]


def continuation(last: int, tokens: int) -> list[int]:
    """What `chain_weights` answers to a prompt that ends with `last`."""
    return list(range(last + 1, last + 1 + tokens))


def sampled(number: int, words: int, _: int) -> Prompt:
    """Whatever the model says to a text of about `words` words."""
    return story(number, words)


def copied(number: int, words: int, tokens: int) -> Prompt:
    """The answer stands in the prompt, whole: a quotation, an edit."""
    return _prompt(number, words, tokens, lambda answer: answer)


def extraction(number: int, words: int, tokens: int) -> Prompt:
    """Much of the answer stands in the prompt, in short pieces: fields of a record, JSON."""
    return _prompt(number, words, tokens, lambda answer: _pieces(answer, _EXTRACTION, number))


def misleading(number: int, words: int, tokens: int) -> Prompt:
    """Nothing can be guessed, and much looks as if it could: a text of one's own."""
    return _prompt(number, words, tokens, lambda answer: _pieces(answer, _MISLEADING, number))


def _pieces(answer: list[int], pattern: Sequence[tuple[int, int]], seed: int) -> list[int]:
    """What is copied by the `pattern`, each piece with a token behind it that is in no answer."""
    pieces: list[int] = []
    at = 0
    for (copied, new), other in zip(cycle(pattern), _foreign(seed, len(answer)), strict=False):
        pieces += [*answer[at : at + copied], other]
        at += copied + new
        if at >= len(answer):
            break
    return pieces


def _prompt(
    number: int, words: int, tokens: int, shown: Callable[[list[int]], list[int]]
) -> list[int]:
    """About `words` tokens: foreign ones, what is `shown` of the answer, and its beginning."""
    last = Random(number).randrange(_FIRST, _LAST - tokens) - 1
    hints = shown(continuation(last, tokens))
    return [*_foreign(number, max(1, words - len(hints))), *hints, last]


def _foreign(seed: int, count: int) -> Iterator[int]:
    random = Random(seed)  # reproducible, not secret
    return (random.randrange(_FIRST, _LAST) for _ in range(count))


TEXTS: Mapping[str, Callable[[int, int, int], Prompt]] = {
    "sampled": sampled,
    "copied": copied,
    "extraction": extraction,
    "misleading": misleading,
}

"""What is asked in a comparison: texts, and tokens whose continuation is known.

The continuation is that of `chain_weights`, where the token behind n is n + 1, so that it is said
here how much of an answer stands in its prompt, and what a guess from the prompt is worth.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random

from loadtests.prompts import story

_FIRST, _LAST = 4_000, 30_000
"""No token that means something to a tokenizer or a chat template."""

_RUN = 10
_GUESSED_FROM = 3
_FALSE_EVERY = 20

Prompt = str | list[int]


def sampled(number: int, words: int, _: int) -> Prompt:
    """Whatever the model says to a text of about `words` words."""
    return story(number, words)


def copied(number: int, words: int, tokens: int) -> Prompt:
    """The answer stands in the prompt, whole: a quotation, an edit."""
    return _prompt(number, words, tokens, lambda answer: answer)


def half_copied(number: int, words: int, tokens: int) -> Prompt:
    """Half of the answer stands in the prompt, in runs of ten tokens: an extraction, JSON."""

    def runs(answer: list[int]) -> list[int]:
        return [token for token in answer if token // _RUN % 2]

    return _prompt(number, words, tokens, runs)


def misleading(number: int, words: int, tokens: int) -> Prompt:
    """Nothing can be guessed, and one token in twenty looks as if it could: a free text."""

    def false_hints(answer: list[int]) -> list[int]:
        hints: list[int] = []
        for at in range(0, len(answer), _FALSE_EVERY):
            hints += [*answer[at : at + _GUESSED_FROM], *_foreign(number + at, _RUN)]
        return hints

    return _prompt(number, words, tokens, false_hints)


def _prompt(
    number: int, words: int, tokens: int, shown: Callable[[list[int]], list[int]]
) -> list[int]:
    """About `words` tokens: foreign ones, what is `shown` of the answer, and its beginning."""
    start = Random(number).randrange(_FIRST, _LAST - tokens)
    hints = shown(list(range(start, start + tokens)))
    return [*_foreign(number, max(1, words - len(hints))), *hints, start - 1]


def _foreign(seed: int, count: int) -> Iterator[int]:
    random = Random(seed)  # reproducible, not secret
    return (random.randrange(_FIRST, _LAST) for _ in range(count))


TEXTS: Mapping[str, Callable[[int, int, int], Prompt]] = {
    "sampled": sampled,
    "copied": copied,
    "half-copied": half_copied,
    "misleading": misleading,
}

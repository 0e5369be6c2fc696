"""What is guessed from a text."""

from types import SimpleNamespace

import numpy as np
import pytest

from phi3_bento.engine.vllm_guessing import FEW_SEQUENCES, PromptLookup, guess

MOST, MAX_TOKENS = 7, 32


@pytest.mark.parametrize(
    ("text", "guessed"),
    [
        ([], []),
        ([1], []),
        ([1, 2, 3], []),
        ([1, 2, 3, 1], [2]),  # one token matches: one is guessed
        ([1, 2, 3, 4, 5, 1, 2, 3], [4, 5, 1]),
        ([2, 3, 4, 9, 3, 5, 9, 2, 3], [4, 9]),  # the longest match
        ([1, 2, 8, 1, 3, 9, 1], [3]),  # of equal ones the latest
        ([5, 6, 5, 6, 5, 6], [5, 6]),  # the text ends before the guess could be longer
        ([*range(10), *range(10)], [*range(7)]),
    ],
)
def test_a_guess_is_as_long_as_what_it_is_guessed_from(text: list[int], guessed: list[int]) -> None:
    assert guess(np.array(text, dtype=np.int32), MOST) == guessed


def lookup() -> PromptLookup:
    return PromptLookup(
        SimpleNamespace(
            speculative_config=SimpleNamespace(num_speculative_tokens=MOST),
            model_config=SimpleNamespace(max_model_len=MAX_TOKENS),
        )
    )


def propose(texts: list[list[int]], sampled: list[list[int]]) -> list[list[int]]:
    """Behind each text lies what an earlier request has left there."""
    token_ids = np.full((len(texts), MAX_TOKENS), 77, dtype=np.int32)
    for row, text in enumerate(texts):
        token_ids[row, : len(text)] = text
    lengths = np.array([len(text) for text in texts], dtype=np.int32)
    return lookup().propose(sampled, lengths, token_ids, slot_mappings=None)


def test_each_row_is_guessed_from_its_own_text_once_it_has_a_new_token() -> None:
    texts = [[1, 2, 3, 1], [4, 5, 6, 4], [1, 2, 4, 1]]
    assert propose(texts, [[1], [], [1]]) == [[2], [], [2]]


def test_no_guess_goes_beyond_the_context() -> None:
    text = [*range(16), *range(14)]
    assert propose([text], [[13]]) == [[14, 15]]
    full = [*range(16), *range(16)]
    assert propose([full], [[15]]) == [[]]


def test_with_many_sequences_nothing_is_guessed() -> None:
    text = [1, 2, 3, 1]
    few, many = FEW_SEQUENCES, FEW_SEQUENCES + 1
    assert propose([text] * few, [[1]] * few) == [[2]] * few
    assert propose([text] * many, [[1]] * many) == [[]] * many

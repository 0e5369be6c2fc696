"""Guessed tokens: what followed where the text ended in the same way before (prompt lookup).

EngineCore imports this, by the name that vLLM's `--speculative-config` gives it. A guess is as long
as what it is guessed from, so that a chance match of one token risks one token, and a quotation is
guessed in long pieces. vLLM's own n-grams always guess as many as they may; see ADR 24.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FEW_SEQUENCES = 4
"""With more at once a step has enough to do without guesses."""


class PromptLookup:
    """vLLM's proposer of guessed tokens (`custom_class`)."""

    def __init__(self, vllm_config: Any) -> None:
        self._most = vllm_config.speculative_config.num_speculative_tokens
        self._max_tokens = vllm_config.model_config.max_model_len

    def load_model(self, *_: Any) -> None:
        """Required by vLLM; there is no model."""

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens: npt.NDArray[np.int32],
        token_ids: npt.NDArray[np.int32],
        **_: Any,
    ) -> list[list[int]]:
        """Guesses for each row of the batch; none for a row that has no new token.

        `num_tokens` (rows) says how many of `token_ids` (rows, longest) are a row's text.
        """
        if len(sampled_token_ids) > FEW_SEQUENCES:
            return [[] for _ in sampled_token_ids]
        return [
            self._guess(token_ids[row, : num_tokens[row]]) if sampled else []
            for row, sampled in enumerate(sampled_token_ids)
        ]

    def _guess(self, text: npt.NDArray[np.int32]) -> list[int]:
        return guess(text, min(self._most, self._max_tokens - len(text)))


def guess(text: npt.NDArray[np.int32], most: int) -> list[int]:
    """At most `most` tokens that may follow, from the latest of the longest matches of the end."""
    # Of `places`: where matches of the last `length + 1` tokens end.
    length, places = 0, np.flatnonzero(text[:-1] == text[-1:])
    start = len(text)
    while len(places) and length < most:
        start, length = int(places[-1]) + 1, length + 1
        places = places[places >= length]
        places = places[text[places - length] == text[-1 - length]]
    return [int(token) for token in text[start : start + length]]

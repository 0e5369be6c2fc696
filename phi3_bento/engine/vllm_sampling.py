"""Log-probabilities of named tokens and of the most probable ones, in one step of the engine.

vLLM 0.32 has either for all that a step computes: beside a request that names its tokens
(`logprob_token_ids`, as decisions do) the others' `top_logprobs` are lost, and where tokens are
guessed ahead the step fails. Here each request gets what it asked for (ADR 21). EngineCore imports
this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from vllm.v1.outputs import LogprobsTensors, SamplerOutput
from vllm.v1.sample import rejection_sampler
from vllm.v1.sample.rejection_sampler import RejectionSampler
from vllm.v1.sample.sampler import Sampler
from vllm.v1.worker import gpu_model_runner

Names = dict[int, list[int]]
"""Token ids by row of the logits."""


class NamingSampler(Sampler):
    """vLLM's sampler, which also reads named tokens where others ask for the most probable."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._names: Names = {}

    @contextmanager
    def naming(self, names: Names) -> Iterator[None]:
        """Meanwhile, rows with names get the log-probabilities of these."""
        self._names = names
        try:
            yield
        finally:
            self._names = {}

    def forward(
        self, logits: torch.Tensor, sampling_metadata: Any, *arguments: Any, **options: Any
    ) -> SamplerOutput:
        names = sampling_metadata.logprob_token_ids
        if not names or sampling_metadata.max_num_logprobs is None:
            return super().forward(logits, sampling_metadata, *arguments, **options)
        unnamed = replace(sampling_metadata, logprob_token_ids=None)
        with self.naming(names):
            return super().forward(logits, unnamed, *arguments, **options)

    def gather_logprobs(
        self, logprobs: torch.Tensor, num_logprobs: int, token_ids: torch.Tensor
    ) -> LogprobsTensors:
        """As vLLM's: of each row the most probable, or what is named of it, behind the sampled."""
        top = super().gather_logprobs(logprobs, num_logprobs, token_ids)
        if not self._names:
            return top
        named = self.gather_specific_token_logprobs(logprobs, self._names, token_ids)
        return _merged(top, named, list(self._names))


class NamingRejectionSampler(RejectionSampler):
    """vLLM's judge of guessed tokens, which can read named tokens too."""

    def forward(
        self, metadata: Any, draft_probs: Any, logits: torch.Tensor, sampling_metadata: Any
    ) -> SamplerOutput:
        names = sampling_metadata.logprob_token_ids
        if not names:
            return super().forward(metadata, draft_probs, logits, sampling_metadata)
        width = metadata.max_spec_len + 1
        by_position = {
            row * width + position: tokens
            for row, tokens in names.items()
            for position in range(width)
        }
        most = sampling_metadata.max_num_logprobs or 0
        unnamed = replace(sampling_metadata, logprob_token_ids=None, max_num_logprobs=most)
        with self.sampler.naming(by_position):
            return super().forward(metadata, draft_probs, logits, unnamed)


def expand_to_tokens(
    values: torch.Tensor,
    ends: torch.Tensor,
    num_tokens: int,
    replace_from: float = 0,
    replace_to: float = 0,
) -> torch.Tensor:
    """Each request's value for each of its guessed tokens, which end before `ends`.

    On a CPU vLLM 0.32 computes it in a copy that it drops: guessed tokens are judged by whatever
    temperature and `top_p` lay in the memory.
    """
    counts = ends.diff(prepend=ends.new_zeros(1))
    replaced = torch.where(values == replace_from, replace_to, values)
    return replaced.repeat_interleave(counts, output_size=num_tokens)


def install() -> None:
    """Have vLLM's model runner use these; before it is made."""
    gpu_model_runner.Sampler = NamingSampler
    gpu_model_runner.RejectionSampler = NamingRejectionSampler
    rejection_sampler.expand_batch_to_tokens = expand_to_tokens


def _merged(top: LogprobsTensors, named: LogprobsTensors, rows: list[int]) -> LogprobsTensors:
    """`top`, with the `rows` of `named`; what is too short is filled up with impossible tokens."""
    width = max(top.logprobs.shape[1], named.logprobs.shape[1])
    tokens, logprobs = _widened(top, width)
    named_tokens, named_logprobs = _widened(named, width)
    tokens[rows], logprobs[rows] = named_tokens[rows], named_logprobs[rows]
    return LogprobsTensors(tokens, logprobs, top.selected_token_ranks)


def _widened(tensors: LogprobsTensors, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    missing = (0, width - tensors.logprobs.shape[1])
    tokens = torch.nn.functional.pad(tensors.logprob_token_ids, missing)
    return tokens, torch.nn.functional.pad(tensors.logprobs, missing, value=float("-inf"))

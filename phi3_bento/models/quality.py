"""Compare an INT8 checkpoint with its bf16 source on a text, one layer in memory at a time.

Both models see the same tokens. The INT8 path computes what vLLM's kernels compute: int8 weights
with a scale per output channel, activations rounded to int8 with a scale per token, exact sums.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn import functional
from transformers import AutoConfig, AutoTokenizer, Phi3Config
from transformers.models.phi3.modeling_phi3 import (
    Phi3DecoderLayer,
    Phi3RMSNorm,
    Phi3RotaryEmbedding,
)

from phi3_bento.models.checkpoint import read_entries
from phi3_bento.models.quantisation import LARGEST, scale_name

MAX_TOKENS = 1024

Progress = Callable[[int, int], None]
"""Called with the layers done and in all."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How close the INT8 model is to its source on a text."""

    tokens: int
    perplexity_bf16: float
    perplexity_int8: float
    greedy_agreement: float
    """Share of positions at which both models find the same next token likeliest."""

    @property
    def perplexity_change(self) -> float:
        """Relative to bf16: 0.01 is one percent worse."""
        return self.perplexity_int8 / self.perplexity_bf16 - 1

    def as_dict(self) -> dict[str, float]:
        """For the record and for `--json`."""
        return {**asdict(self), "perplexity_change": self.perplexity_change}


class _Int8Linear(torch.nn.Module):
    """A linear layer that rounds its input per token, as the kernel does."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.scale = weight, scale

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """`values` [..., in] to [..., out]."""
        token_scale = (values.float().abs().amax(-1, keepdim=True) / LARGEST).clamp_min(1e-12)
        rounded = torch.round(values.float() / token_scale)
        sums = functional.linear(rounded, self.weight.float())
        return (sums * token_scale * self.scale.flatten()).to(values.dtype)


def measure_quality(
    source: Path, prepared: Path, text: str, *, progress: Progress = lambda *_: None
) -> Quality:
    """Perplexity of both checkpoints on `text` (its first `MAX_TOKENS` tokens), and agreement."""
    config = AutoConfig.from_pretrained(source)
    tokens = AutoTokenizer.from_pretrained(source)(text, return_tensors="pt").input_ids
    tokens = tokens[:, :MAX_TOKENS]
    with torch.inference_mode():
        reference = _logits(config, source, tokens, _part(progress, 0))
        quantised = _logits(config, prepared, tokens, _part(progress, 1))
    return Quality(
        tokens=int(tokens.numel()),
        perplexity_bf16=_perplexity(reference, tokens),
        perplexity_int8=_perplexity(quantised, tokens),
        greedy_agreement=float((reference.argmax(-1) == quantised.argmax(-1)).float().mean()),
    )


def _logits(
    config: Phi3Config,
    directory: Path,
    tokens: torch.Tensor,
    progress: Progress,
) -> torch.Tensor:
    """The next-token logits [tokens, vocabulary], computed layer by layer in float32."""
    load = _loader(directory)
    hidden = functional.embedding(tokens, load("model.embed_tokens.weight").float())
    positions = torch.arange(tokens.shape[1])[None]
    rotary = Phi3RotaryEmbedding(config)(hidden, positions)
    count = tokens.shape[1]
    mask = torch.full((count, count), -math.inf).triu(1)[None, None]
    for number in range(config.num_hidden_layers):
        layer = _layer(config, number, load)
        output = layer(
            hidden, attention_mask=mask, position_ids=positions, position_embeddings=rotary
        )
        hidden = output[0] if isinstance(output, tuple) else output
        progress(number + 1, config.num_hidden_layers)
    norm = Phi3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
    norm.weight.copy_(load("model.norm.weight"))
    head = "model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"
    return functional.linear(norm(hidden)[0], load(head).float())


def _part(progress: Progress, number: int) -> Progress:
    """The progress of one of two equal passes."""
    return lambda done, total: progress(number * total + done, 2 * total)


def _loader(directory: Path) -> Callable[[str], torch.Tensor]:
    entries = read_entries(directory)

    def load(name: str) -> torch.Tensor:
        with safe_open(entries[name].file, framework="pt") as shard:
            tensor: torch.Tensor = shard.get_tensor(name)
        return tensor

    return load


def _layer(config: Phi3Config, number: int, load: Callable[[str], torch.Tensor]) -> Any:
    with torch.device("meta"):
        layer = Phi3DecoderLayer(config, number)
    layer.self_attn.config._attn_implementation = "eager"
    for name in _parameter_names(layer):
        weight = load(f"model.layers.{number}.{name}")
        parent = layer.get_submodule(name.rpartition(".")[0].rpartition(".")[0])
        leaf = name.rpartition(".")[0].rpartition(".")[2]
        if weight.dtype is torch.int8:
            scale = load(f"model.layers.{number}.{scale_name(name)}")
            setattr(parent, leaf, _Int8Linear(weight, scale))
        else:
            parameter = torch.nn.Parameter(weight.float(), requires_grad=False)
            layer.get_submodule(name.rpartition(".")[0]).weight = parameter
    return layer.eval()


def _parameter_names(layer: torch.nn.Module) -> Iterator[str]:
    yield from [name for name, _ in layer.named_parameters()]


def _perplexity(logits: torch.Tensor, tokens: torch.Tensor) -> float:
    return math.exp(float(functional.cross_entropy(logits[:-1], tokens[0, 1:])))

"""A stand-in with Phi-3-Mini's exact shape and generated weights, to measure a machine with.

It computes and stores what the real model does and says nothing of meaning; its name says
`synthetic` wherever it appears.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from phi3_bento.models.checkpoint import INDEX, SHARD_BYTES, SYNTHETIC_MARK, grouped
from phi3_bento.models.quantisation import (
    LARGEST,
    is_quantised,
    quantisation_config,
    scale_name,
)

PHI_3_MINI: dict[str, Any] = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "rms_norm_eps": 1e-05,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
"""config.json of Phi-3-mini-4k-instruct, without its token ids and its sliding window of 2047."""

_STANDARD_DEVIATION = 0.02
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def write_synthetic(
    directory: Path,
    *,
    tokenizer: Path,
    config: dict[str, Any] = PHI_3_MINI,
    int8: bool = True,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """Write the checkpoint to `directory`, once; about 4 GB as INT8, 7.6 GB as bf16.

    The tokenizer is the one at `tokenizer`, its vocabulary filled up to the shape's. What is
    written lies in `<directory>.partial` until it is whole. Returns `directory`.
    """
    if directory.exists():
        return directory
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _write_tokenizer(tokenizer, partial, config)
    weight_map: dict[str, str] = {}
    element_bytes = 1 if int8 else 2
    shards = list(
        grouped(_shapes(config), lambda entry: element_bytes * math.prod(entry[1]), shard_bytes)
    )
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = dict(_tensors(shard, int8=int8))
        save_file(tensors, partial / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
        progress(number, len(shards))
    (partial / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    quantisation = {"quantization_config": quantisation_config()} if int8 else {}
    content = {**config, **_special_tokens(tokenizer), **quantisation, SYNTHETIC_MARK: True}
    (partial / "config.json").write_text(json.dumps(content, indent=1))
    partial.rename(directory)
    return directory


def _shapes(config: dict[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads, vocabulary = config["num_attention_heads"], config["vocab_size"]
    kv_size = hidden // heads * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
        yield f"{layer}.mlp.gate_up_proj.weight", (2 * inner, hidden)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{layer}.self_attn.qkv_proj.weight", (hidden + 2 * kv_size, hidden)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)


def _tensors(shapes: list[tuple[str, Any]], *, int8: bool) -> Iterator[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(len(shapes))
    for name, shape in shapes:
        if len(shape) == 1:
            yield name, torch.ones(shape, dtype=torch.bfloat16)
        elif int8 and is_quantised(name):
            yield (
                name,
                torch.randint(-LARGEST, LARGEST + 1, shape, dtype=torch.int8, generator=generator),
            )
            # Uniform integers up to 127 have a standard deviation of 127 / sqrt(3).
            scale = _STANDARD_DEVIATION * 3**0.5 / LARGEST
            yield scale_name(name), torch.full((shape[0], 1), scale)
        else:
            values = torch.empty(shape, dtype=torch.bfloat16)
            yield name, values.normal_(std=_STANDARD_DEVIATION, generator=generator)


def _special_tokens(tokenizer: Path) -> dict[str, Any]:
    """The ids that the tokenizer's own model gives to the beginning, the end and the padding."""
    config = json.loads((tokenizer / "config.json").read_text(encoding="utf-8"))
    return {name: config.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _write_tokenizer(source: Path, target: Path, config: dict[str, Any]) -> None:
    for name in _TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copy2(source / name, target / name)
    content = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = content["model"]["vocab"]
    used = max([*vocabulary.values(), *(token["id"] for token in content["added_tokens"])]) + 1
    for number in range(used, config["vocab_size"]):
        vocabulary[f"\u0120synthetic{number}"] = number
    (target / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

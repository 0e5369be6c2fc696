"""Directories of models, as the tests write and find them."""

import json
from pathlib import Path
from typing import Any

from phi3_bento.models.source import ModelSource, find_model

CONFIG: dict[str, Any] = {
    "architectures": ["Phi3ForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
MINI = {"hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32}


def shard(size: int) -> bytes:
    """A safetensors file of `size` bytes without a tensor: a length and a header that long."""
    return (size - 8).to_bytes(8, "little") + b"{}".ljust(size - 8)


def write(directory: Path, config: object = None, *, without: str = "") -> Path:
    """A checkpoint whose weights are 1000 bytes of nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = {
        "config.json": json.dumps(CONFIG if config is None else config).encode(),
        "tokenizer.json": b"{}",
        "model-1.safetensors": shard(600),
        "model-2.safetensors": shard(400),
    }
    for name, content in parts.items():
        if not (without and name.startswith(without)):
            (directory / name).write_bytes(content)
    return directory


def find(model: Path | str, tmp_path: Path, served_name: str | None = None) -> ModelSource:
    return find_model(str(model), data_dir=tmp_path / "data", served_name=served_name)

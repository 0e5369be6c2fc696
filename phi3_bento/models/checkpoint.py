"""A checkpoint on disk: its config, its tensors, and whether every shard of it is whole."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from phi3_bento.engine.budget import ModelShape
from phi3_bento.errors import StartFailure

T = TypeVar("T")

ARCHITECTURE = "Phi3ForCausalLM"
INDEX = "model.safetensors.index.json"
SYNTHETIC_MARK = "phi3_bento_synthetic"
"""Key in config.json of generated weights; it stays there when they are prepared or copied."""

SHARD_BYTES = 2**30
"""Size of the shards that are written: one is held in memory, and one is lost by a kill."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")
_HASH_CHUNK_BYTES = 4 * 2**20
_SAMPLES = 64
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a shard, from the shard's header."""

    name: str
    file: Path
    dtype: str
    """safetensors' name of the element type, as in "BF16"."""
    shape: tuple[int, ...]
    bytes: int


def read_config(directory: Path) -> dict[str, Any]:
    """The checkpoint's config.json, after a check that all its parts are there."""
    path = directory / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        architectures = [str(name) for name in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise StartFailure(
            f"{directory} is not a checkpoint: its config.json cannot be read ({error})."
        ) from error
    if ARCHITECTURE not in architectures:
        raise StartFailure(
            f"{directory} holds {', '.join(architectures) or 'an unnamed architecture'}, and this "
            f"service serves {ARCHITECTURE}: Phi-3-mini, Phi-3.5-mini and their fine-tunes."
        )
    if not any((directory / name).exists() for name in _TOKENIZER_FILES):
        raise StartFailure(
            f"{directory} has no tokenizer: {' or '.join(_TOKENIZER_FILES)} is needed."
        )
    if not any(directory.glob("*.safetensors")):
        raise StartFailure(f"{directory} has no weights: no *.safetensors file is there.")
    return config


def read_shape(directory: Path, config: dict[str, Any]) -> ModelShape:
    """The sizes that the memory plan needs."""
    try:
        heads = int(config["num_attention_heads"])
        shape = ModelShape(
            layers=int(config["num_hidden_layers"]),
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config["hidden_size"]) // heads,
            max_context_tokens=int(config["max_position_embeddings"]),
            weights_bytes=sum(path.stat().st_size for path in directory.glob("*.safetensors")),
        )
        if min(shape.layers, shape.kv_heads, shape.head_size, shape.max_context_tokens) < 1:
            raise ValueError(f"a size in {shape} is not positive")
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise StartFailure(
            f"{directory / 'config.json'} does not give the model's shape ({error!r})."
        ) from error
    except OSError as error:
        raise StartFailure(f"The weights in {directory} cannot be read ({error}).") from error
    return shape


def read_entries(directory: Path) -> dict[str, TensorEntry]:
    """Every tensor of the checkpoint, by name, in the order of the shards.

    Raises `StartFailure` that names a shard which is missing, truncated or not safetensors.
    """
    entries = {entry.name: entry for file in shard_files(directory) for entry in _header(file)}
    missing = sorted(set(_weight_map(directory)) - set(entries))
    if missing:
        raise StartFailure(
            f"{directory} lacks {len(missing)} tensors that its index lists, the first is "
            f"{missing[0]}. Download the checkpoint again."
        )
    return entries


def shard_files(directory: Path) -> list[Path]:
    """The checkpoint's shards, in order. Raises `StartFailure` where one is missing."""
    named = sorted(set(_weight_map(directory).values()))
    files = [directory / name for name in named] or sorted(directory.glob("*.safetensors"))
    for file in files:
        if not file.exists():
            raise StartFailure(f"The shard {file} is missing. Download the checkpoint again.")
    if not files:
        raise StartFailure(f"{directory} has no weights: no *.safetensors file is there.")
    return files


def grouped(items: Iterable[T], size: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Cut `items` into shards, in order: as many as fit `limit` bytes, and at least one."""
    group: list[T] = []
    total = 0
    for item in items:
        if group and total + size(item) > limit:
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(directory: Path) -> str:
    """Names a checkpoint's content: small files whole, of each shard its size and samples.

    Reading all of the weights would take seconds at every start; other weights differ in nearly
    every block.
    """
    digest = hashlib.sha256()
    for file in sorted(directory.iterdir()):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size};".encode())
        with file.open("rb") as stream:
            for block in range(min(_SAMPLES, size // _SAMPLE_BYTES + 1)):
                stream.seek(
                    block * size // _SAMPLES
                    if size > _SAMPLES * _SAMPLE_BYTES
                    else block * _SAMPLE_BYTES
                )
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def _weight_map(directory: Path) -> Mapping[str, str]:
    index = directory / INDEX
    if not index.exists():
        return {}
    try:
        weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError) as error:
        raise StartFailure(f"The index {index} cannot be read ({error!r}).") from error
    return weight_map


def _header(file: Path) -> Iterator[TensorEntry]:
    """The entries of a shard: an eight-byte length, a JSON header, and the data after it."""
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > size:
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        ends = [entry["data_offsets"][1] for entry in header.values()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartFailure(f"The shard {file} is not a safetensors file ({error}).") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise StartFailure(
            f"The shard {file} has {size} bytes and should have {expected}: it is truncated or "
            "damaged. Download it again."
        )
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        yield TensorEntry(name, file, entry["dtype"], tuple(entry["shape"]), end - begin)

"""Make an INT8 checkpoint from a bf16 one, shard by shard, within a few gigabytes of memory.

What is written lies in `<target>.partial` until all of it is there and checked, then takes its name
in one step: nothing half-written is ever served. A killed preparation goes on where it stopped.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from phi3_bento import __version__
from phi3_bento.errors import StartFailure
from phi3_bento.models.checkpoint import (
    INDEX,
    SHARD_BYTES,
    TensorEntry,
    grouped,
    read_config,
    read_entries,
    sha256_of,
    shard_files,
)
from phi3_bento.models.quantisation import (
    is_quantised,
    quantisation_config,
    quantise_rows,
    scale_name,
)

RECORD = "preparation.json"
SCHEME = "int8-w8a8"

_SMALL_FILES = ("*.json", "*.jinja", "tokenizer.model", "*.md", "LICENSE*")
_SPACE_MARGIN_BYTES = 256 * 2**20

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and in all."""


@dataclass(slots=True)
class Record:
    """What was read and written, with checksums; kept after every shard."""

    path: Path
    sources: dict[str, int] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, sources: dict[str, int]) -> "Record":
        """The record at `path`, or an empty one where it is missing or of other sources."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["sources"] == sources:
                return cls(path, sources, dict(content["written"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return cls(path, sources)

    def save(self, **more: Any) -> None:
        """Write the record; it is replaced in one step."""
        content = {"scheme": SCHEME, "version": __version__, **more}
        content |= {"sources": self.sources, "written": self.written}
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        temporary.replace(self.path)


def prepare_int8(source: Path, target: Path, *, progress: Progress = lambda *_: None) -> Path:
    """Write the INT8 form of the checkpoint at `source` to `target`; returns `target`.

    Raises `StartFailure` for a source that is not a whole bf16 checkpoint of Phi-3's architecture,
    for a target that exists, and where the disk is too small, before anything is written.
    """
    config = read_config(source)
    if "quantization_config" in config:
        raise StartFailure(f"{source} is quantised already; prepare the bf16 checkpoint.")
    if target.exists():
        raise StartFailure(f"{target} exists already. Remove it, or choose another name.")
    entries = read_entries(source)
    partial = target.with_name(target.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    record = Record.load(partial / RECORD, _sizes(source))
    plan = list(grouped(entries.values(), _output_bytes, SHARD_BYTES))
    _check_space(partial, entries, record)
    done_bytes, total_bytes = 0, sum(entry.bytes for entry in entries.values())
    for number, shard in enumerate(plan, start=1):
        name = f"model-{number:05d}-of-{len(plan):05d}.safetensors"
        if not _is_written(partial, name, record):
            _write_shard(shard, partial / name)
            record.written[name] = sha256_of(partial / name)
            record.save()
        done_bytes += sum(entry.bytes for entry in shard)
        progress(done_bytes, total_bytes)
    _finish(source, partial, config, record)
    partial.rename(target)
    return target


def verify(directory: Path, *, progress: Progress = lambda *_: None) -> None:
    """Check a prepared checkpoint against its record. Raises `StartFailure` naming the file."""
    try:
        written: dict[str, str] = json.loads((directory / RECORD).read_text())["written"]
    except (OSError, ValueError, KeyError) as error:
        raise StartFailure(f"{directory} has no readable {RECORD} ({error}).") from error
    files = [directory / name for name in written]
    sizes = [file.stat().st_size if file.exists() else 0 for file in files]
    done = 0
    for file, size in zip(files, sizes, strict=True):
        if not file.exists() or sha256_of(file) != written[file.name]:
            raise StartFailure(f"{file} is missing or not what was written. Prepare it again.")
        done += size
        progress(done, sum(sizes))


def _sizes(source: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in shard_files(source)}


def _output_bytes(entry: TensorEntry) -> int:
    if not is_quantised(entry.name):
        return entry.bytes
    rows, columns = entry.shape
    return rows * columns + 4 * rows


def _check_space(partial: Path, entries: Mapping[str, TensorEntry], record: Record) -> None:
    there = sum(
        (partial / name).stat().st_size for name in record.written if (partial / name).exists()
    )
    needed = sum(map(_output_bytes, entries.values())) - there + _SPACE_MARGIN_BYTES
    free = shutil.disk_usage(partial).free
    if free < needed:
        raise StartFailure(
            f"{partial.parent} has {free / 2**30:.1f} GiB free, and {needed / 2**30:.1f} GiB are "
            "needed. Free some, or choose another PHI3_DATA_DIR."
        )


def _is_written(partial: Path, name: str, record: Record) -> bool:
    file = partial / name
    return name in record.written and file.exists() and sha256_of(file) == record.written[name]


def _write_shard(shard: list[TensorEntry], path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for entry in shard:
        with safe_open(entry.file, framework="pt") as source:
            tensor = source.get_tensor(entry.name)
        if not bool(torch.isfinite(tensor).all()):
            raise StartFailure(f"{entry.file} has values in {entry.name} that are not numbers.")
        if is_quantised(entry.name):
            tensors[entry.name], tensors[scale_name(entry.name)] = quantise_rows(tensor)
        else:
            tensors[entry.name] = tensor.to(torch.bfloat16)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(path)


def _finish(source: Path, partial: Path, config: dict[str, Any], record: Record) -> None:
    for pattern in _SMALL_FILES:
        for file in source.glob(pattern):
            if file.name not in (INDEX, RECORD, "config.json"):
                shutil.copy2(file, partial / file.name)
    weight_map = {entry.name: entry.file.name for entry in read_entries(partial).values()}
    (partial / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1))
    config = {**config, "quantization_config": quantisation_config()}
    (partial / "config.json").write_text(json.dumps(config, indent=1))
    sources = {file.name: sha256_of(file) for file in shard_files(source)}
    record.save(source_checksums=sources)

"""Find the model that `MODEL=` names, and check that it is one this service can serve."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3_bento.engine.budget import ModelShape
from phi3_bento.errors import StartFailure
from phi3_bento.knobs.defaults import DEMO_MODEL
from phi3_bento.models.checkpoint import SYNTHETIC_MARK, read_config, read_entries, read_shape

SYNTHETIC_PREFIX = "synthetic:"
SYNTHETIC_SHAPE = "phi-3-mini"
DEMO_DIRECTORY = Path(__file__).parent / "demo" / "checkpoint"
MINI_SHAPE = {"hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32}
"""Phi-3-mini-4k-instruct, -128k-instruct, Phi-3.5-mini-instruct and their fine-tunes."""

_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A checkpoint on this machine's disk, and the name it is served by."""

    directory: Path
    name: str
    shape: ModelShape


def find_model(model: str, *, data_dir: Path, served_name: str | None = None) -> ModelSource:
    """The checkpoint that `model` names, on this machine's disk when this returns.

    `phi3-demo`; `synthetic:phi-3-mini`, generated then; a directory; a prepared model's tag, as in
    `phi3-mini-int8:latest`; or a hub name, downloaded then. Raises `StartFailure` that says what is
    missing and what to do.
    """
    directory = find_directory(model, data_dir=data_dir)
    config = read_config(directory)
    read_entries(directory)
    return ModelSource(
        directory=directory,
        name=_name_of(model, directory, config, served_name),
        shape=read_shape(directory, config),
    )


def local_directory(model: str, *, data_dir: Path) -> Path | None:
    """As `find_directory`, without making or downloading anything; None: it is not there yet."""
    if model.startswith(SYNTHETIC_PREFIX):
        directory = data_dir / "models" / f"synthetic-{model.removeprefix(SYNTHETIC_PREFIX)}"
        return directory if directory.exists() else None
    if not Path(model).expanduser().is_dir() and _is_hub_name(model):
        # Slow to import, and rarely needed.
        from huggingface_hub import snapshot_download  # noqa: PLC0415
        from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

        with suppress(LocalEntryNotFoundError):
            return Path(
                snapshot_download(model, cache_dir=data_dir / "models", local_files_only=True)
            )
        return None
    return find_directory(model, data_dir=data_dir)


def find_directory(model: str, *, data_dir: Path) -> Path:
    """Where the checkpoint lies that `model` names; see `find_model`."""
    if model == DEMO_MODEL:
        return DEMO_DIRECTORY
    if model.startswith(SYNTHETIC_PREFIX):
        return _generate(model, data_dir / "models")
    if Path(model).expanduser().is_dir():
        return Path(model).expanduser().resolve()
    if _is_hub_name(model):
        return _download(model, data_dir / "models")
    if ":" in model:
        # BentoML takes a second to import.
        from phi3_bento.models.store import find  # noqa: PLC0415

        return find(model, data_dir).directory
    raise StartFailure(
        f"There is no model '{model}': not a directory on this machine, not a prepared model such "
        "as phi3-mini-int8:latest, and not a hub name such as microsoft/Phi-3-mini-4k-instruct. "
        "Without MODEL= the demo model is served."
    )


def _is_hub_name(model: str) -> bool:
    owner, _, name = model.partition("/")
    return bool(owner and name) and "/" not in name and not model.startswith((".", "/", "~"))


def _name_of(
    model: str, directory: Path, config: dict[str, Any], served_name: str | None = None
) -> str:
    # Generated weights say so, whatever directory they lie in and whatever they are to be called.
    if model.startswith(SYNTHETIC_PREFIX) or config.get(SYNTHETIC_MARK):
        return f"synthetic-{served_name or SYNTHETIC_SHAPE}"
    if served_name:
        return served_name
    if model == DEMO_MODEL:
        return DEMO_MODEL
    is_mini = all(config.get(key) == value for key, value in MINI_SHAPE.items())
    if is_mini:
        return "phi-3-mini"
    # A downloaded model's directory is named after a commit.
    return directory.name if Path(model).expanduser().is_dir() else model.rpartition("/")[2]


def _generate(model: str, directory: Path) -> Path:
    shape = model.removeprefix(SYNTHETIC_PREFIX)
    if shape != SYNTHETIC_SHAPE:
        raise StartFailure(f"There is no synthetic model '{shape}'; there is {SYNTHETIC_SHAPE}.")
    if (target := directory / f"synthetic-{shape}").exists():
        return target
    # torch takes seconds to import, and a quarter of a gigabyte.
    from phi3_bento.models.synthetic import write_synthetic  # noqa: PLC0415

    return write_synthetic(target, tokenizer=DEMO_DIRECTORY)


def _download(model: str, directory: Path) -> Path:
    # Slow to import, and rarely needed.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.constants import HF_HUB_OFFLINE  # noqa: PLC0415

    options: dict[str, Any] = {"cache_dir": directory, "allow_patterns": _HUB_FILES}
    try:
        if not HF_HUB_OFFLINE:
            _check_space(directory, snapshot_download(model, dry_run=True, **options))
        path = snapshot_download(model, **options)
    except StartFailure:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise StartFailure(
            f"The model '{model}' is not in {directory} and could not be downloaded: "
            f"{reason.rstrip('.')}. "
            "Check the name and the network, or give a local directory as MODEL=."
        ) from error
    return Path(path)


def _check_space(directory: Path, files: Iterable[Any]) -> None:
    """Raise `StartFailure` where what is still to be downloaded would not fit the disk."""
    needed = sum(file.file_size or 0 for file in files if file.will_download)
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise StartFailure(
            f"{directory} has {free / 2**30:.1f} GiB free, and the download needs "
            f"{needed / 2**30:.1f} GiB. Free some, or choose another PHI3_DATA_DIR."
        )

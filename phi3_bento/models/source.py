"""Find the model that `MODEL=` names, and check that it is one this service can serve."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi3_bento.engine.budget import ModelShape
from phi3_bento.errors import StartFailure
from phi3_bento.settings import DEMO_MODEL

DEMO_DIRECTORY = Path(__file__).parent / "demo" / "checkpoint"
ARCHITECTURE = "Phi3ForCausalLM"
MINI_SHAPE = {"hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32}
"""Phi-3-mini-4k-instruct, -128k-instruct, Phi-3.5-mini-instruct and their fine-tunes."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A checkpoint on this machine's disk, and the name it is served by."""

    directory: Path
    name: str
    shape: ModelShape


def find_model(model: str, *, data_dir: Path, served_name: str | None = None) -> ModelSource:
    """The checkpoint that `model` names: `phi3-demo`, a directory, or a hub name, downloaded then.

    Raises `StartFailure` that says what is missing and what to do.
    """
    if model == DEMO_MODEL:
        directory = DEMO_DIRECTORY
    elif Path(model).expanduser().is_dir():
        directory = Path(model).expanduser().resolve()
    elif _is_hub_name(model):
        directory = _download(model, data_dir / "models")
    else:
        raise StartFailure(
            f"There is no model '{model}': not a directory on this machine, and not a hub name "
            f"such as microsoft/Phi-3-mini-4k-instruct. Without MODEL= the demo model is served."
        )
    config = read_config(directory)
    return ModelSource(
        directory=directory,
        name=served_name or _name_of(model, directory, config),
        shape=read_shape(directory, config),
    )


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


def _is_hub_name(model: str) -> bool:
    owner, _, name = model.partition("/")
    return bool(owner and name) and "/" not in name and not model.startswith((".", "/", "~"))


def _name_of(model: str, directory: Path, config: dict[str, Any]) -> str:
    if model == DEMO_MODEL:
        return DEMO_MODEL
    is_mini = all(config.get(key) == value for key, value in MINI_SHAPE.items())
    if is_mini:
        return "phi-3-mini"
    # A downloaded model's directory is named after a commit.
    return directory.name if Path(model).expanduser().is_dir() else model.rpartition("/")[2]


def _download(model: str, directory: Path) -> Path:
    # Slow to import, and rarely needed.
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    try:
        path = snapshot_download(model, cache_dir=directory, allow_patterns=_HUB_FILES)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise StartFailure(
            f"The model '{model}' is not in {directory} and could not be downloaded: "
            f"{reason.rstrip('.')}. "
            "Check the name and the network, or give a local directory as MODEL=."
        ) from error
    return Path(path)

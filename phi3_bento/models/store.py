"""Prepared models in BentoML's model store, so that a Bento can carry or reference them."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bentoml

# The only way to name a store other than the one of BENTOML_HOME at import.
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException, NotFound

from phi3_bento.errors import StartFailure
from phi3_bento.models.prepare import RECORD, SCHEME


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A prepared model in the store."""

    tag: str
    directory: Path
    created: str
    bytes: int
    labels: dict[str, str]


def store_directory(data_dir: Path) -> Path:
    """Where the store is: under the data directory, with the layout of a BENTOML_HOME."""
    return data_dir / "bentoml" / "models"


def register(directory: Path, data_dir: Path, *, name: str) -> StoredModel:
    """Copy a prepared checkpoint into the store under a new version of `name`."""
    record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    labels = {"scheme": SCHEME, "source": str(record.get("source", "unknown"))[:63]}
    with bentoml.models.create(name, labels=labels, _model_store=_store(data_dir)) as model:
        for file in directory.iterdir():
            (Path(model.path) / file.name).symlink_to(file.resolve())
    return find(str(model.tag), data_dir)


def find(tag: str, data_dir: Path) -> StoredModel:
    """The stored model of `tag`, `name` or `name:latest`. Raises `StartFailure`."""
    try:
        return _describe(bentoml.models.get(tag, _model_store=_store(data_dir)))
    except (NotFound, BentoMLException) as error:
        raise StartFailure(f"There is no prepared model '{tag}' ({error}).") from error


def stored_models(data_dir: Path) -> list[StoredModel]:
    """All prepared models, the newest first."""
    models = bentoml.models.list(_model_store=_store(data_dir))
    return sorted(map(_describe, models), key=lambda model: model.created, reverse=True)


def remove(tag: str, data_dir: Path) -> StoredModel:
    """Delete a prepared model from the store; returns what it was."""
    model = find(tag, data_dir)
    bentoml.models.delete(model.tag, _model_store=_store(data_dir))
    shutil.rmtree(model.directory, ignore_errors=True)
    return model


def _store(data_dir: Path) -> Any:
    directory = store_directory(data_dir)
    directory.mkdir(parents=True, exist_ok=True)
    return ModelStore(directory)


def _describe(model: Any) -> StoredModel:
    directory = Path(model.path)
    return StoredModel(
        tag=str(model.tag),
        directory=directory,
        created=model.info.creation_time.isoformat(timespec="seconds"),
        bytes=sum(file.stat().st_size for file in directory.iterdir()),
        labels=dict(model.info.labels),
    )

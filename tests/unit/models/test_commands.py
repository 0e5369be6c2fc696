"""`phi3-bento model …` from preparation to removal, as a user types it."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from phi3_bento.cli import cli
from phi3_bento.errors import StartFailure
from phi3_bento.models.source import DEMO_DIRECTORY, find_model
from phi3_bento.settings import load_settings

NAME = "demo-int8"


@pytest.fixture(autouse=True)
def _data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHI3_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")


def model(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["model", *arguments])
    assert result.exception is None or isinstance(result.exception, StartFailure | SystemExit)
    return result


def test_a_model_is_prepared_listed_shown_verified_and_removed(tmp_path: Path) -> None:
    prepared = json.loads(model("prepare", "phi3-demo", "--name", NAME, "--json").stdout)
    tag, quality = prepared["tag"], prepared["quality"]
    assert tag.startswith(f"{NAME}:")
    assert abs(quality["perplexity_change"]) < 0.05
    assert quality["greedy_agreement"] > 0.9
    (listed,) = json.loads(model("list", "--json").stdout)
    assert (listed["tag"], listed["labels"]["source"]) == (tag, "phi3-demo")
    assert tag in model("list").stdout.replace("\n", "")
    shown = json.loads(model("show", tag).stdout)
    assert shown["preparation"]["quality"] == quality
    assert shown["preparation"]["source_checksums"]
    assert "is what was written" in model("verify", f"{NAME}:latest").stdout
    source = find_model(f"{NAME}:latest", data_dir=tmp_path)
    assert source.directory == Path(shown["directory"])
    assert not any(path.is_symlink() for path in source.directory.iterdir())
    assert tag in model("remove", tag).stdout
    assert json.loads(model("list", "--json").stdout) == []
    assert not (tmp_path / "models" / f"{NAME}.prepared").exists()


def test_a_prepared_model_is_never_named_as_the_real_one(tmp_path: Path) -> None:
    tag = json.loads(model("prepare", "phi3-demo", "--name", NAME, "--json").stdout)["tag"]
    assert find_model(tag, data_dir=tmp_path).name != "phi-3-mini"


def test_a_packed_model_is_what_is_served_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "repository" / "packed_model"
    monkeypatch.setattr("phi3_bento.models.commands.PACKED_MODEL", packed)
    monkeypatch.setattr("phi3_bento.knobs.defaults.PACKED_MODEL", packed)
    assert load_settings().model == "phi3-demo"
    tag = json.loads(model("prepare", "phi3-demo", "--name", NAME, "--json").stdout)["tag"]
    assert tag in model("pack", f"{NAME}:latest").stdout.replace("\n", "")
    assert find_model(load_settings().model, data_dir=tmp_path).directory == packed


def test_a_changed_file_is_named_by_verify() -> None:
    shown = json.loads(model("prepare", "phi3-demo", "--name", NAME, "--json").stdout)
    shard = next(Path(shown["directory"]).glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    result = model("verify", shown["tag"])
    assert isinstance(result.exception, StartFailure)
    assert shard.name in result.exception.message


def test_an_unknown_tag_is_said(tmp_path: Path) -> None:
    for command in ("show", "verify", "remove"):
        assert isinstance(model(command, "nothing:here").exception, StartFailure)
    with pytest.raises(StartFailure, match="nothing:here"):
        find_model("nothing:here", data_dir=tmp_path)


def test_a_directory_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    assert isinstance(model("prepare", str(directory)).exception, StartFailure)


def test_a_source_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "no-tokenizer"
    shutil.copytree(DEMO_DIRECTORY, directory)
    (directory / "tokenizer.json").unlink()
    result = model("prepare", str(directory))
    assert isinstance(result.exception, StartFailure)
    assert "tokenizer" in result.exception.message

"""A model of the hub is downloaded once, and then found where it lies."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from phi3_bento.errors import StartFailure
from tests.unit.models.directories import CONFIG, MINI, find, write
from tests.unit.models.hub import COMMIT, local_hub


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE=1 at the start of the process."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def downloaded(tmp_path: Path, config: dict[str, Any]) -> Path:
    """The model `owner/tiny-phi` in the data directory, as the hub's own client leaves it."""
    cache = tmp_path / "data" / "models" / "models--owner--tiny-phi"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(COMMIT)
    return write(cache / "snapshots" / COMMIT, config)


@pytest.mark.usefixtures("offline")
def test_a_downloaded_model_is_served_by_its_own_name(tmp_path: Path) -> None:
    directory = downloaded(tmp_path, CONFIG)
    source = find("owner/tiny-phi", tmp_path)
    assert (source.directory, source.name) == (directory, "tiny-phi")


@pytest.mark.usefixtures("offline")
def test_a_downloaded_mini_is_served_as_phi_3_mini(tmp_path: Path) -> None:
    downloaded(tmp_path, CONFIG | MINI)
    assert find("owner/tiny-phi", tmp_path).name == "phi-3-mini"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["owner/other", "owner/not a name", "o--w/x"])
def test_a_model_that_cannot_be_downloaded_is_said_with_the_reason(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(StartFailure, match=r"could not be downloaded: .*MODEL=") as caught:
        find(name, tmp_path)
    assert f"'{name}'" in caught.value.message
    assert "\n" not in caught.value.message


def plan(hub: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """The hub's address is read when its client is imported: a process of its own."""
    variables = {
        "HF_ENDPOINT": hub,
        "PHI3_MODEL": "owner/tiny-phi",
        "PHI3_DATA_DIR": str(tmp_path / "data"),
    }
    return subprocess.run(
        [sys.executable, "-m", "phi3_bento", "plan", "--json"],
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
        text=True,
    )


def test_a_model_is_downloaded_from_the_hub_once(tmp_path: Path) -> None:
    with local_hub(write(tmp_path / "remote"), "owner/tiny-phi") as (address, downloaded):
        first = plan(address, tmp_path)
        assert first.returncode == 0, first.stderr
        assert json.loads(first.stdout)["model"] == "tiny-phi"
        files = ["config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"]
        assert sorted(downloaded) == files
        assert plan(address, tmp_path).returncode == 0
        assert sorted(downloaded) == files


def test_a_disk_that_is_too_small_is_said_before_the_download(tmp_path: Path) -> None:
    remote = write(tmp_path / "remote")
    with local_hub(remote, "owner/tiny-phi", claimed_bytes=2**60) as (address, downloaded):
        refused = plan(address, tmp_path)
    assert refused.returncode == 1
    assert "GiB free, and the download needs" in refused.stderr
    assert not downloaded

"""From bf16 to INT8: what is written, what is refused, and what a killed preparation leaves."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from phi3_bento.errors import StartFailure
from phi3_bento.models import prepare
from phi3_bento.models.checkpoint import INDEX, read_entries
from phi3_bento.models.prepare import RECORD, prepare_int8, verify
from phi3_bento.models.quantisation import is_quantised, quantise_rows, scale_name
from phi3_bento.models.source import DEMO_DIRECTORY


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The demo model's bf16 checkpoint in three shards with an index, as hubs publish them."""
    directory = tmp_path / "bf16"
    shutil.copytree(DEMO_DIRECTORY, directory)
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    weight_map = {}
    for number in range(3):
        file = f"model-{number + 1:05d}-of-00003.safetensors"
        part = {name: tensors[name] for name in names[number::3]}
        save_file(part, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    (directory / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return directory


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "SHARD_BYTES", 2**20)


def test_linear_weights_become_int8_and_all_else_stays(source: Path, tmp_path: Path) -> None:
    target = prepare_int8(source, tmp_path / "int8")
    before, after = read_entries(source), read_entries(target)
    for name, entry in before.items():
        if is_quantised(name):
            assert after[name].dtype == "I8"
            assert after[name].shape == entry.shape
            assert after[scale_name(name)].shape == (entry.shape[0], 1)
        else:
            assert after[name].dtype == "BF16"
    scales = {scale_name(name) for name in before if is_quantised(name)}
    assert set(after) == set(before) | scales
    assert len(scales) == 4 * json.loads((source / "config.json").read_text())["num_hidden_layers"]


def test_config_tokenizer_and_record_come_along(source: Path, tmp_path: Path) -> None:
    target = prepare_int8(source, tmp_path / "int8")
    config = json.loads((target / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    assert (target / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    record = json.loads((target / RECORD).read_text())
    assert len(record["source_checksums"]) == 3
    verify(target)


@given(
    st.integers(1, 6).flatmap(
        lambda columns: st.lists(
            st.lists(st.floats(-1e4, 1e4, width=32), min_size=columns, max_size=columns),
            min_size=1,
            max_size=6,
        )
    )
)
def test_no_weight_moves_by_more_than_half_a_step(rows: list[list[float]]) -> None:
    weight = torch.tensor(rows)
    quantised, scale = quantise_rows(weight)
    assert quantised.dtype is torch.int8
    assert bool(((weight - quantised * scale).abs() <= scale * 0.5001).all())


def test_a_killed_preparation_goes_on_where_it_stopped(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As SIGKILL is: nothing gets the chance to clean up."""

    write, written = prepare._write_shard, []

    def write_two(shard, path):  # type: ignore[no-untyped-def]
        if len(written) == 2:
            path.with_suffix(".tmp").write_bytes(b"half a shard")
            raise Killed
        written.append(path.name)
        write(shard, path)

    target = tmp_path / "int8"
    monkeypatch.setattr(prepare, "_write_shard", write_two)
    with pytest.raises(Killed):
        prepare_int8(source, target)
    assert not target.exists()
    monkeypatch.setattr(prepare, "_write_shard", lambda *a: (written.append(a[1].name), write(*a)))
    prepare_int8(source, target)
    assert len(written) == len(set(written)), "no shard was written twice"
    whole = prepare_int8(source, tmp_path / "whole")
    for file in whole.glob("*.safetensors"):
        assert (target / file.name).read_bytes() == file.read_bytes()


def test_a_preparation_of_another_source_starts_anew(source: Path, tmp_path: Path) -> None:
    partial = tmp_path / "int8.partial"
    partial.mkdir()
    (partial / RECORD).write_text(json.dumps({"sources": {"other": 1}, "written": {"x": "y"}}))
    verify(prepare_int8(source, tmp_path / "int8"))


def test_a_truncated_shard_is_named(source: Path, tmp_path: Path) -> None:
    shard = source / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(StartFailure, match=r"model-00002-of-00003\.safetensors.*truncated"):
        prepare_int8(source, tmp_path / "int8")
    assert not (tmp_path / "int8").exists()


def test_a_missing_shard_is_named(source: Path, tmp_path: Path) -> None:
    (source / "model-00003-of-00003.safetensors").unlink()
    with pytest.raises(StartFailure, match=r"model-00003-of-00003\.safetensors is missing"):
        prepare_int8(source, tmp_path / "int8")


def test_a_shard_that_is_something_else_is_named(source: Path, tmp_path: Path) -> None:
    (source / "model-00001-of-00003.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(StartFailure, match=r"model-00001-of-00003\.safetensors is not"):
        prepare_int8(source, tmp_path / "int8")


def test_a_weight_that_is_not_a_number_is_named(source: Path, tmp_path: Path) -> None:
    shard = source / "model-00001-of-00003.safetensors"
    tensors = load_file(shard)
    name = next(name for name in tensors if is_quantised(name))
    tensors[name][0, 0] = float("nan")
    save_file(tensors, shard)
    with pytest.raises(StartFailure, match=name):
        prepare_int8(source, tmp_path / "int8")


def test_a_quantised_source_is_refused(source: Path, tmp_path: Path) -> None:
    target = prepare_int8(source, tmp_path / "int8")
    with pytest.raises(StartFailure, match="quantised already"):
        prepare_int8(target, tmp_path / "again")


def test_a_full_disk_is_found_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_SPACE_MARGIN_BYTES", 2**60)
    with pytest.raises(StartFailure, match="GiB free"):
        prepare_int8(source, tmp_path / "int8")
    assert list((tmp_path / "int8.partial").iterdir()) == []


def test_verify_names_a_file_that_was_changed(source: Path, tmp_path: Path) -> None:
    target = prepare_int8(source, tmp_path / "int8")
    shard = next(target.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StartFailure, match=shard.name):
        verify(target)

"""A model is found by its name, and what is wrong with a checkpoint is said in one sentence."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phi3_bento.engine.budget import plan_memory
from phi3_bento.errors import StartFailure
from phi3_bento.models.checkpoint import SYNTHETIC_MARK
from phi3_bento.models.source import DEMO_DIRECTORY
from tests.unit.models.directories import CONFIG, MINI, find, write


def test_a_directory_is_served_by_its_name_and_measured(tmp_path: Path) -> None:
    source = find(write(tmp_path / "my-phi"), tmp_path)
    assert (source.directory, source.name) == (tmp_path / "my-phi", "my-phi")
    shape = source.shape
    assert (shape.layers, shape.kv_heads, shape.head_size) == (2, 2, 16)
    assert (shape.max_context_tokens, shape.weights_bytes) == (128, 1000)


def test_a_directory_may_be_given_from_here_or_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my-phi")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for model in ("my-phi", "./my-phi", "~/my-phi", "../" + tmp_path.name + "/my-phi"):
        assert find(model, tmp_path).directory == tmp_path / "my-phi"


def test_the_demo_model_is_there_whatever_the_directory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "phi3-demo").mkdir()
    monkeypatch.chdir(tmp_path)
    source = find("phi3-demo", tmp_path)
    assert (source.directory, source.name) == (DEMO_DIRECTORY, "phi3-demo")
    assert source.shape.weights_bytes < 2**30


def test_mini_and_its_fine_tunes_are_served_as_phi_3_mini(tmp_path: Path) -> None:
    assert find(write(tmp_path / "x", CONFIG | MINI), tmp_path).name == "phi-3-mini"


@pytest.mark.parametrize("config", [CONFIG, CONFIG | MINI])
def test_a_name_that_is_asked_for_comes_first(tmp_path: Path, config: dict[str, Any]) -> None:
    assert find(write(tmp_path / "x", config), tmp_path, "mine").name == "mine"
    assert find("phi3-demo", tmp_path, "mine").name == "mine"


def test_without_grouped_heads_every_head_has_its_cache(tmp_path: Path) -> None:
    config = {name: value for name, value in CONFIG.items() if name != "num_key_value_heads"}
    assert find(write(tmp_path / "x", config), tmp_path).shape.kv_heads == 4


@pytest.mark.parametrize(
    "name", ["nothing", "/nothing/here", "./a/b", "a/b/c", "a/", "/b", "~/x/y"]
)
def test_what_is_neither_a_directory_nor_a_hub_name_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartFailure, match=r"There is no model.*microsoft/Phi-3-mini") as caught:
        find(name, tmp_path)
    assert f"'{name}'" in caught.value.message


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("config", "is not a checkpoint"),
        ("tokenizer", r"has no tokenizer: tokenizer\.json or tokenizer\.model"),
        ("model", r"has no weights: no \*\.safetensors"),
    ],
)
def test_a_part_that_is_missing_is_named(tmp_path: Path, without: str, words: str) -> None:
    with pytest.raises(StartFailure, match=words) as caught:
        find(write(tmp_path / "x", without=without), tmp_path)
    assert str(tmp_path / "x") in caught.value.message


def test_a_tokenizer_of_sentencepiece_is_enough(tmp_path: Path) -> None:
    directory = write(tmp_path / "x", without="tokenizer")
    (directory / "tokenizer.model").touch()
    assert find(directory, tmp_path).name == "x"


@pytest.mark.parametrize(
    ("architectures", "told"),
    [
        (["LlamaForCausalLM"], "holds LlamaForCausalLM, .*serves Phi3ForCausalLM"),
        (["Phi3VForCausalLM", "Other"], "holds Phi3VForCausalLM, Other, "),
        ([], "an unnamed architecture"),
        (None, "an unnamed architecture"),
    ],
)
def test_another_architecture_is_refused_by_its_name(
    tmp_path: Path, architectures: object, told: str
) -> None:
    with pytest.raises(StartFailure, match=told):
        find(write(tmp_path / "x", CONFIG | {"architectures": architectures}), tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "[" * 100_000, "\udcff"])
def test_a_config_that_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    directory = write(tmp_path / "x")
    (directory / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(StartFailure, match=r"config\.json cannot be read"):
        find(directory, tmp_path)


def test_weights_that_are_a_broken_link_are_said(tmp_path: Path) -> None:
    """A hub's cache is made of links."""
    directory = write(tmp_path / "x")
    (directory / "model-3.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(StartFailure, match=r"model-3\.safetensors is missing"):
        find(directory, tmp_path)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values |= st.lists(values, max_size=2)


@given(config=st.fixed_dictionaries({}, optional=dict.fromkeys(CONFIG, values)) | values)
@example(config={"architectures": 5})
@example(config={"architectures": [5]})
@example(config={"num_attention_heads": 0})
@example(config={"num_hidden_layers": 0})
@example(config={"hidden_size": 1})
@example(config={"hidden_size": float("inf")})
@example(config={"max_position_embeddings": -1})
def test_any_config_is_served_or_refused_with_a_sentence(config: object) -> None:
    with tempfile.TemporaryDirectory() as directory:
        model = write(
            Path(directory) / "x", CONFIG | config if isinstance(config, dict) else config
        )
        try:
            shape = find(model, Path(directory)).shape
            plan_memory(shape, memory_bytes=8 * 2**30, max_sequences=1, block_tokens=1)
        except StartFailure as refused:
            assert refused.message


def test_the_demo_checkpoint_can_be_copied_and_served_from_there(tmp_path: Path) -> None:
    shutil.copytree(DEMO_DIRECTORY, tmp_path / "copy")
    assert find(tmp_path / "copy", tmp_path).name == "copy"


@pytest.mark.parametrize("served_name", [None, "phi-3-mini"])
def test_generated_weights_never_pass_for_the_model(
    tmp_path: Path, served_name: str | None
) -> None:
    directory = write(tmp_path / "x", CONFIG | MINI | {SYNTHETIC_MARK: True})
    assert find(directory, tmp_path, served_name).name == "synthetic-phi-3-mini"

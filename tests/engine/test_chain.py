"""Answers that are known, token for token, from a model with Phi-3's vocabulary, in INT8.

The demo model's vocabulary is small, and its numbers are bf16: kernels that fail beyond are not
seen with it.
"""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from loadtests.compare.chain_weights import write_chain
from phi3_bento.models.source import DEMO_DIRECTORY
from phi3_bento.models.synthetic import PHI_3_MINI, write_synthetic
from tests.support import Service, running, serve_command

pytestmark = pytest.mark.engine

SMALL = PHI_3_MINI | {
    "hidden_size": 768,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
}
FIRST, DISTANCE, NEW_TOKENS = 1_000, 3_501, 32


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("chain")
    stand_in = write_synthetic(directory / "small", tokenizer=DEMO_DIRECTORY, config=SMALL)
    write_chain(stand_in, directory / "chain")
    with running(serve_command(), directory, {"PHI3_MODEL": str(directory / "chain")}) as service:
        yield service


@pytest.mark.parametrize("temperature", [0, 0.7])
@pytest.mark.parametrize("at_once", [1, 2, 8])
async def test_each_token_follows_the_one_before_it(
    chain: Service, at_once: int, temperature: float
) -> None:
    async with httpx.AsyncClient(base_url=chain.url, timeout=60) as client:

        async def continued(start: int, length: int) -> list[int]:
            prompt = [*range(start, start + length)]
            options = {"temperature": temperature, "ignore_eos": True, "return_token_ids": True}
            body = {"prompt": prompt, "max_tokens": NEW_TOKENS, **options}
            answer = (await client.post("/v1/completions", json=body)).json()
            tokens: list[int] = answer["choices"][0]["token_ids"]
            return tokens

        starts = [FIRST + DISTANCE * number for number in range(at_once)]
        lengths = [5 + 20 * number for number in range(at_once)]
        answers = await asyncio.gather(*map(continued, starts, lengths))
    for start, length, answer in zip(starts, lengths, answers, strict=True):
        assert answer == [*range(start + length, start + length + NEW_TOKENS)]

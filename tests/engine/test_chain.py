"""Answers that are known, token for token, from a model with Phi-3's vocabulary, in INT8.

The demo model's vocabulary is small, and its numbers are bf16: kernels that fail beyond are not
seen with it. Nor are wrong tokens behind guessed ones (`PHI3_SPECULATIVE_TOKENS`).
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loadtests.compare.chain_weights import write_chain
from phi3_bento.models.source import DEMO_DIRECTORY
from phi3_bento.models.synthetic import PHI_3_MINI, write_synthetic
from tests.engine.test_speculation import guesses
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
BREAK_EVERY = 16
"""Of an answer's tokens, which one its prompt lacks: a guess is wrong there."""


@pytest.fixture(scope="module")
def chain_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("chain-model")
    stand_in = write_synthetic(directory / "small", tokenizer=DEMO_DIRECTORY, config=SMALL)
    write_chain(stand_in, directory / "chain")
    return directory / "chain"


@pytest.fixture(scope="module", params=[0, 7], ids=["plain", "guessing"])
def speculative_tokens(request: pytest.FixtureRequest) -> int:
    tokens: int = request.param
    return tokens


@pytest.fixture(scope="module")
def chain(
    tmp_path_factory: pytest.TempPathFactory, chain_model: Path, speculative_tokens: int
) -> Iterator[Service]:
    settings = {
        "PHI3_MODEL": str(chain_model),
        "PHI3_SPECULATIVE_TOKENS": str(speculative_tokens),
    }
    with running(serve_command(), tmp_path_factory.mktemp("chain"), settings) as service:
        yield service


def prompt_of(start: int, length: int) -> list[int]:
    """`length` tokens to go on from, behind the answer with gaps: some guesses are right."""
    answer = range(start + length, start + length + NEW_TOKENS)
    return [*(token for token in answer if token % BREAK_EVERY), *range(start, start + length)]


@pytest.mark.parametrize("temperature", [0, 0.7])
@pytest.mark.parametrize("at_once", [1, 2, 8])
async def test_each_token_follows_the_one_before_it(
    chain: Service, at_once: int, temperature: float
) -> None:
    async with httpx.AsyncClient(base_url=chain.url, timeout=60) as client:

        async def continued(start: int, length: int) -> list[int]:
            options = {"temperature": temperature, "ignore_eos": True, "return_token_ids": True}
            options |= {"top_p": 0.9 if temperature else 1}
            body = {"prompt": prompt_of(start, length), "max_tokens": NEW_TOKENS, **options}
            answer = (await client.post("/v1/completions", json=body)).json()
            tokens: list[int] = answer["choices"][0]["token_ids"]
            return tokens

        starts = [FIRST + DISTANCE * number for number in range(at_once)]
        lengths = [5 + 20 * number for number in range(at_once)]
        answers = await asyncio.gather(*map(continued, starts, lengths))
    for start, length, answer in zip(starts, lengths, answers, strict=True):
        assert answer == [*range(start + length, start + length + NEW_TOKENS)]


def test_guesses_are_accepted_where_any_are_made(chain: Service, speculative_tokens: int) -> None:
    """In the steps of the tests above."""
    guessed, accepted = guesses(chain, "draft"), guesses(chain, "accepted")
    assert (guessed > 0) == (speculative_tokens > 0)
    assert accepted >= guessed / 4

"""How many replicas a load needs."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi3_bento.fleet.capacity import BUSY_SHARE, HIT_S, Demand, Speed, need_of

SPEED = Speed(prefill=160, decode=56)


def test_a_request_costs_its_prefill_and_its_decode() -> None:
    assert need_of(Demand(1, 0, 320, 56), SPEED).engine_s == pytest.approx(3.0)


def test_normal_load_in_decisions_fits_one_replica() -> None:
    """50 requests a second, 95 % from the cache, 32 new prompt tokens, one token out."""
    need = need_of(Demand(50, 0.95, 32, 1), SPEED)
    assert need.replicas == 1


def test_normal_load_in_long_answers_does_not() -> None:
    assert need_of(Demand(50, 0.95, 200, 64), SPEED).replicas == 9


def test_hits_have_their_price() -> None:
    assert need_of(Demand(10_000, 1, 200, 64), SPEED).requests_per_s == pytest.approx(
        BUSY_SHARE / HIT_S
    )


@given(
    rate=st.floats(0.01, 1000),
    hits=st.floats(0, 1),
    prompt=st.integers(1, 4000),
    output=st.integers(1, 4000),
)
def test_the_replicas_bear_the_load_and_one_less_does_not(
    rate: float, hits: float, prompt: int, output: int
) -> None:
    need = need_of(Demand(rate, hits, prompt, output), SPEED)
    busy = rate * need.mean_s
    assert busy <= need.replicas * BUSY_SHARE + 1e-5
    assert need.replicas == 1 or busy > (need.replicas - 1) * BUSY_SHARE - 1e-5


def test_the_command_says_it_in_words_and_in_json() -> None:
    command = [sys.executable, "-m", "phi3_bento", "plan", "--rps", "50", "--hit-rate", "0.95"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert text.endswith("50 requests a second need 9 replicas.\n")
    json_text = subprocess.run([*command, "--json"], check=True, capture_output=True).stdout
    assert json.loads(json_text)["replicas"] == 9

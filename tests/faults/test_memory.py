"""Long prompts at full concurrency where memory is short: the kernel never has to end anything."""

import asyncio
from collections.abc import Iterator

import pytest

from loadtests.crowds import crowd
from loadtests.sampling import sampled
from loadtests.service import Setup, Target, under_load
from tests.faults.figures import IS_LONG, Figures

pytestmark = [pytest.mark.engine, pytest.mark.timeout(0 if IS_LONG else 300)]

MIB = 2**20
MODEL, LIMIT_MIB = ("synthetic:phi-3-mini", 8192) if IS_LONG else ("phi3-demo", 2400)
CLIENTS = 110
"""More than are let in, who are 32 in the engine and 64 waiting."""

WORDS, TOKENS = (1000, 4) if IS_LONG else (1200, 8)
SAMPLE_S = 0.25
FAULT = f"long prompts at full concurrency, {MODEL} in a cgroup of {LIMIT_MIB:,} MiB"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    settings = {"PHI3_FIRST_PIECE_LIMIT_S": "3000"}
    setup = Setup(MODEL, "vllm", settings, tenants={}, cgroup=True, memory_bytes=LIMIT_MIB * MIB)
    with under_load(setup) as target:
        yield target


async def test_what_does_not_fit_waits_or_is_refused(target: Target, figures: Figures) -> None:
    assert target.group is not None, target.place
    with sampled(target, 0, least_interval_s=SAMPLE_S) as sampler:
        async with crowd(target.service.url, words=WORDS, tokens=TOKENS) as clients:
            answers = await asyncio.gather(*(clients.ask() for _ in range(CLIENTS)))
            after = await clients.ask()
    peak = max(sample.used_bytes or 0 for sample in sampler.samples)
    done = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert target.group.oom_kills() == 0
    assert 0 < peak < LIMIT_MIB * MIB
    assert done
    assert {answer.status for answer in refused} == {503}
    assert after.status == 200
    figures.note(FAULT, "peak", f"{peak / MIB:,.0f} MiB")
    figures.note(FAULT, "processes killed for memory", "0")
    figures.note(FAULT, f"of {CLIENTS} at once, answered", str(len(done)))

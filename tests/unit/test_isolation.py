"""The self-test at every start: it lets a sound service start, and no other."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from phi3_bento.cache import answers
from phi3_bento.core import Job
from phi3_bento.engine.echo import EchoEngine
from phi3_bento.errors import StartFailure
from phi3_bento.isolation import check_isolation
from phi3_bento.usage.metrics import Metrics
from tests.unit.bench import MakeParts


class Sharing(EchoEngine):
    """Its KV cache gives everybody's blocks to everybody, or each tenant's to itself."""

    def __init__(self, *, by_salt: bool) -> None:
        super().__init__()
        self._by_salt = by_salt
        self._seen: set[Any] = set()

    async def run(self, job: Job) -> AsyncGenerator[bytes, None]:
        prompt = job.payload["messages"][0]["content"]
        block = (job.cache_salt, prompt) if self._by_salt else prompt
        async for piece in super().run(job):
            job.tokens.cached = 32 if block in self._seen else 0
            yield piece
        self._seen.add(block)


async def check(parts: MakeParts, engine: EchoEngine, **settings: object) -> None:
    made = parts(Metrics(CollectorRegistry()), **settings)
    await check_isolation(engine, made.gate(engine.card), made.cache)


@pytest.mark.parametrize("cache", [True, False])
async def test_tenants_that_are_apart_pass(parts: MakeParts, cache: bool) -> None:
    await check(parts, Sharing(by_salt=True), cache=cache)


@pytest.mark.parametrize("cache", [True, False])
async def test_a_shared_kv_cache_is_noticed(parts: MakeParts, cache: bool) -> None:
    with pytest.raises(StartFailure, match=r"Tenants are not apart.*32 tokens"):
        await check(parts, Sharing(by_salt=False), cache=cache)


async def test_a_shared_answer_is_noticed(
    parts: MakeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "scope_of", lambda *_: "00" * 32)
    with pytest.raises(StartFailure, match=r"Tenants are not apart.*answer: hit"):
        await check(parts, Sharing(by_salt=True))


async def test_nothing_stays_behind(parts: MakeParts) -> None:
    made, engine = parts(Metrics(CollectorRegistry())), Sharing(by_salt=True)
    await check_isolation(engine, made.gate(engine.card), made.cache)
    assert (await made.cache.statistics())["memory"]["entries"] == 0

"""A test that the service makes of itself at every start: tenants do not meet in the caches."""

import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from phi3_bento.admission.gate import Gate
from phi3_bento.cache.answers import AnswerCache
from phi3_bento.cache.plan import Plan
from phi3_bento.call import Call
from phi3_bento.caller import Caller
from phi3_bento.core import Job, Operation
from phi3_bento.engine.base import Engine
from phi3_bento.errors import StartFailure
from phi3_bento.record import RequestRecord
from phi3_bento.shared_answers import AS_STREAM, Asked, SharedAnswers

logger = logging.getLogger("bentoml.phi3")

_NAME = "self-test"


async def check_isolation(engine: Engine, gate: Gate, cache: AnswerCache) -> None:
    """Ask as one tenant, then the very same as another, who must find none of it.

    Neither an answer in any tier of the cache, nor blocks of the prompt in the engine's KV cache,
    by which the answer would come sooner. Raises `StartFailure` when they do.
    """
    first, second = (_Tenant(engine, gate, cache) for _ in range(2))
    body = _body()
    try:
        await first.ask(body)
        own = await first.ask(body | {"max_tokens": 2})
        other = await second.ask(body)
    finally:
        await first.leave()
        await second.leave()
    if other.cache_status == "hit" or other.tokens.cached:
        raise StartFailure(
            "Tenants are not apart: a prompt that one had sent was found in the cache by another "
            f"(answer: {other.cache_status}, {other.tokens.cached} tokens of the prompt). The "
            "service does not start. Please report this."
        )
    logger.info(
        "Tenants are apart: of a prompt that its owner finds again (%d tokens), another finds "
        "nothing.",
        own.tokens.cached,
    )


def _body() -> dict[str, Any]:
    """A prompt of some KV blocks, like none before."""
    words = " ".join(secrets.token_hex(2) for _ in range(40))
    return {
        "messages": [{"role": "user", "content": f"Self-test: {words}"}],
        "max_tokens": 1,
        "temperature": 0,
    }


class _Tenant:
    """Somebody whom nobody knows."""

    def __init__(self, engine: Engine, gate: Gate, cache: AnswerCache) -> None:
        self._engine = engine
        self._gate = gate
        self._cache = cache
        self._caller = Caller(f"{_NAME}-{secrets.token_hex(8)}", _NAME)
        self._plans: list[Plan] = []

    async def ask(self, body: dict[str, Any]) -> RequestRecord:
        """Have the request answered on the way of all requests."""
        engine, gate = self._engine, self._gate
        call = Call(self._caller, _NAME, semantic_cache=True)
        record = RequestRecord(Operation.CHAT, _NAME, self._caller)
        plan = self._cache.plan(Operation.CHAT, body, call, engine.card)
        if plan is None:  # the cache is off
            job = _parse(engine, body)
            async with gate.let_in(job, body, call) as ticket:
                await _read(engine.run(ticket.job))
            record.tokens = job.tokens
            return record
        self._plans.append(plan)
        asked = Asked(Operation.CHAT, plan, lambda: _parse(engine, body), body, call, record)
        await _read(SharedAnswers(self._cache, engine, gate).answer(asked))
        return record

    async def leave(self) -> None:
        """Leave nothing behind."""
        for plan in self._plans:
            await self._cache.forget(plan)


def _parse(engine: Engine, body: dict[str, Any]) -> Job:
    return engine.parse(Operation.CHAT, {**body, **AS_STREAM}, _NAME)


async def _read(pieces: AsyncGenerator[bytes, None]) -> None:
    async with aclosing(pieces):
        async for _ in pieces:
            pass

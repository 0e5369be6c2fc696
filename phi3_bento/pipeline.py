"""A request's way, top to bottom: check it, let it in, run it, count it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import cache as once
from time import monotonic
from typing import Any

from phi3_bento.admission.gate import Gate
from phi3_bento.admission.validation import check_body
from phi3_bento.cache.answers import AnswerCache
from phi3_bento.cache.explanation import Explanation, explain
from phi3_bento.cache.policy import has_plain_manners, status_of
from phi3_bento.call import Call
from phi3_bento.core import Job, Operation
from phi3_bento.engine.base import Engine
from phi3_bento.engine.state import Health, ModelCard, State
from phi3_bento.errors import DeadlineExceeded, EngineFailure, Unavailable
from phi3_bento.load_report import LoadReport
from phi3_bento.record import RequestRecord
from phi3_bento.running_requests import RETRY_ELSEWHERE_S, RunningRequests
from phi3_bento.shared_answers import AS_STREAM, Asked, Sample, SharedAnswers
from phi3_bento.usage.ledger import Ledger

_STARTING = Health(State.STARTING, "The engine starts.")
_DRAINING = Health(State.CLOSED, "The service is shutting down.")
_RETRY_STARTING_S = 5.0


class Pipeline:
    """Answers requests from the moment the process runs; before the engine is there, with 503.

    The engine comes by `open`; `drain` lets running requests finish and takes no new ones. All
    methods belong to one event loop.
    """

    def __init__(
        self,
        *,
        report: Callable[[RequestRecord], None],
        ledger: Ledger,
        cache: AnswerCache,
        max_choices: int,
        first_piece_limit_s: float,
        on_semantic_hit: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self.cache = cache
        self._running = RunningRequests(ledger, reports=(report, cache.observe))
        self._max_choices = max_choices
        self._first_piece_limit_s = first_piece_limit_s
        self._on_semantic_hit = on_semantic_hit
        self._engine: Engine | None = None
        self._gate: Gate | None = None
        self._refusal: Health | None = _STARTING
        self._outage: Health | None = None
        self._back_at = 0.0

    async def answer(
        self, operation: Operation, body: object, call: Call
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answer in JSON documents, as `Engine.run` does.

        Errors before the first piece are the request's status. Iterate in one task; closing the
        generator or cancelling the task stops the engine's work. When it ends, the request has
        its row in the ledger.
        """
        record = RequestRecord(operation, call.request_id, call.caller, started_at=call.started_at)
        call.records.append(record)
        async with self._running.accounted(record):
            engine, gate = self._require()
            checked = self._check(operation, body, engine)
            record.model, record.stream = engine.card.name, checked.get("stream") is True
            plan = self.cache.plan(operation, checked, call, engine.card)
            if plan is None:
                gate.check_room(operation, checked, call)
                job = engine.parse(operation, checked, call.request_id)
                pieces = self._direct(engine, gate, job, checked, call, record)
            else:
                request = {**checked, **AS_STREAM}
                parse = once(lambda: engine.parse(operation, request, call.request_id))
                if not has_plain_manners(checked, engine.card.name):
                    parse()
                shared = SharedAnswers(self.cache, engine, gate, self._on_semantic_hit)
                pieces = shared.answer(Asked(operation, plan, parse, checked, call, record))
            async with aclosing(pieces):
                first = await self._first_piece(pieces)
                record.first_piece_at = monotonic()
                yield first
                async for piece in pieces:
                    yield piece

    async def explain(self, operation: Operation, body: object, call: Call) -> Explanation:
        """What the cache would make of this request now; errors as of the request itself."""
        engine, _ = self._require()
        checked = self._check(operation, body, engine)
        engine.parse(operation, checked, call.request_id)
        return await explain(self.cache, operation, checked, call, engine.card)

    def _check(self, operation: Operation, body: object, engine: Engine) -> dict[str, Any]:
        return check_body(
            operation,
            body,
            max_choices=self._max_choices,
            special_tokens=engine.card.special_tokens,
        )

    async def _direct(
        self,
        engine: Engine,
        gate: Gate,
        job: Job,
        body: dict[str, Any],
        call: Call,
        record: RequestRecord,
    ) -> AsyncGenerator[bytes, None]:
        """The answer of the engine, in which the cache has no part."""
        if job.operation.is_generation:
            call.headers["cache-status"] = status_of("fwd=bypass")
        async with gate.let_in(job, body, call) as ticket:
            record.let_in, record.tokens, record.times = True, job.tokens, job.times
            record.predicted_s = ticket.place.predicted_s
            async with aclosing(engine.run(ticket.job)) as pieces:
                async for piece in pieces:
                    ticket.begin()
                    yield piece

    @property
    def card(self) -> ModelCard:
        """The served model. Raises `Unavailable` while no engine is there."""
        return self.require_engine().card

    def require_engine(self) -> Engine:
        """The engine, or `Unavailable` with the reason why there is none."""
        return self._require()[0]

    def _require(self) -> tuple[Engine, Gate]:
        if self._engine is None or self._gate is None or self._refusal is not None:
            refusal = self._refusal or _STARTING
            is_starting = refusal.state is State.STARTING
            raise Unavailable(
                refusal.reason,
                retry_after_s=_RETRY_STARTING_S if is_starting else RETRY_ELSEWHERE_S,
            )
        self._ledger.check()
        return self._engine, self._gate

    def health(self) -> Health:
        """Whether requests are answered now, and if not, why.

        An engine that has ended is being replaced; the service is dead when `fail` says so.
        """
        if self._engine is None or self._refusal is not None:
            return self._refusal or _STARTING
        health = self._outage or self._engine.health()
        return Health(State.STARTING, health.reason) if health.state is State.DEAD else health

    def load(self) -> LoadReport:
        """How much is being worked on."""
        if self._gate is None:
            return LoadReport()
        backlog = self._gate.backlog
        return LoadReport(len(backlog), backlog.waiting(), len(self._running))

    def starting(self, doing: str) -> None:
        """Tell those who ask meanwhile what the start is at, as in "loading the weights"."""
        if self._outage is not None:
            self._outage = Health(State.STARTING, f"The engine is started again: {doing}.")
        elif self._refusal is not _DRAINING:
            self._refusal = Health(State.STARTING, f"The engine starts: {doing}.")

    def open(self, engine: Engine, gate: Gate) -> None:
        """Take requests from now on; also with another engine than before, of the same model."""
        if self._engine is None:
            self.cache.open(engine.card)
        self._engine = engine
        self._gate = gate
        self._outage = None
        if self._refusal is not _DRAINING:
            self._refusal = None

    def suspend(self, reason: str, back_in_s: float) -> None:
        """Let nobody to the engine until `open`; kept answers are still given.

        `back_in_s`: how long that will probably take.
        """
        self._outage = Health(State.STARTING, reason)
        self._back_at = monotonic() + back_in_s
        if self._gate is not None:
            self._gate.shut(self._come_back)

    def _come_back(self) -> Unavailable:
        reason = self._outage.reason if self._outage else _STARTING.reason
        left_s = self._back_at - monotonic()
        return Unavailable(reason, retry_after_s=max(left_s, RETRY_ELSEWHERE_S))

    def fail(self, reason: str) -> None:
        """Note that no engine will come."""
        self._refusal = Health(State.DEAD, reason)

    async def drain(self, limit_s: float) -> None:
        """Take no new requests; wait for the running ones, and after `limit_s` end them.

        A request that is ended gets `Unavailable`; a stream tells its client so.
        """
        self._refusal = _DRAINING
        await self._running.end(limit_s)

    async def _first_piece(self, pieces: AsyncIterator[bytes]) -> bytes:
        try:
            async with asyncio.timeout(self._first_piece_limit_s):
                return await anext(pieces)
        except StopAsyncIteration:
            raise EngineFailure("The engine gave no answer.") from None
        except TimeoutError:
            raise DeadlineExceeded(
                f"The answer did not begin within {self._first_piece_limit_s:g} s. Send a shorter "
                "prompt, or try again when there is less load."
            ) from None

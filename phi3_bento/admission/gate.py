"""The last step of admission: a request that was parsed gets its lease and place, or is refused.

Whatever becomes of it, lease and place are given back, and the limits count what it really used.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from phi3_bento.admission.backlog import Backlog, Place, Urgency
from phi3_bento.admission.deadline import Room, SpeedMeter
from phi3_bento.admission.demand import work_of
from phi3_bento.admission.limits import Lease, Limiter
from phi3_bento.admission.prefixes import Prompt, PromptMeter
from phi3_bento.admission.salts import Salts
from phi3_bento.call import Call
from phi3_bento.core import Job, Operation
from phi3_bento.engine.state import ModelCard
from phi3_bento.errors import PermissionDenied
from phi3_bento.phi3_error import Phi3Error


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that was let in."""

    job: Job
    place: Place
    call: Call

    def begin(self) -> None:
        """Note the time of its first token, and what it was spent on. Idempotent."""
        if self.place.began_at is not None:
            return
        began_at = self.place.began_at = monotonic()
        phases = {name: end - begin for name, begin, end in self.job.times.phases()}
        rest_s = began_at - self.place.entered_at - sum(phases.values())
        self.call.timings.update({"engine": max(rest_s, 0.0), **phases})
        self.call.spans.append(("engine", self.place.entered_at, began_at))


class Gate:
    """Lets parsed requests in, for one served model."""

    def __init__(
        self,
        card: ModelCard,
        *,
        salts: Salts,
        limiter: Limiter,
        meter: SpeedMeter,
        max_waiting: int,
        chunk_tokens: int,
    ) -> None:
        self._card = card
        self._salts = salts
        self._limiter = limiter
        room = Room(card.max_sequences, card.kv_tokens, chunk_tokens)
        self.backlog = Backlog(room=room, meter=meter, max_waiting=max_waiting)
        self._prompts = PromptMeter(card.kv_tokens)
        self._refusal: Callable[[], Phi3Error] | None = None

    def shut(self, refusal: Callable[[], Phi3Error]) -> None:
        """From now on refuse who needs the engine with what `refusal` makes; for good.

        `let_by` goes on.
        """
        self._refusal = refusal

    def check_room(self, operation: Operation, body: Mapping[str, Any], call: Call) -> None:
        """Raise what `let_in` would raise for want of a place, before the request is parsed.

        Parsing costs more than all before it, and when many must be refused, nobody's time is left
        for those who were let in.
        """
        if self._refusal is not None:
            raise self._refusal()
        if not operation.is_generation:
            return
        urgency = _urgency_of(call)
        if urgency.slo_s is not None or self.backlog.is_full(is_idle=call.is_idle):
            self.backlog.check(self._prompt(operation, body, call).work, urgency)

    @asynccontextmanager
    async def let_in(
        self, job: Job, body: Mapping[str, Any], call: Call
    ) -> AsyncGenerator[Ticket, None]:
        """Hold the request's lease and place while it runs.

        Raises `PermissionDenied` for a model that the key may not ask, `RateLimited`,
        `Overloaded`, `DeadlineUnmeetable`, and what `shut` was given.
        """
        if self._refusal is not None:
            raise self._refusal()
        prompt = self._prompt(job.operation, body, call)
        lease = await self._lease(call, prompt.work.held_tokens)
        try:
            place = self.backlog.enter(prompt.work, _urgency_of(call), job.tokens)
        except BaseException:
            await lease.release()
            raise
        try:
            salt = self._salts.salt_of(call.caller.tenant, body)
            yield Ticket(replace(job, priority=place.order).salted(salt), place, call)
        except Phi3Error:
            place.leave()
            # An engine that had not begun has cost nothing.
            await (lease.settle(job.tokens.total) if job.tokens.total else lease.release())
            raise
        except BaseException:
            # The client hung up, which must not make free what the engine did for it.
            place.count_work()
            place.leave()
            await lease.settle(job.tokens.total)
            raise
        place.leave()
        self._prompts.learn(prompt, job.tokens)
        await lease.settle(job.tokens.total)

    @asynccontextmanager
    async def let_by(self, call: Call) -> AsyncGenerator[Lease, None]:
        """Hold a lease for an answer that costs the engine nothing: a request, and no tokens.

        Raises as `let_in`, but for the places, of which it takes none.
        """
        lease = await self._lease(call, 0)
        try:
            yield lease
        finally:
            await lease.settle(0)

    async def _lease(self, call: Call, tokens: int) -> Lease:
        check_model(call, self._card.name)
        lease = await self._limiter.acquire(call.caller, tokens)
        call.headers.update(lease.standing.headers())
        call.has_standing = True
        return lease

    def _prompt(self, operation: Operation, body: Mapping[str, Any], call: Call) -> Prompt:
        work = work_of(operation, body, context_tokens=self._card.max_context_tokens)
        return self._prompts.read(call.caller.tenant, body, work)


def _urgency_of(call: Call) -> Urgency:
    # Who wants to go last has no deadline by default.
    slo_ms = call.slo_ttft_ms or (None if call.is_idle else call.caller.slo_ttft_ms)
    return Urgency(
        priority=call.caller.priority,
        slo_s=None if slo_ms is None else slo_ms / 1000,
        age_s=monotonic() - call.started_at,
        is_idle=call.is_idle,
    )


def check_model(call: Call, model: str) -> None:
    """Raise `PermissionDenied` where the caller's key is for other models."""
    models = call.caller.models
    if models is not None and model not in models:
        raise PermissionDenied(f"This API key may not use the model '{model}'.", param="model")

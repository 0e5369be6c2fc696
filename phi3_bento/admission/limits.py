"""What a key may use: requests and tokens in a window of time, and requests at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from uuid import uuid4

from redis.exceptions import RedisError

from phi3_bento.admission.counters import Count
from phi3_bento.admission.failover import Failover, Store, open_store
from phi3_bento.admission.quota import Limit, limits_of, standing_of
from phi3_bento.admission.standing import Standing
from phi3_bento.admission.steady import steady_time
from phi3_bento.caller import Caller
from phi3_bento.errors import RateLimited

SLOTS = "concurrent_requests"
"""What metrics call the limit on requests at once."""

SLOT_RETRY_S = 1.0
"""Nobody knows when a running request ends; a client may ask again after this."""


class Lease:
    """What one request has taken of its key's limits: settled or released, whichever is first.

    What comes second changes nothing. Neither raises where the store is broken: what cannot be
    given back comes free when its window ends.
    """

    def __init__(
        self, standing: Standing, end: Callable[[int, int], Awaitable[None]] | None
    ) -> None:
        self.standing = standing
        """Where the key stood when the lease was taken."""
        self._end = end

    async def settle(self, tokens: int) -> None:
        """The request used `tokens`: charge these instead of what was reserved; free the slot."""
        await self._end_once(1, max(tokens, 0))

    async def release(self) -> None:
        """The request did no work: give back everything."""
        await self._end_once(0, 0)

    async def _end_once(self, requests: int, tokens: int) -> None:
        end, self._end = self._end, None
        if end is not None:
            await end(requests, tokens)


class Limiter:
    """Keeps every key to its quota, together with all limiters on the same store.

    A window begins with its first use. Where Redis does not answer, limits go on in this process.
    """

    def __init__(
        self, failover: Failover, *, clock: Callable[[], float] = steady_time, minute_s: int = 60
    ) -> None:
        self._failover = failover
        self._clock = clock
        self._minute_s = minute_s
        self._endings: set[asyncio.Task[None]] = set()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        clock: Callable[[], float] = steady_time,
        retry_s: float = 5.0,
        minute_s: int = 60,
        slot_expiry_s: float = 60.0,
    ) -> "Limiter":
        """A limiter on `memory://`, `redis://…` or `rediss://…`; nothing is connected yet.

        A Redis that does not answer is tried again after `retry_s`. A slot of a replica that died
        comes free after `slot_expiry_s`. `clock` is `steady_time`; tests move it, and shorten
        `minute_s`.
        """
        store = open_store(url, slot_expiry_s=slot_expiry_s)
        failover = Failover(store, clock=clock, retry_s=retry_s)
        return cls(failover, clock=clock, minute_s=minute_s)

    @property
    def is_local(self) -> bool:
        """Redis does not answer: limits are counted in this process alone."""
        return self._failover.is_local

    async def acquire(self, caller: Caller, tokens: int) -> Lease:
        """Take one request, `tokens` tokens and one slot: all of them, or raise `RateLimited`.

        `tokens` is the most that the request can use: its prompt and what it may generate.
        """
        wanted = [
            (limit, max(tokens, 0) if limit.unit == "tokens" else 1)
            for limit in limits_of(caller, self._minute_s)
        ]
        for limit, amount in wanted:
            limit.check(amount)
        if caller.quota.concurrent_requests == 0:
            raise RateLimited(
                f"The key '{caller.key_id}' may have no requests at once.", limit=SLOTS
            )
        if not wanted and caller.quota.concurrent_requests is None:
            return Lease(Standing(), None)
        return await self._failover.run(lambda store: self._take(store, caller, wanted))

    async def standing(self, caller: Caller) -> Standing:
        """Where a caller stands; takes nothing."""
        limits = [limit for limit in limits_of(caller, self._minute_s) if limit.window == "minute"]
        if not limits:
            return Standing()

        async def read(store: Store) -> Standing:
            counts = [(limit, await store.counters.read(limit.key)) for limit in limits]
            return standing_of(counts, self._clock())

        return await self._failover.run(read)

    async def close(self) -> None:
        """Close connections. Leases that still live are not given back."""
        await asyncio.gather(*self._endings, return_exceptions=True)
        await self._failover.close()

    async def _take(self, store: Store, caller: Caller, wanted: list[tuple[Limit, int]]) -> Lease:
        taken = _Taken(store, self._clock)
        try:
            for limit, amount in wanted:
                await taken.charge(limit, amount)
            await taken.hold_slot(caller)
        except RedisError:
            # Nothing can be given back either: the windows end, and a slot expires, by themselves.
            raise
        except BaseException:
            await self._to_the_end(store, taken.correct(0, 0))
            raise

        async def end(requests: int, tokens: int) -> None:
            taken.drop_slot()
            correct = self._failover.give_back(store, lambda _: taken.correct(requests, tokens))
            await self._to_the_end(store, correct)

        counts = ((charge.limit, charge.count) for charge in taken.charges)
        return Lease(standing_of(counts, self._clock()), end)

    async def _to_the_end(self, store: Store, work: Coroutine[None, None, None]) -> None:
        """Run `work` to its end, also where the request is cancelled, once or at every step."""
        if not store.is_remote:
            await work
            return
        task = asyncio.create_task(work)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        await asyncio.shield(task)


@dataclass(frozen=True, slots=True)
class _Charge:
    """What was taken of a limit, and what was used of it then."""

    limit: Limit
    amount: int
    count: Count


@dataclass(slots=True)
class _Taken:
    """What a request has taken of a store so far."""

    store: Store
    clock: Callable[[], float]
    charges: list[_Charge] = field(default_factory=list)
    slot: tuple[str, str] | None = None

    async def charge(self, limit: Limit, amount: int) -> None:
        count = await self.store.counters.add(limit.key, amount, limit.window_s)
        self.charges.append(_Charge(limit, amount, count))
        if count.used > limit.size:
            raise limit.refusal(amount, count, self.clock())

    async def hold_slot(self, caller: Caller) -> None:
        limit = caller.quota.concurrent_requests
        if limit is None:
            return
        self.slot = (f"slots:{caller.tenant}:{caller.key_id}", uuid4().hex)
        if not await self.store.slots.take(*self.slot, limit):
            raise RateLimited(
                f"The key '{caller.key_id}' may have {limit} requests at once, and all of them "
                "run. Send this one when another has ended.",
                retry_after_s=SLOT_RETRY_S,
                limit=SLOTS,
            )

    def drop_slot(self) -> None:
        if self.slot is not None:
            self.store.slots.drop(*self.slot)

    async def correct(self, requests: int, tokens: int) -> None:
        """Make what was taken into what was used, and free the slot."""
        if self.slot is not None:
            await self.store.slots.free(*self.slot)
        for charge in self.charges:
            used = tokens if charge.limit.unit == "tokens" else requests
            await self._correct(charge, used - charge.amount)

    async def _correct(self, charge: _Charge, excess: int) -> None:
        limit, counters = charge.limit, self.store.counters
        if excess > 0:
            await counters.add(limit.key, excess, limit.window_s)
        elif excess < 0:
            left_s = charge.count.ends_at - self.clock()
            await counters.give_back(limit.key, -excess, left_s)

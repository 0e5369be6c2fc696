"""A running fleet: keeps replicas and router alive, and the router's list true."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import httpx

from phi3_bento.errors import StartFailure
from phi3_bento.fleet.child import POLL_S, Child, until
from phi3_bento.fleet.layout import Layout, Place
from phi3_bento.fleet.replica import Phase, Replica, Watch
from phi3_bento.fleet.router import Router
from phi3_bento.startup import Say

ROUTER_START_LIMIT_S = 30.0
LIST_EVERY_S = 0.5
"""The router's list is compared so often, and at once when a replica changes."""

_ROUTER_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Starters:
    """How the fleet's processes are started."""

    replica: Callable[[Place], Child]
    router: Callable[[list[str]], Child]
    """Gets the addresses of the replicas that are ready."""


class Supervisor:
    """The fleet of one layout. All methods belong to one event loop."""

    def __init__(self, layout: Layout, starters: Starters, watch: Watch, say: Say) -> None:
        self._layout = layout
        self._starters = starters
        self._say = say
        self._drain_limit_s = watch.drain_limit_s
        self._changed = asyncio.Event()
        own = Watch(watch.key, watch.unwell_limit_s, watch.drain_limit_s, self._note_change)
        self.replicas = [
            Replica(place, own, lambda place=place: starters.replica(place))  # type: ignore[misc]
            for place in layout.places
        ]
        self._router: Router | None = None
        self._router_restarts = 0
        self._listed: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def running(self) -> list[Replica]:
        """The replicas that should be there."""
        return [replica for replica in self.replicas if replica.phase is not Phase.EMPTY]

    async def start(self) -> None:
        """Return when the fleet answers. Raises `StartFailure`; call `stop` then too."""
        first = self.replicas[: self._layout.start]
        began_at = monotonic()
        for replica in first:
            replica.begin()
        await asyncio.gather(*(replica.until_ready() for replica in first))
        self._say(f"{len(first)} replicas are ready after {monotonic() - began_at:.0f} s.")
        await self._start_router()
        self._keeper = asyncio.create_task(self._keep_router())

    async def drain(self, number: int) -> None:
        """Empty a place without a failed request: the router first, then what runs, then itself."""
        replica = self._replica(number)
        if replica.phase is Phase.EMPTY:
            raise StartFailure(f"There is no replica {number}.")
        others = [other for other in self.replicas if other is not replica]
        if replica.takes_requests and not any(other.takes_requests for other in others):
            raise StartFailure(
                f"Replica {number} is the only one that answers. Add another first, or end the "
                "fleet with 'phi3-bento fleet down'."
            )
        await self._empty(replica)

    async def add(self) -> int:
        """Fill the first free place; the replica's number, when it is ready and gets requests."""
        replica = next((each for each in self.replicas if each.phase is Phase.EMPTY), None)
        if replica is None:
            raise StartFailure(
                f"All {len(self.replicas)} places are taken. Start the fleet with more: "
                "fleet up --max-replicas"
            )
        await self._fill(replica)
        return replica.place.number

    async def restart(self, say: Say) -> None:
        """Replace every replica by a new one, one after the other, without a failed request.

        Stops at the first that does not become ready; those after it stay as they are.
        """
        replicas = self.running
        if sum(replica.takes_requests for replica in replicas) < 2:
            raise StartFailure(
                "A rolling restart needs two replicas that answer: one takes the requests while "
                "the other starts."
            )
        for replica in replicas:
            number = replica.place.number
            say(f"Replica {number}: draining.")
            await self._empty(replica)
            say(f"Replica {number}: starting.")
            await self._fill(replica)
            say(f"Replica {number}: ready.")

    async def stop(self) -> None:
        """End all, router first: running requests finish, as long as they may. Idempotent."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._router is not None:
            await self._router.close()
            await self._router.process.stop(self._drain_limit_s + _ROUTER_GRACE_S)
        await asyncio.gather(*(replica.end() for replica in self.replicas))
        await asyncio.gather(*(replica.close() for replica in self.replicas))

    def kill(self) -> None:
        """End all at once."""
        for replica in self.replicas:
            replica.kill()
        if self._router is not None:
            self._router.process.kill()

    def as_dict(self) -> Mapping[str, object]:
        """For `fleet status`."""
        return {
            "url": self._layout.url,
            "router": {
                "restarts": self._router_restarts,
                "replicas": sorted(self._listed),
                "metrics": f"http://127.0.0.1:{self._layout.router_metrics_port}/metrics",
            },
            "replicas": [replica.as_dict() for replica in self.replicas],
        }

    def _replica(self, number: int) -> Replica:
        if not 1 <= number <= len(self.replicas):
            raise StartFailure(f"Replicas have numbers from 1 to {len(self.replicas)}.")
        return self.replicas[number - 1]

    async def _empty(self, replica: Replica) -> None:
        replica.retire()
        await until(lambda: replica.place.url not in self._listed)
        await replica.until_idle(self._drain_limit_s)
        await replica.end()

    async def _fill(self, replica: Replica) -> None:
        replica.begin()
        try:
            await replica.until_ready()
        except StartFailure:
            await replica.end()
            raise
        await until(lambda: replica.place.url in self._listed or not replica.takes_requests)

    def _note_change(self) -> None:
        self._changed.set()

    async def _start_router(self) -> None:
        urls = [replica.place.url for replica in self.replicas if replica.takes_requests]
        router = Router(self._layout, self._starters.router(urls))
        self._router, self._listed = router, set(urls)
        deadline = monotonic() + ROUTER_START_LIMIT_S
        while not await router.is_ready():
            if router.process.code is not None or monotonic() > deadline:
                raise StartFailure(f"vllm-router did not start: {router.process.last_words()}")
            await asyncio.sleep(POLL_S)

    async def _keep_router(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LIST_EVERY_S):
                    await self._changed.wait()
            self._changed.clear()
            if self._router is None or self._router.process.code is not None:
                await self._replace_router()
            else:
                # A router that does not answer now is asked again soon.
                with suppress(httpx.HTTPError, KeyError, ValueError):
                    await self._correct_list(self._router)

    async def _replace_router(self) -> None:
        """Start it again after its end, once a replica is there for it."""
        if not any(replica.takes_requests for replica in self.replicas):
            return
        if self._router is not None:
            self._say(f"The router has ended: {self._router.process.last_words()}")
            await self._router.close()
        self._router_restarts += 1
        try:
            await self._start_router()
        except StartFailure as failure:
            self._say(failure.message)

    async def _correct_list(self, router: Router) -> None:
        """Make the router know the replicas that take requests, and nobody else."""
        wanted = {replica.place.url for replica in self.replicas if replica.takes_requests}
        listed = await router.urls()
        for url in listed - wanted:
            await router.remove(url)
        for url in wanted - listed:
            await router.add(url)
        self._listed = await router.urls()

"""`fleet up` from beginning to end: check, start, obey, stop; nothing stays behind."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from phi3_bento.ender.streams import command as ender_command
from phi3_bento.errors import StartFailure
from phi3_bento.fleet.child import Child
from phi3_bento.fleet.control import Message, listening
from phi3_bento.fleet.layout import Layout, Place
from phi3_bento.fleet.replica import Watch
from phi3_bento.fleet.router import Policy, router_command, router_environment
from phi3_bento.fleet.shared import check_shared, fleet_key, needs_own_redis, start_own_redis
from phi3_bento.fleet.supervisor import Starters, Supervisor
from phi3_bento.settings import Settings
from phi3_bento.startup import Say

_REDIS_GRACE_S = 5.0
_ENDER_GRACE_S = 1.0


class RunningFleet:
    """A fleet in the foreground of this process."""

    def __init__(self, settings: Settings, layout: Layout, policy: Policy, say: Say) -> None:
        self._settings = settings
        self._layout = layout
        self._policy = policy
        self._say = say
        self._variables: dict[str, str] = {}
        """What replicas get beside this process's environment."""
        self._stopping = asyncio.Event()
        self._busy = asyncio.Lock()
        self._supervisor: Supervisor | None = None

    async def run(self) -> None:
        """Return after an orderly end. Raises `StartFailure` when it cannot start.

        Within `only_fleet` of its directory.
        """
        settings, directory = self._settings, self._layout.directory
        async with AsyncExitStack() as stack:
            key = fleet_key(settings, directory)
            if needs_own_redis(settings, self._layout):
                redis, self._variables = await start_own_redis(
                    self._layout, for_cache=settings.cache_url is None
                )
                for process in redis:
                    stack.push_async_callback(process.stop, _REDIS_GRACE_S)
            await check_shared(settings, self._variables)
            self._variables |= {"PHI3_HOST": "127.0.0.1", "PHI3_API_KEY": key}
            stack.push_async_callback(self._start_ender().stop, _ENDER_GRACE_S)
            supervisor = self._supervise(key)
            stack.push_async_callback(supervisor.stop)
            self._obey_signals(supervisor)
            start = asyncio.create_task(supervisor.start())
            await self._until_started(start)
            if not self._stopping.is_set():
                await stack.enter_async_context(listening(directory, self._handle))
                self._say(self._greeting())
                await self._stopping.wait()
            self._say("The fleet ends.")

    def _supervise(self, key: str) -> Supervisor:
        watch = Watch(
            key, self._settings.stall_limit_s, self._settings.drain_limit_s, on_change=lambda: None
        )
        starters = Starters(self._start_replica, self._start_router)
        self._supervisor = Supervisor(self._layout, starters, watch, self._say)
        return self._supervisor

    async def _until_started(self, start: "asyncio.Task[None]") -> None:
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if start.done():
            await start
        else:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)

    def _obey_signals(self, supervisor: Supervisor) -> None:
        """The first ends the fleet in an orderly way, the second at once."""

        def on_signal() -> None:
            if self._stopping.is_set():
                supervisor.kill()
            self._stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)

    def _start_replica(self, place: Place) -> Child:
        environment = {**os.environ, **self._variables, **_share_of(place, os.environ)}
        # Each has its own under its run directory: BentoML wipes its metrics there at every start.
        environment.pop("BENTOML_HOME", None)
        return Child(
            [sys.executable, "-m", "phi3_bento", "serve"],
            environment={**environment, "PHI3_DATA_DIR": str(self._settings.data_dir)},
            cores=place.cores,
            log_file=self._layout.directory / f"replica-{place.number}.log",
        )

    def _start_ender(self) -> Child:
        """It is none of a replica's processes, which may all be killed at once."""
        path = self._layout.directory / "ender.socket"
        path.unlink(missing_ok=True)
        self._variables["PHI3_STREAM_ENDER"] = str(path)
        return Child(
            ender_command(str(path)),
            environment=os.environ,
            log_file=self._layout.directory / "ender.log",
        )

    def _start_router(self, urls: list[str]) -> Child:
        command = router_command(
            self._layout,
            self._policy,
            urls,
            origins=self._settings.cors_origins,
            max_body=int(self._settings.max_body_bytes),
        )
        return Child(
            command,
            environment=router_environment(),
            log_file=self._layout.directory / "router.log",
        )

    async def _handle(self, request: Message, say: Say) -> Message:
        assert self._supervisor is not None
        supervisor = self._supervisor
        match request["do"]:
            case "status":
                return {"status": supervisor.as_dict()}
            case "down":
                self._stopping.set()
                return {}
        if self._busy.locked():
            raise StartFailure("The fleet is being changed already; wait until that is done.")
        async with self._busy:
            return await self._change(supervisor, request, say)

    async def _change(self, supervisor: Supervisor, request: Message, say: Say) -> dict[str, Any]:
        match request["do"]:
            case "drain":
                await supervisor.drain(int(request["replica"]))
            case "add":
                return {"replica": await supervisor.add()}
            case "restart":
                before = dict(self._variables)
                self._variables |= {str(k): str(v) for k, v in request["variables"].items()}
                try:
                    await supervisor.restart(say)
                except StartFailure:
                    self._variables = before
                    raise
            case other:
                raise ValueError(other)
        return {}

    def _greeting(self) -> str:
        layout = self._layout
        return (
            f"{layout.url} takes requests (policy {self._policy}). In another terminal: "
            "phi3-bento fleet status"
        )


def _share_of(place: Place, given: Mapping[str, str]) -> dict[str, str]:
    threads = given.get("PHI3_THREADS", str(len(place.cores)))
    return {
        "PHI3_PORT": str(place.port),
        "PHI3_MEMORY": str(place.memory_bytes),
        "PHI3_THREADS": str(min(int(threads), len(place.cores))),
    }


@contextmanager
def only_fleet(directory: Path) -> Iterator[None]:
    """Hold the directory, made where it is missing; `StartFailure` where another fleet holds it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailure(
                f"A fleet runs already in {directory}. End it with 'phi3-bento fleet down', or "
                "choose another PHI3_DATA_DIR."
            ) from None
        yield
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)

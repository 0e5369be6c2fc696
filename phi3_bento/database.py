"""The database of keys and usage: opening it, and bringing it up to date."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from phi3_bento.errors import StartFailure

DATABASE_ERRORS = (SQLAlchemyError, OSError)
"""What a statement raises when the database fails it or cannot be reached."""

LOCK_WAIT_S = 5
UPGRADE_WAIT_S = 20
"""Of many that start at once each upgrades by itself, and SQLite lets them in in no order."""
CONNECT_LIMIT_S = 5
_MIGRATIONS = "phi3_bento:migrations"
_MIGRATION_LOCK = 11403
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_SQLITE_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
)


def open_database(url: str) -> AsyncEngine:
    """An engine for `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Connects to nothing yet. Raises `StartFailure` for a URL that cannot be used; its message never
    holds the password. Who opens the engine disposes of it.
    """
    parsed = _parse(url)
    options: dict[str, Any] = {"pool_size": 3, "max_overflow": 2, "pool_timeout": CONNECT_LIMIT_S}
    # What a statement was given has no place in the text of its failure, and so in a log.
    options["hide_parameters"] = True
    if parsed.get_backend_name() == "sqlite":
        _make_file(parsed)
        engine = create_async_engine(parsed, **options)
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        return engine
    arguments = {
        "timeout": CONNECT_LIMIT_S,
        "server_settings": {"application_name": "phi3-bento"},
    }
    return create_async_engine(parsed, pool_pre_ping=True, connect_args=arguments, **options)


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to this version's tables; safe when several processes do it at once.

    Raises `StartFailure` where the database cannot be reached, read or written, or was made by a
    newer version.
    """
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except (*DATABASE_ERRORS, TypeError) as error:  # TypeError: an option that the driver lacks
        raise _unusable(engine, error) from error


async def is_current(engine: AsyncEngine) -> bool:
    """Whether the tables are there and this version's; changes nothing.

    Raises `StartFailure` as `upgrade` does.
    """
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_refuse_newer, config)
    except (*DATABASE_ERRORS, TypeError) as error:
        raise _unusable(engine, error) from error


def _unusable(engine: AsyncEngine, error: Exception) -> StartFailure:
    return StartFailure(
        f"The database {_shown(engine.url)} cannot be used ({_reason(error, engine.url)}): "
        "check PHI3_DATABASE_URL, and that this user may write to it."
    )


def _upgrade(connection: Connection) -> None:
    """Runs in one transaction, which also holds the lock against other processes."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        connection.exec_driver_sql(_wait_for_locks(UPGRADE_WAIT_S))
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _MIGRATIONS)
    _refuse_newer(connection, config)
    command.upgrade(config, "head")
    if is_sqlite:
        connection.exec_driver_sql(_wait_for_locks(LOCK_WAIT_S))


def _refuse_newer(connection: Connection, config: Config) -> bool:
    """Whether the tables are this version's already; raises `StartFailure` for a newer one's."""
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    heads = MigrationContext.configure(connection).get_current_heads()
    for revision in heads:
        if revision not in known:
            raise StartFailure(
                f"The database {_shown(connection.engine.url)} was made by a newer version of "
                f"phi3-bento (revision {revision}): run that version, or name another database in "
                "PHI3_DATABASE_URL."
            )
    return set(heads) == set(scripts.get_heads())


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (SQLAlchemyError, ValueError, KeyError):
        # Without the cause: it quotes the URL, and with it the password.
        raise StartFailure(
            "PHI3_DATABASE_URL cannot be used: write sqlite:///PATH or "
            "postgresql://USER:PASSWORD@HOST/NAME, with special characters of the password "
            "percent-encoded."
        ) from None
    if driver.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise StartFailure("PHI3_DATABASE_URL names no file: write sqlite:///PATH.")
    if "sslmode" in parsed.query:  # libpq's name, which asyncpg's connect does not know
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed.set(drivername=driver)


def _make_file(url: URL) -> None:
    """Keys' digests and usage are their owner's alone to read."""
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
    except OSError as error:
        raise StartFailure(
            f"The database {_shown(url)} cannot be made ({error.strerror}): set PHI3_DATA_DIR or "
            "PHI3_DATABASE_URL to a place that this user may write to."
        ) from error


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(_wait_for_locks(LOCK_WAIT_S))
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _wait_for_locks(limit_s: int) -> str:
    return f"PRAGMA busy_timeout = {limit_s * 1000}"


def _shown(url: URL) -> str:
    """The URL without what could be secret in it: password and options."""
    plain = url.set(drivername=url.get_backend_name(), query={})
    return plain.render_as_string(hide_password=True)


def _reason(error: Exception, url: URL) -> str:
    cause = getattr(error, "orig", None) or error
    reason = str(cause).partition("\n")[0] or type(cause).__name__
    return reason.replace(str(url.password), "***") if url.password else reason

"""`phi3-bento keys …`: make, list, show, revoke and rotate API keys."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from phi3_bento.admission.key_store import KeyStore, KeyTerms, StoredKey, unknown_key, utc_now
from phi3_bento.caller import Quota, Scope
from phi3_bento.database import DATABASE_ERRORS, open_database, upgrade
from phi3_bento.errors import StartFailure
from phi3_bento.phi3_error import Phi3Error
from phi3_bento.secret import load_secret
from phi3_bento.settings import load_settings

keys_cli = typer.Typer(help="Make API keys, and end them.", no_args_is_help=True)

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_T = TypeVar("_T")


def read_span(text: str) -> timedelta:
    """A duration such as `90m`, `12h`, `30d` or `4w`."""
    match = re.fullmatch(r"(\d{1,4})([mhdw])", text)
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a duration such as 90m, 12h, 30d or 4w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def read_moment(text: str, now: datetime) -> datetime:
    """A duration from `now`, or a date or time of ISO 8601, in UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = now + read_span(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise typer.BadParameter(f"'{text}' is in the past.")
    return moment


KeyId = Annotated[str, typer.Argument(help="The id within a key: p3_<id>_…")]
Json = Annotated[bool, typer.Option("--json", help="For a machine to read.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Unset: no limit.")]


@keys_cli.command("create")
def create_command(  # noqa: PLR0913, PLR0917 # an option for each of a key's terms
    tenant: Annotated[str, typer.Option(help="For whom the key is.")],
    name: Annotated[str, typer.Option(help="What people call the key.")] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may be used for; inference where unset.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that may be asked; unset: all.")
    ] = None,
    requests_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    tokens_per_day: Limit = None,
    concurrent_requests: Limit = None,
    priority: Annotated[int, typer.Option(help="Higher runs first.")] = 0,
    slo_ttft_ms: Annotated[
        int | None, typer.Option(min=1, help="Milliseconds to the first token; unset: no deadline.")
    ] = None,
    semantic_cache: Annotated[
        bool, typer.Option(help="A question that means the same may get an earlier answer.")
    ] = False,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 30d, 12h, or a date, in UTC.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is printed once, alone on standard output, and cannot be shown again.

    Example: KEY=$(phi3-bento keys create --tenant acme --expires 90d)
    """
    quota = Quota(requests_per_minute, tokens_per_minute, tokens_per_day, concurrent_requests)
    expires_at = read_moment(expires, utc_now()) if expires else None

    async def create(store: KeyStore) -> tuple[StoredKey, str]:
        terms = KeyTerms(
            tenant=tenant,
            name=name,
            scopes=frozenset(scope or [Scope.INFERENCE]),
            models=frozenset(model) if model else None,
            quota=quota,
            priority=priority,
            slo_ttft_ms=slo_ttft_ms,
            semantic_cache=semantic_cache,
            expires_at=expires_at,
        )
        return await store.create(terms)

    _print_token(*_with_store(create), as_json)


@keys_cli.command("list")
def list_command(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's keys.")] = None,
    as_json: Json = False,
) -> None:
    """List the keys, oldest first.

    Example: phi3-bento keys list --tenant acme
    """
    keys, now = _with_store(lambda store: store.list(tenant)), utc_now()
    if as_json:
        typer.echo(json.dumps([_describe(key, now) for key in keys]))
        return
    table = Table("Id", "Tenant", "Name", "Scopes", "Status", "Expires")
    for key in keys:
        expires = f"{key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "never"
        scopes = " ".join(sorted(key.scopes))
        table.add_row(key.id, key.tenant, key.name, scopes, key.status(now), expires)
    Console().print(table)


@keys_cli.command("show")
def show_command(key_id: KeyId) -> None:
    """Show a key's terms and state as JSON.

    The key itself is stored nowhere.

    Example: phi3-bento keys show abcdefghij
    """
    key = _with_store(lambda store: store.find(key_id))
    if key is None:
        raise StartFailure(unknown_key(key_id).message)
    typer.echo(json.dumps(_describe(key, utc_now()), indent=1))


@keys_cli.command("revoke")
def revoke_command(key_id: KeyId, as_json: Json = False) -> None:
    """End a key at once.

    Running services follow within seconds.

    Example: phi3-bento keys revoke abcdefghij
    """
    key = _with_store(lambda store: store.revoke(key_id))
    if as_json:
        typer.echo(json.dumps(_describe(key, utc_now())))
        return
    typer.echo(f"The key {key.id} of {key.tenant} is revoked.")


@keys_cli.command("rotate")
def rotate_command(
    key_id: KeyId,
    grace: Annotated[str, typer.Option(help="How long the old key still works.")] = "1h",
    as_json: Json = False,
) -> None:
    """Make a new key on the terms of an old one.

    The old one ends after the grace.

    Example: KEY=$(phi3-bento keys rotate abcdefghij --grace 12h)
    """
    span = read_span(grace)
    _print_token(*_with_store(lambda store: store.rotate(key_id, span)), as_json)


def _with_store(work: Callable[[KeyStore], Awaitable[_T]]) -> _T:
    """Do `work` on the database of the settings; what fails becomes a sentence for the user."""
    settings = load_settings()
    given = settings.secret.get_secret_value() if settings.secret else None

    async def run() -> _T:
        engine = open_database(settings.database)
        try:
            await upgrade(engine)
            return await work(KeyStore(engine, load_secret(given, settings.data_dir)))
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except DATABASE_ERRORS as error:
        raise StartFailure(f"The database failed: {str(error).partition(chr(10))[0]}") from error
    except Phi3Error as error:
        raise StartFailure(error.message) from error


def _print_token(key: StoredKey, token: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"token": token, **_describe(key, utc_now())}))
        return
    expires = f"expires {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "never expires"
    typer.echo(
        f"The key {key.id} of {key.tenant} {expires}. Keep it now: it is not shown again.", err=True
    )
    typer.echo(token)


def _describe(key: StoredKey, now: datetime) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": key.name,
        "status": key.status(now),
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        **asdict(key.quota),
        "priority": key.priority,
        "slo_ttft_ms": key.slo_ttft_ms,
        "semantic_cache": key.semantic_cache,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at and key.expires_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
        "replaces": key.replaces,
    }

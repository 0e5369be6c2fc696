"""`phi3-bento cache export` and `import`: kept answers in a file, to be carried elsewhere."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from phi3_bento.cache.base import Store, StoreFailure
from phi3_bento.cache.store import open_store
from phi3_bento.cache.transfer import export_answers, import_answers
from phi3_bento.errors import StartFailure
from phi3_bento.secret import load_secret
from phi3_bento.settings import Settings, load_settings

Json = Annotated[bool, typer.Option("--json", help="For a machine to read.")]
Pack = Annotated[Path, typer.Argument(help="A pack: JSON lines.", dir_okay=False)]
Tenant = Annotated[
    str,
    typer.Option(help="Whose answers; `local` without keys, `default` with PHI3_API_KEY."),
]


def export_command(file: Pack, tenant: Tenant, as_json: Json = False) -> None:
    """Write a tenant's answers into a pack.

    From the store that the settings name.

    Example: phi3-bento cache export warm_cache.jsonl --tenant acme
    """

    async def work(store: Store, secret: bytes) -> dict[str, Any]:
        return asdict(await export_answers(store, secret, tenant, file, now=time.time()))

    done = _with_store(work)
    _print(
        done,
        f"{file} has {_counted(done)}."
        + _also(done["damaged"], "left out: not sealed by this deployment and version")
        + _also(done["too_long"], "left out: too long for a pack"),
        as_json=as_json,
    )


def import_command(file: Pack, tenant: Tenant, as_json: Json = False) -> None:
    """Keep the answers of a pack for a tenant.

    In the store that the settings name. Answers of every model are taken; a service finds those of
    its own model and revision. A pack that is damaged is refused as a whole.

    Example: phi3-bento cache import warm_cache.jsonl --tenant acme
    """

    async def work(store: Store, secret: bytes) -> dict[str, Any]:
        return asdict(await import_answers(store, secret, tenant, file, now=time.time()))

    done = _with_store(work)
    summary = f"{tenant} has {_counted(done)} more." + _also(done["expired"], "over already")
    if len(done["models"]) > 1:
        summary += " A service gives those of its own model and revision alone."
    _print(done, summary, as_json=as_json)


def _with_store(work: Callable[[Store, bytes], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Do `work` on the store of the settings; what fails becomes a sentence."""
    settings = load_settings()

    async def run() -> dict[str, Any]:
        store = _open(settings)
        given = settings.secret.get_secret_value() if settings.secret else None
        try:
            return await work(store, load_secret(given, settings.data_dir))
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except StoreFailure as error:
        raise StartFailure(f"The cache's store failed: {error}") from error


def _open(settings: Settings) -> Store:
    store = open_store(settings.cache_store, cap_bytes=int(settings.cache_disk))
    if store is None:
        raise StartFailure(
            "PHI3_CACHE_URL is memory://: nothing is kept outside of the service. Name a store: "
            "sqlite:///PATH or redis://HOST:PORT/NUMBER."
        )
    return store


def _counted(done: dict[str, Any]) -> str:
    models = ", ".join(f"{count} of {name}" for name, count in done["models"].items())
    return f"{done['answers']} answers" + (f" ({models})" if models else "")


def _also(count: int, what: str) -> str:
    return f" {count} {what}." if count else ""


def _print(done: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(done) if as_json else sentence)

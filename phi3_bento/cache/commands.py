"""`phi3-bento cache …`: warm, carry, measure, clear and explain what the service keeps."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from phi3_bento.cache.pack_commands import Json, export_command, import_command
from phi3_bento.cache.service_client import ServiceClient
from phi3_bento.cache.warming import Progress, Question, Warming, read_questions
from phi3_bento.cache.warming_display import show_problem, shown
from phi3_bento.errors import StartFailure
from phi3_bento.exits import Exit
from phi3_bento.settings import load_settings

cache_cli = typer.Typer(help="Warm, carry, measure and clear kept answers.", no_args_is_help=True)

cache_cli.command("export")(export_command)
cache_cli.command("import")(import_command)

Url = Annotated[str | None, typer.Option(help="The service; unset: this machine, at PHI3_PORT.")]
Key = Annotated[
    str | None, typer.Option(help="The API key; others see it in the list of processes.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="A file with the API key; unset: PHI3_API_KEY.", exists=True, dir_okay=False),
]


@cache_cli.command("warm")
def warm_command(  # noqa: PLR0913, PLR0917 # an option for each
    file: Annotated[Path, typer.Argument(help="JSON lines of questions.", dir_okay=False)],
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Questions at once.")] = 2,
    attempts: Annotated[
        int, typer.Option(min=1, help="How often a question is asked that is refused for now.")
    ] = 10,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Ask a service the questions of a file.

    It answers them at idle priority, and keeps the answers. A line is {"messages": …},
    {"prompt": …} or {"path": …, "body": …}. A second run goes on where the first was stopped.

    Example: phi3-bento cache warm questions.jsonl
    """
    service = _service(url, key, key_file)
    service.check_ready()
    lines = list(read_questions(file))
    questions = [line for line in lines if isinstance(line, Question)]
    progress, interrupted = Progress(len(lines)), False
    for line in lines:
        if not isinstance(line, Question):
            progress.fail(line)
    with shown(progress) as on_done:
        warming = Warming(service, progress, most_attempts=attempts, on_done=on_done)
        try:
            asyncio.run(warming.run(questions, concurrency=concurrency))
        except KeyboardInterrupt:
            interrupted = True
    for problem in progress.problems:
        show_problem(problem)
    typer.echo(json.dumps(progress.as_dict()) if as_json else _summary(progress))
    if interrupted:
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(Exit.INTERRUPTED)
    if progress.failed:
        raise typer.Exit(Exit.FAILURE)


@cache_cli.command("stats")
def stats_command(
    url: Url = None, key: Key = None, key_file: KeyFile = None, as_json: Json = False
) -> None:
    """Show what a running service keeps.

    And what that was good for since its start.

    Example: phi3-bento cache stats
    """
    stats = _service(url, key, key_file).ask("GET", "/admin/cache")
    if as_json:
        typer.echo(json.dumps(stats))
        return
    table = Table("Tier", *("Entries", "MiB", "Hits"))
    for tier in ("memory", "store", "warm"):
        kept = stats[tier] or {}
        size = f"{kept['bytes'] / 2**20:.1f}" if "bytes" in kept else kept.get("error", "-")
        table.add_row(tier, str(kept.get("entries", "-")), size, str(stats["hits"][tier]))
    Console().print(table)
    alerts = ", ".join(f"{count} {name}" for name, count in stats["alerts"].items())
    typer.echo(
        f"{stats['misses']} misses, {stats['collapsed']} shared a generation; "
        f"{stats['saved_seconds']:.0f} s of work saved; alerts: {alerts or 'none'}"
        + ("" if stats["on"] else ". The cache is off (PHI3_CACHE).")
    )


@cache_cli.command("clear")
def clear_command(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's answers.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The answers of all tenants.")] = False,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Have a service forget kept answers.

    In its memory and in its store.

    Example: phi3-bento cache clear --tenant acme
    """
    if everything == (tenant is not None):
        raise typer.BadParameter("Name either --tenant or --all.")
    which = {"all": "true"} if tenant is None else {"tenant": tenant}
    done = _service(url, key, key_file).ask("DELETE", "/admin/cache", params=which)
    typer.echo(json.dumps(done) if as_json else f"Forgot {done['cleared']} answers.")


@cache_cli.command("explain")
def explain_command(  # noqa: PLR0913, PLR0917 # an option for each
    file: Annotated[typer.FileText, typer.Argument(help="The request's body; `-`: from a pipe.")],
    path: Annotated[str, typer.Option(help="Its route.")] = "/v1/chat/completions",
    tenant: Annotated[str | None, typer.Option(help="Whose request; unset: the key's own.")] = None,
    cache_control: Annotated[str | None, typer.Option(help="Its header Cache-Control.")] = None,
    semantic: Annotated[
        bool, typer.Option(help="An answer to a question that means the same will do.")
    ] = False,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Tell why a request would hit or miss.

    Nothing is generated.

    Example: phi3-bento cache explain request.json --tenant acme
    """
    try:
        body = json.load(file)
    except ValueError as error:
        raise StartFailure(f"The body is not JSON: {error}.") from None
    asked = {"path": path, "body": body, "tenant": tenant, "cache_control": cache_control}
    asked["semantic_cache"] = semantic or None
    told = _service(url, key, key_file).ask("POST", "/admin/cache/explain", json=asked)
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['decision']}: {told['reason']}")
    for kept in told["kept"]:
        typer.echo(f"  {kept['in']}: {kept['age_s']:.0f} s old, given for {kept['ttl_s']:.0f} s")
    if (search := told["semantic"]) is not None:
        nearest = search["nearest"]
        said = "nothing is near" if nearest is None else f"the nearest is {nearest:.3f} alike"
        typer.echo(f"  semantic: {said}, refused by: {search['refused_by'] or 'nothing'}")
    if told["key"] is not None:
        typer.echo(f"key {told['key']} is made of\n{json.dumps(told['identity'], indent=1)}")


def _service(url: str | None, key: str | None, key_file: Path | None) -> ServiceClient:
    settings = load_settings()
    if key is None and key_file is not None:
        key = key_file.read_text(encoding="utf-8").strip()
    if key is None and settings.api_key is not None:
        key = settings.api_key.get_secret_value()
    return ServiceClient(url or f"http://127.0.0.1:{settings.port}", key)


def _summary(progress: Progress) -> str:
    return (
        f"{progress.done} of {progress.lines} lines: {progress.made} made, {progress.hits} kept "
        f"before, {progress.failed} failed."
    )

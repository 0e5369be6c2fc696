"""The command line: `phi3-bento …`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from phi3_bento import __version__
from phi3_bento.admission.commands import keys_cli
from phi3_bento.cache.commands import cache_cli
from phi3_bento.command_reference import command_page
from phi3_bento.doctor.commands import doctor_command
from phi3_bento.engine.budget import GIB, MIB, MemoryPlan
from phi3_bento.engine_choice import plan_for
from phi3_bento.errors import StartFailure
from phi3_bento.exits import Exit
from phi3_bento.fleet import planning
from phi3_bento.fleet.capacity import Demand, Speed
from phi3_bento.fleet.commands import fleet_cli
from phi3_bento.launcher import Launch, check_directory, check_port, find_service_file, serve
from phi3_bento.models.commands import model_cli
from phi3_bento.models.source import find_model
from phi3_bento.reference import stale_pages, write_pages
from phi3_bento.settings import Settings, load_settings
from phi3_bento.usage.commands import usage_command

cli = typer.Typer(
    help="Phi-3-Mini behind the OpenAI API, on two CPU cores and 8 GB of memory.\n\n"
    "Settings come from PHI3_* in the environment; 'make serve PORT=8000' sets PHI3_PORT. "
    "Codes: 0 done, 1 failed (standard error says why), 2 a wrong command line, 130 Ctrl-C.",
    epilog="Example: phi3-bento doctor && phi3-bento serve",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


cli.add_typer(cache_cli, name="cache")
cli.add_typer(fleet_cli, name="fleet")
cli.add_typer(keys_cli, name="keys")
cli.add_typer(model_cli, name="model")


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        version_command()
        raise typer.Exit


def main() -> None:
    """Run the command line; the entry point of the console script."""
    try:
        cli()
    except StartFailure as failure:
        typer.echo(f"phi3-bento: {failure.message}", err=True)
        sys.exit(Exit.FAILURE)


@cli.command("serve")
def serve_command(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what BentoML and vLLM print.")
    ] = False,
) -> None:
    """Serve the model in the foreground.

    Checks first, follows the start, and stops in order at Ctrl-C or SIGTERM.

    Example: PHI3_PORT=8000 phi3-bento serve
    """
    settings = load_settings()
    check_port(settings.host, settings.port)
    check_directory(settings.data_dir)
    _say(_describe(settings))
    code = serve(Launch(settings, find_service_file()), say=_say, verbose=verbose)
    raise typer.Exit(code)


@cli.command("plan")
def plan_command(  # noqa: PLR0913, PLR0917  # a load's figures
    as_json: Annotated[bool, typer.Option("--json", help="For a machine to read.")] = False,
    rps: planning.Rps = None,
    hit_rate: planning.HitRate = 0.0,
    prompt: planning.Prompt = 200,
    output: planning.Output = 64,
    prefill: planning.Prefill = planning.FULL_SIZE.prefill,
    decode: planning.Decode = planning.FULL_SIZE.decode,
) -> None:
    """Show how the memory would be divided.

    Starts nothing, and makes or downloads the model where it is not there yet. With --rps it shows
    how many replicas a load needs instead.

    Example: phi3-bento plan --rps 50 --hit-rate 0.95 --prompt 32 --output 1
    """
    if rps is not None:
        demand = Demand(rps, hit_rate, prompt, output)
        planning.show_need(demand, Speed(prefill, decode), as_json=as_json)
        return
    name, plan = _plan(load_settings())
    if as_json:
        typer.echo(json.dumps({"model": name, "peak_bytes": plan.peak_bytes, **asdict(plan)}))
        return
    typer.echo(f"{name}:")
    for part, size in plan.rows():
        typer.echo(f"{size:>12}  {part}")


cli.command("doctor")(doctor_command)
cli.command("usage")(usage_command)


@cli.command("docs")
def docs_command(
    check: Annotated[
        bool, typer.Option(help="Only tell whether the pages are up to date.")
    ] = False,
    directory: Annotated[Path, typer.Option(help="Where the pages are.")] = Path("docs"),
) -> None:
    """Make the reference pages from the code.

    Settings, metrics, errors, and the command line.

    Example: phi3-bento docs --check
    """
    commands = command_page(cli)
    if not check:
        for path in write_pages(directory, commands):
            _say(f"Wrote {path}.")
    elif stale := stale_pages(directory, commands):
        _fail(f"Out of date: {', '.join(map(str, stale))}. Run: make docs")


@cli.command("version")
def version_command() -> None:
    """Print the version.

    Example: phi3-bento version
    """
    typer.echo(__version__)


@cli.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_say_version),
    ] = False,
) -> None:
    """Options of the command without a sub-command."""


def _describe(settings: Settings) -> str:
    """What will be served, after the checks that need no engine."""
    if settings.engine == "echo":
        return "The echo engine: no model, it repeats the prompt."
    name, plan = _plan(settings)
    return (
        f"{name}: weights {plan.weights_bytes / MIB:.0f} MiB, KV cache "
        f"{plan.kv_bytes / MIB:.0f} MiB, context {plan.context_tokens} tokens, "
        f"in {plan.total_bytes / GIB:.0f} GiB of memory."
    )


def _plan(settings: Settings) -> tuple[str, MemoryPlan]:
    source = find_model(
        settings.model, data_dir=settings.data_dir, served_name=settings.served_name
    )
    return source.name, plan_for(source, settings)


def _say(message: str) -> None:
    typer.echo(message)
    sys.stdout.flush()


def _fail(message: str) -> NoReturn:
    typer.echo(f"phi3-bento: {message}", err=True)
    raise typer.Exit(Exit.FAILURE)

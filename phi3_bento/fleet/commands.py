"""`phi3-bento fleet …`: start replicas behind a router, look at them, change them."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.live import Live

from phi3_bento.engine.environment import memory_limit, usable_cores
from phi3_bento.engine_choice import plan_for
from phi3_bento.errors import StartFailure
from phi3_bento.fleet.control import ask
from phi3_bento.fleet.display import status_table
from phi3_bento.fleet.layout import Layout, Machine, Wish, lay_out
from phi3_bento.fleet.router import POLICIES, Policy, check_installed
from phi3_bento.fleet.running import RunningFleet, only_fleet
from phi3_bento.launcher import check_port, find_service_file
from phi3_bento.models.source import find_model
from phi3_bento.settings import Settings, load_settings

fleet_cli = typer.Typer(help="Several replicas behind a router.", no_args_is_help=True)

_REFRESH_S = 1.0


@fleet_cli.command("up")
def up_command(
    replicas: Annotated[int, typer.Option(min=1, help="How many to start.")] = 2,
    max_replicas: Annotated[
        int | None,
        typer.Option(min=1, help="Places that cores and memory are divided into; as --replicas."),
    ] = None,
    policy: Annotated[str, typer.Option(help=f"One of {', '.join(POLICIES)}.")] = "cache_aware",
) -> None:
    """Start a fleet in the foreground.

    PHI3_PORT is the router's; replicas have those after it.

    Example: phi3-bento fleet up --replicas 2
    """
    settings = load_settings()
    check_installed()
    find_service_file()
    layout = _lay_out(settings, replicas, max_replicas or replicas)
    with only_fleet(layout.directory):
        chosen = _check(settings, layout, policy)
        _say(
            f"{replicas} replicas of {_cores(layout)} and "
            f"{layout.places[0].memory_bytes / 2**30:.1f} GiB each. Logs: {layout.directory}"
        )
        asyncio.run(RunningFleet(settings, layout, chosen, _say).run())


@fleet_cli.command("status")
def status_command(
    as_json: Annotated[bool, typer.Option("--json", help="For a machine to read.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
) -> None:
    """Show how each replica is.

    Its state, load, hit rates and restarts; live on a terminal.

    Example: phi3-bento fleet status --once
    """
    directory = _directory()
    status = ask(directory, {"do": "status"})["status"]
    console = Console()
    if as_json:
        typer.echo(json.dumps(status))
    elif once or not console.is_terminal:
        console.print(status_table(status))
    else:
        with Live(status_table(status), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_REFRESH_S)
                status = ask(directory, {"do": "status"})["status"]
                live.update(status_table(status), refresh=True)


@fleet_cli.command("drain")
def drain_command(number: Annotated[int, typer.Argument(help="Of the replica.", min=1)]) -> None:
    """End one replica without a failed request.

    It gets no new ones, finishes those that it has, and ends.

    Example: phi3-bento fleet drain 1
    """
    ask(_directory(), {"do": "drain", "replica": number})
    _say(f"Replica {number} has ended.")


@fleet_cli.command("add")
def add_command() -> None:
    """Start one more replica.

    In the first free place; returns when it gets requests.

    Example: phi3-bento fleet add
    """
    _say(f"Replica {ask(_directory(), {'do': 'add'})['replica']} gets requests.")


@fleet_cli.command("restart")
def restart_command(
    model: Annotated[str | None, typer.Option(help="The model from now on; as PHI3_MODEL.")] = None,
) -> None:
    """Replace the replicas one by one.

    For a new model or version, without a failed request.

    Example: phi3-bento fleet restart --model phi3-mini-int8:latest
    """
    variables = {} if model is None else {"PHI3_MODEL": _absolute(model)}
    ask(_directory(), {"do": "restart", "variables": variables}, _say)
    _say("All replicas are new.")


@fleet_cli.command("down")
def down_command() -> None:
    """End the fleet.

    Running requests finish first.

    Example: phi3-bento fleet down
    """
    ask(_directory(), {"do": "down"})
    _say("The fleet ends.")


def _lay_out(settings: Settings, replicas: int, max_replicas: int) -> Layout:
    if not settings.is_loopback:
        raise StartFailure(
            f"PHI3_HOST={settings.host} can be reached from other machines, and whoever reaches "
            "vllm-router may change its list of replicas. Let the fleet listen on 127.0.0.1, and "
            "put a proxy before it that lets through what clients need (docs/load-balancing.md)."
        )
    memory_bytes = min(psutil.virtual_memory().total, memory_limit() or sys.maxsize)
    return lay_out(
        Machine(usable_cores(), memory_bytes),
        port=settings.port,
        directory=settings.data_dir / "fleet",
        wish=Wish(
            replicas,
            max_replicas,
            int(settings.memory),
            is_memory_given="memory" in settings.model_fields_set,
        ),
    )


def _check(settings: Settings, layout: Layout, policy: str) -> Policy:
    """What can be found out before anything starts. Raises `StartFailure`."""
    chosen = next((each for each in POLICIES if each == policy), None)
    if chosen is None:
        raise StartFailure(f"The policy '{policy}' is not one of {', '.join(POLICIES)}.")
    if chosen == "power_of_two" and layout.start < 2:
        raise StartFailure("The policy power_of_two chooses between two: start two replicas.")
    ports = [layout.port, *(place.port for place in layout.places), layout.router_metrics_port]
    for port in [*ports, layout.redis_port, layout.redis_port + 1]:
        check_port("127.0.0.1", port)
    if settings.engine == "vllm":
        source = find_model(
            settings.model, data_dir=settings.data_dir, served_name=settings.served_name
        )
        share = settings.model_copy(update={"memory": layout.places[0].memory_bytes})
        plan_for(source, share)
    return chosen


def _absolute(model: str) -> str:
    """A local directory is named from where the command was given."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_dir() else model


def _cores(layout: Layout) -> str:
    count = len(layout.places[0].cores)
    return "one core" if count == 1 else f"{count} cores"


def _directory() -> Path:
    return load_settings().data_dir / "fleet"


def _say(message: str) -> None:
    typer.echo(message)
    sys.stdout.flush()

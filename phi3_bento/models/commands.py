"""`phi3-bento model …`: prepare, list, show, verify and remove models."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from phi3_bento.knobs.defaults import PACKED_MODEL
from phi3_bento.models.source import find_directory
from phi3_bento.settings import load_settings

if TYPE_CHECKING:
    from phi3_bento.models.quality import Quality
    from phi3_bento.models.store import StoredModel

MODEL_NAME = "phi3-mini-int8"
DEFAULT_TEXT = Path(__file__).parent / "quality.txt"

model_cli = typer.Typer(help="Prepare models, and see what is prepared.", no_args_is_help=True)

Tag = Annotated[str, typer.Argument(help="A prepared model, as in phi3-mini-int8:latest.")]
Json = Annotated[bool, typer.Option("--json", help="For a machine to read.")]

_console = Console(stderr=True)


@model_cli.command("prepare")
def prepare_command(
    source: Annotated[str, typer.Argument(help="A hub name, or a directory with bf16 weights.")],
    name: Annotated[str, typer.Option(help="The name in the model store.")] = MODEL_NAME,
    text: Annotated[
        Path, typer.Option(help="The text on which bf16 and INT8 are compared.", exists=True)
    ] = DEFAULT_TEXT,
    quality: Annotated[bool, typer.Option(help="Compare INT8 with bf16 at the end.")] = True,
    as_json: Json = False,
) -> None:
    """Make an INT8 checkpoint that fits 8 GB.

    Of Phi-3-mini, Phi-3.5-mini or a fine-tune; it goes into the model store. Needs about 5 GB of
    memory at most; a preparation that was killed goes on where it stopped.

    Example: phi3-bento model prepare microsoft/Phi-3-mini-4k-instruct
    """
    from phi3_bento.models.prepare import prepare_int8
    from phi3_bento.models.store import register

    data_dir = load_settings().data_dir
    directory = find_directory(source, data_dir=data_dir)
    target = data_dir / "models" / f"{name}.prepared"
    shutil.rmtree(target, ignore_errors=True)
    with _bar("Quantising") as progress:
        prepare_int8(directory, target, progress=progress)
    report = _compare(directory, target, text) if quality else None
    _note(target, source=source, quality=report.as_dict() if report else None)
    stored = register(target, data_dir, name=name)
    shutil.rmtree(target)
    _print_prepared(stored, report, as_json)


@model_cli.command("list")
def list_command(as_json: Json = False) -> None:
    """List the prepared models.

    Example: phi3-bento model list
    """
    from phi3_bento.models.store import stored_models

    models = stored_models(load_settings().data_dir)
    if as_json:
        typer.echo(json.dumps([_describe(model) for model in models]))
        return
    table = Table("Model", "Source", "GiB", "Created")
    for model in models:
        size = f"{model.bytes / 2**30:.2f}"
        table.add_row(model.tag, model.labels.get("source", ""), size, model.created)
    Console().print(table)


@model_cli.command("show")
def show_command(tag: Tag) -> None:
    """Show a prepared model as JSON.

    Where it lies, what it was made from, and how good it is.

    Example: phi3-bento model show phi3-mini-int8:latest
    """
    from phi3_bento.models.prepare import RECORD
    from phi3_bento.models.store import find

    model = find(tag, load_settings().data_dir)
    record = json.loads((model.directory / RECORD).read_text(encoding="utf-8"))
    typer.echo(json.dumps(_describe(model) | {"preparation": record}, indent=1))


@model_cli.command("verify")
def verify_command(tag: Tag, as_json: Json = False) -> None:
    """Check the files of a prepared model.

    Against the checksums of its preparation; reads all of it.

    Example: phi3-bento model verify phi3-mini-int8:latest
    """
    from phi3_bento.models.prepare import verify
    from phi3_bento.models.store import find

    model = find(tag, load_settings().data_dir)
    with _bar("Reading") as progress:
        verify(model.directory, progress=progress)
    said = f"{model.tag} is what was written."
    typer.echo(json.dumps({"tag": model.tag, "verified": True}) if as_json else said)


@model_cli.command("pack")
def pack_command(tag: Tag) -> None:
    """Have the next Bento carry a prepared model.

    Copies it beside service.py; what lies there is served where PHI3_MODEL is unset.

    Example: phi3-bento model pack phi3-mini-int8:latest && make bento
    """
    from phi3_bento.models.store import find

    model = find(tag, load_settings().data_dir)
    shutil.rmtree(PACKED_MODEL, ignore_errors=True)
    shutil.copytree(model.directory, PACKED_MODEL)
    typer.echo(f"{model.tag} is in {PACKED_MODEL}: make bento. Remove it to serve others again.")


@model_cli.command("remove")
def remove_command(tag: Tag, as_json: Json = False) -> None:
    """Delete a prepared model.

    Example: phi3-bento model remove phi3-mini-int8:latest
    """
    from phi3_bento.models.store import remove

    model = remove(tag, load_settings().data_dir)
    said = f"Removed {model.tag}, {model.bytes / 2**30:.2f} GiB."
    typer.echo(json.dumps(_describe(model)) if as_json else said)


def _compare(source: Path, target: Path, text: Path) -> "Quality":
    from phi3_bento.models.quality import measure_quality

    with _bar("Comparing with bf16") as progress:
        return measure_quality(source, target, text.read_text("utf-8"), progress=progress)


def _note(target: Path, **facts: Any) -> None:
    from phi3_bento.models.prepare import RECORD

    path = target / RECORD
    record = json.loads(path.read_text(encoding="utf-8")) | facts
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _print_prepared(model: "StoredModel", report: "Quality | None", as_json: bool) -> None:
    if as_json:
        quality = report.as_dict() if report else None
        typer.echo(json.dumps(_describe(model) | {"quality": quality}))
        return
    if report is not None:
        typer.echo(
            f"On {report.tokens} tokens: perplexity {report.perplexity_int8:.3f} against "
            f"{report.perplexity_bf16:.3f} in bf16 ({report.perplexity_change:+.2%}), the same "
            f"next token at {report.greedy_agreement:.1%} of the positions."
        )
    typer.echo(f"Prepared {model.tag}. Serve it: make serve MODEL={model.tag}")


def _describe(model: "StoredModel") -> dict[str, Any]:
    return {
        "tag": model.tag,
        "directory": str(model.directory),
        "bytes": model.bytes,
        "created": model.created,
        "labels": model.labels,
    }


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; what it yields sets how far the work is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), console=_console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)

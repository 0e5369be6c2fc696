"""How far a warming has got: a bar on a terminal, a line for each tenth elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from phi3_bento.cache.warming import Problem, Progress


@contextmanager
def shown(progress: Progress) -> Iterator[Callable[[], None]]:
    """Show it on standard error; call what is yielded when it has moved."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_for_each_tenth(progress)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("", total=progress.lines, now="")

        def move() -> None:
            now = f"{progress.hits} kept before, {progress.failed} failed"
            bar.update(task, completed=progress.done, now=now)

        yield move


def show_problem(problem: Problem) -> None:
    """Name a line that has failed, on standard error."""
    typer.echo(f"Line {problem.line}: {problem.reason}", err=True)


def _line_for_each_tenth(progress: Progress) -> Callable[[], None]:
    told = 0

    def tell() -> None:
        nonlocal told
        tenth = progress.done * 10 // max(1, progress.lines)
        if tenth > told:
            told = tenth
            typer.echo(f"{progress.done} of {progress.lines} lines", err=True)

    return tell

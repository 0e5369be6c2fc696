"""`phi3-bento doctor`: run the checks, print what they found, and end with a code."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from phi3_bento import __version__
from phi3_bento.doctor import installation, machine, model, place, stores
from phi3_bento.doctor.finding import Finding, State, ok, problem
from phi3_bento.exits import Exit
from phi3_bento.settings import usable_settings

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "bold red"}


def doctor_command(
    quick: Annotated[
        bool, typer.Option("--quick", help="Without what takes seconds: vLLM, checksums.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine to read.")] = False,
) -> None:
    """Check this machine, and say what to do.

    Changes nothing. Looks at settings, processor, memory, port, directory, packages, libraries,
    model, database, keys, Redis and vectors, as PHI3_* in the environment have them. Ends with 1
    where a problem was found; a warning is none.

    Example: PHI3_HOST=0.0.0.0 phi3-bento doctor
    """
    # Bars and colours are for a person.
    console = Console(stderr=True)
    status = nullcontext() if as_json else console.status("Looking …")
    with status:
        findings = list(examine(quick=quick))
    problems = sum(finding.state is State.PROBLEM for finding in findings)
    if as_json:
        found = [asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ok": not problems, "version": __version__, "findings": found}))
    else:
        _print(findings)
    if problems:
        raise typer.Exit(Exit.FAILURE)


def examine(*, quick: bool) -> Iterator[Finding]:
    """Run every check, in the order in which a start would meet what it looks at."""
    settings, wrong = usable_settings()
    for sentence in wrong:
        yield problem("settings", sentence, "Correct or unset it; docs/configuration.md has all.")
    if not wrong:
        yield ok("settings", "Every PHI3_* is a setting, and can be used.")
    yield machine.check_python()
    yield machine.check_processor()
    yield machine.check_cores(settings)
    found, source = model.find_source(settings)
    yield machine.check_memory(settings, source)
    yield place.check_listening(settings)
    directory = place.check_directory(settings)
    yield directory
    if directory.state is State.OK:
        is_to_come = source is None and found.state is not State.PROBLEM
        yield place.check_space(settings, model_is_there=not is_to_come)
    yield installation.check_packages()
    yield installation.check_libraries()
    if not quick and settings.engine == "vllm":
        yield installation.check_engine(settings)
    yield found
    if not quick and source is not None:
        yield model.check_sums(source.directory)
    answered, keys = stores.check_database(settings)
    yield answered
    yield stores.check_keys(settings, keys)
    yield stores.check_limits(settings)
    yield stores.check_kept_answers(settings)
    yield stores.check_vectors(settings)


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        line = Text(f"{finding.state:<8} ", style=_STYLES.get(finding.state, "dim"))
        console.print(line + Text(f"{finding.check:<10} {finding.says}", style="default"))
        if finding.remedy:
            console.print(f"{'':<20}→ {finding.remedy}", markup=False)
    count = {state: sum(finding.state is state for finding in findings) for state in State}
    told = [_counted(count[state], state.value) for state in (State.PROBLEM, State.WARNING)]
    console.print(f"\n{', '.join(told)}.")


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'s' * (count != 1)}"

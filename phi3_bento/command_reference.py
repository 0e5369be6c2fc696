"""The reference page of the command line, made from the commands themselves."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from phi3_bento.exits import Exit

_NOT_RUN = "<!-- not run: an example on files of the reader's; tests/unit/test_cli.py parses it -->"
_HIDDEN = {"help", "install_completion", "show_completion"}


def commands(app: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name, in the order of the help."""
    yield from _commands("phi3-bento", get_command(app))


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _commands(f"{name} {child_name}", child)


def command_page(app: typer.Typer) -> str:
    """The page in Markdown, without its first line."""
    codes = "".join(f"| {int(code)} | {code.meaning} |\n" for code in Exit)
    return (
        "\n# Command line\n\n"
        "Settings come from `PHI3_*` in the environment ([configuration](configuration.md)), for "
        "every command. With `--json`, standard output is one JSON document; progress and reasons "
        "go to standard error.\n\n"
        "| Code | Meaning |\n| --- | --- |\n"
        f"{codes}\n"
        "`phi3-bento --install-completion` has the shell complete commands and options (bash, zsh, "
        "fish); `--show-completion` prints what that would install.\n"
        + "".join(_section(name, command) for name, command in commands(app))
    )


def _section(name: str, command: Any) -> str:
    text = inspect.cleandoc(command.help or "")
    words, _, example = re.sub(r"(?<!\n)\n(?!\n)", " ", text).partition("Example: ")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, *(_argument(p) for p in arguments)])
    rows = "".join(f"| {_name(p)} | {_meaning(p)} |\n" for p in command.params if _is_shown(p))
    table = f"\n| Option | Meaning |\n| --- | --- |\n{rows}" if rows else ""
    shown = f"\n{_NOT_RUN}\n```console\n$ {example.strip()}\n```\n" if example else ""
    return f"\n## `{usage}`\n\n{words.strip()}\n{shown}{table}"


def _is_shown(parameter: Any) -> bool:
    return parameter.name not in _HIDDEN and bool(getattr(parameter, "help", None))


def _argument(parameter: Any) -> str:
    word = str(parameter.name).upper()
    return word if parameter.required else f"[{word}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{str(parameter.name).upper()}`"
    return ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _meaning(parameter: Any) -> str:
    text = str(parameter.help).strip().replace("|", "\\|")
    if parameter.required:
        return f"{text} Required." if parameter.param_type_name == "option" else text
    default = parameter.default
    if isinstance(default, str | int) and not isinstance(default, bool) and str(default):
        return f"{text} Default: `{default}`."
    return text
